"""Reads a published corpus of any layout into one table of `id, text, label, group, split`."""

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from textrnn.config.catalog import Columns, CorpusEntry, Source
from textrnn.corpus.aclimdb import read_aclimdb
from textrnn.corpus.archive import open_member
from textrnn.corpus.table_file import REPLACED, read_table, strings
from textrnn.errors import TextrnnError
from textrnn.stage import only_file
from textrnn.text.tokenizer import compose

MOST_BYTES = 5_000_000_000
"""What a corpus may unpack to, unless its entry says otherwise."""

MISSING = ("nan", "none", "null", "n/a", "<na>")
"""How pandas and databases write a missing group or split as text, in any case."""


@dataclass(frozen=True)
class RawCorpus:
    """`frame` has the columns that the module names, all str in NFC; null is missing.

    `split` is train, valid, test or unlabelled, null where the corpus has no splits of its own. `skipped` counts
    what was skipped or replaced, by reason.
    """

    frame: pl.DataFrame
    skipped: dict[str, int]


def read_corpus(archive: Path, entry: CorpusEntry, unlabelled: bool = False) -> RawCorpus:
    """Returns the corpus in `archive`, read in place, with its unlabelled texts if requested.

    Ids are the row number from 1 on in tables (`7`, with several sources `test/7`; blank lines do not
    count), the file in aclimdb (`train/pos/123_8`). With `sources`, `archive` is a folder with a folder for each.

    Raises:
        TextrnnError: the archive or a column is not what the catalog says; bytes that are not UTF-8; an
            unknown label; a missing or empty text; an id that occurs twice; a class without examples; no
            unlabelled texts where they are requested.
    """
    skipped: dict[str, int]
    if entry.columns is None:
        frame, skipped = read_aclimdb(archive, entry.member, unlabelled, entry.max_bytes or MOST_BYTES)
        frame = frame.with_columns(compose(frame["text"]))
    elif unlabelled:
        raise TextrnnError(
            f"prepare.unlabelled: {archive.name} (format {entry.format}) has no unlabelled texts. "
            "Set prepare.unlabelled to false."
        )
    else:
        tables, skipped = [], {REPLACED: 0}
        sources: list[tuple[str, Source]] = [*(entry.sources or {}).items()] or [("", entry)]
        for split, source in sources:
            file = only_file(archive / split) if split else archive
            table, replaced = _read_table(file, source, entry, entry.columns)
            if split:
                table = table.with_columns(id=pl.format("{}/{}", pl.lit(split), "id"), split=pl.lit(split))
            tables.append(table)
            skipped[REPLACED] += replaced
        frame = pl.concat(tables)
    label = frame["label"].fill_null("")
    left_out = label.is_in(entry.skip_labels) & frame["split"].ne_missing(pl.Series(["unlabelled"]))
    for name in entry.skip_labels:
        skipped[f"label {name!r}"] = int((left_out & (label == name)).sum())
    frame = frame.filter(~left_out)
    if entry.skip_empty:
        skipped["empty text"] = int(_is_empty(frame).sum())
        frame = frame.filter(~_is_empty(frame))
    _check(frame, entry, archive.name)
    return RawCorpus(frame, {reason: count for reason, count in skipped.items() if count})


def _is_empty(frame: pl.DataFrame) -> pl.Series:
    return frame["text"].fill_null("").str.strip_chars() == ""


def _check(frame: pl.DataFrame, entry: CorpusEntry, where: str) -> None:
    labelled = frame.filter(pl.col("split").ne_missing("unlabelled"))
    if labelled.is_empty():
        raise TextrnnError(f"{where}: no labelled example. Check member and skip_labels in catalog.yaml.")
    twice = frame.filter(pl.col("id").is_duplicated())
    if twice.height:
        raise TextrnnError(f"{where}: {_places(twice)} occurs twice. Ids are unique: leave one of the two out.")
    strange = labelled.filter(pl.col("label").is_in(entry.classes).fill_null(False).not_())
    if strange.height:
        labels = ", ".join(map(repr, strange["label"].unique(maintain_order=True).head(5)))
        raise TextrnnError(
            f"{where}: {labels} at {_places(strange)} is no label of this corpus. Classes: {', '.join(entry.classes)}. "
            "Correct the label, or list it under classes or skip_labels in catalog.yaml."
        )
    empty = frame.filter(_is_empty(frame))
    if empty.height:
        raise TextrnnError(
            f"{where}: no text (missing, NaN or white space) at {_places(empty)}. Every example needs text: fill it "
            "in, delete the example, or set skip_empty: true in catalog.yaml, which leaves such examples out and "
            "counts them."
        )
    found = set(labelled["label"])
    if missing := [name for name in entry.classes if name not in found]:
        raise TextrnnError(
            f"{where}: no example of class {', '.join(map(repr, missing))}; found only {', '.join(sorted(found))}. "
            "A corpus needs examples of every class, and two classes at least: correct classes in catalog.yaml, or "
            "the corpus."
        )


def _places(rows: pl.DataFrame) -> str:
    ids = ", ".join(rows["id"].head(3))
    return f"id {ids}" + (f" and {rows.height - 3} more" if rows.height > 3 else "")


def _read_table(archive: Path, source: Source, entry: CorpusEntry, columns: Columns) -> tuple[pl.DataFrame, int]:
    """Returns a table's rows, and how many characters were replaced."""
    where = f"{archive.name}: {source.member}" if source.member else archive.name
    with open_member(archive, source.member, source.max_bytes or MOST_BYTES) as stream:
        data = stream.read()
    if not data.strip():
        raise TextrnnError(f"{where}: the file is empty. Check member and source in catalog.yaml.")
    table, replaced = read_table(data, entry.format, where)
    named = {key: name for key, name in columns.model_dump().items() if name is not None}
    known = dict(zip(compose(pl.Series(table.columns, dtype=pl.String)), table.columns, strict=True))
    if missing := [name for name in named.values() if name not in known]:
        other = next((mark for mark in ";\t|," if len(known) == 1 and mark in "".join(known)), None)
        separated = f"Its fields seem to be separated by {other!r}: save it with commas (csv) or tabs (tsv)."
        raise TextrnnError(
            f"{where}: no column {', '.join(map(repr, missing))}. It has: {', '.join(known) or 'none'}. "
            + (separated if other else "Correct columns in catalog.yaml.")
        )
    found = {key: strings(table, known[name], where, only_text=key == "text") for key, name in named.items()}
    none = pl.Series([None] * table.height, dtype=pl.String)
    ids = pl.Series("id", range(1, table.height + 1), pl.Int64).cast(pl.String)
    frame = pl.DataFrame([ids, *(found.get(key, none).alias(key) for key in ("text", "label", "group", "split"))])
    if entry.format == "parquet":  # the readers of other formats replace them
        holds = pl.col("text", "label", "group")
        replaced = sum(frame.select(holds.str.count_matches("\0", literal=True).sum()).row(0))
        frame = frame.with_columns(holds.str.replace_all("\0", "\N{REPLACEMENT CHARACTER}", literal=True))
    is_missing = pl.col("group", "split").str.strip_chars().str.to_lowercase().is_in(MISSING)
    frame = frame.with_columns(pl.when(~is_missing).then(pl.col("group", "split")))
    if entry.format == "csv":
        _check_swallowed(table, known[columns.label], {*entry.classes, *entry.skip_labels} - {""}, where)
    if columns.split is not None:
        strange = frame.filter(pl.col("split").is_in(["train", "valid", "test"]).fill_null(False).not_())
        if strange.height:
            raise TextrnnError(
                f"{where}: column {columns.split!r} holds {strange['split'][0]!r} at {_places(strange)}. "
                "Known splits: train, valid, test. Correct it, or leave 'split' out of columns."
            )
    return frame, replaced


def _check_swallowed(table: pl.DataFrame, label: str, labels: set[str], where: str) -> None:
    """Refuses a field with a line that looks like a row: a quotation mark without partner merges rows."""
    position = table.columns.index(label)
    for column in table if table.width > 1 else ():
        rows = column.str.contains("\n", literal=True).fill_null(False).arg_true()
        for row, field in zip(rows, compose(column.gather(rows)), strict=True):
            for line in field.split("\n"):
                fields = line.removesuffix("\r").split(",")
                if len(fields) == table.width and fields[position] in labels:
                    raise TextrnnError(
                        f"{where}: column {column.name!r} at id {row + 1} holds a line that looks like a row: "
                        f"{line[:60]!r}. If a quotation mark without its partner merged the rows, correct it. If the "
                        "line belongs to the field, save the corpus as jsonl or parquet, or remove the line break."
                    )
