"""Reads a published corpus, whatever its layout, into one table of `id, text, label, group, split`."""

from __future__ import annotations

import codecs
import io
import re
import tarfile
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from textrnn.catalog import Columns, CorpusEntry
from textrnn.corpus.archive import open_member
from textrnn.errors import TextrnnError

_SCHEMA = {"id": pl.String, "text": pl.String, "label": pl.String, "group": pl.String, "split": pl.String}

_REVIEW = re.compile(r"(?:^|/)(train|test)/(pos|neg|unsup)/(\d+)_(\d+)\.txt$")
_FILMS = re.compile(r"(?:^|/)(train|test)/urls_(pos|neg|unsup)\.txt$")
_FILM = re.compile(r"^.*?(tt\d+).*$", re.MULTILINE)


@dataclass(frozen=True)
class RawCorpus:
    """`frame` has the columns the module names, all str; `skipped` counts rows left out, by reason.

    `split` is train, valid, test or unlabelled, null where the corpus has no splits of its own.
    """

    frame: pl.DataFrame
    skipped: dict[str, int]


def read_corpus(archive: Path, entry: CorpusEntry, unlabelled: bool = False) -> RawCorpus:
    """Returns the corpus in `archive`, read in place, with its unlabelled texts if asked for.

    Ids are the row number from 1 on in tables (`7`), the file in aclimdb (`train/pos/123_8`).

    Raises:
        TextrnnError: the archive or a column is not what the catalog says; bytes that are not
            UTF-8; a label that is no class; a text that is missing or empty; a class without
            examples; no unlabelled texts where they are asked for.
    """
    if entry.columns is None:
        frame, skipped = _read_aclimdb(archive, unlabelled)
    else:
        if unlabelled:
            raise TextrnnError(
                f"prepare.unlabelled: {archive.name} (format {entry.format}) has no unlabelled texts. "
                "Set prepare.unlabelled to false."
            )
        frame, skipped = _read_table(archive, entry, entry.columns), {}
    left_out = frame["label"].is_in(entry.skip_labels).fill_null(False)
    for label in entry.skip_labels:
        skipped[f"label {label!r}"] = int((frame["label"] == label).sum())
    frame = frame.filter(~left_out)
    _check(frame, entry, archive.name)
    return RawCorpus(frame, {reason: count for reason, count in skipped.items() if count})


def _check(frame: pl.DataFrame, entry: CorpusEntry, where: str) -> None:
    labelled = frame.filter(pl.col("split").ne_missing("unlabelled"))
    if labelled.is_empty():
        raise TextrnnError(f"{where}: no labelled example. Check member and skip_labels in catalog.yaml.")
    strange = labelled.filter(pl.col("label").is_in(entry.classes).fill_null(False).not_())
    if strange.height:
        labels = ", ".join(repr(label) for label in strange["label"].unique(maintain_order=True).head(5))
        raise TextrnnError(
            f"{where}: {labels} at {_places(strange)} is no label of this corpus. Classes: "
            f"{', '.join(entry.classes)}. Correct the label, or list it "
            "under classes or skip_labels in catalog.yaml."
        )
    empty = frame.filter(pl.col("text").fill_null("").str.strip_chars() == "")
    if empty.height:
        raise TextrnnError(
            f"{where}: no text (missing, NaN or white space) at {_places(empty)}. "
            "Every example needs text: fill it in, or delete the example."
        )
    missing = [name for name in entry.classes if name not in set(labelled["label"])]
    if missing:
        raise TextrnnError(
            f"{where}: no example of class {', '.join(map(repr, missing))}; found only "
            f"{', '.join(sorted(set(labelled['label'])))}. A corpus needs examples of every "
            "class, and two classes at least: correct classes in catalog.yaml, or the corpus."
        )


def _places(rows: pl.DataFrame) -> str:
    ids = ", ".join(rows["id"].head(3))
    return f"id {ids}" + (f" and {rows.height - 3} more" if rows.height > 3 else "")


def _decode(data: bytes, where: str) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise TextrnnError(
            f"{where}, line {line}: byte 0x{data[error.start]:02x} is not UTF-8. "
            "Save the file as UTF-8 (iconv -t UTF-8 does that)."
        ) from None


def _read_table(archive: Path, entry: CorpusEntry, columns: Columns) -> pl.DataFrame:
    where = f"{archive.name}: {entry.member}" if entry.member else archive.name
    with open_member(archive, entry.member) as stream:
        data = stream.read()
    table = _parse(data, entry.format, where)
    named: dict[str, str | None] = columns.model_dump()
    missing = [name for name in named.values() if name is not None and name not in table.columns]
    if missing:
        raise TextrnnError(
            f"{where}: no column {', '.join(map(repr, missing))}. "
            f"It has: {', '.join(table.columns) or 'none'}. Correct columns in catalog.yaml."
        )
    text = table[columns.text]
    if text.dtype != pl.String and text.null_count() < len(text):
        raise TextrnnError(
            f"{where}: column {columns.text!r} holds {text.dtype} values (NaN is one, too), not text. "
            "Correct columns in catalog.yaml, or the file."
        )
    frame = table.select(
        pl.int_range(1, table.height + 1).cast(pl.String).alias("id"),
        *((pl.col(name) if name else pl.lit(None)).cast(pl.String).alias(key) for key, name in named.items()),
    )
    if columns.split is not None:
        strange = frame.filter(pl.col("split").is_in(["train", "valid", "test"]).fill_null(False).not_())
        if strange.height:
            raise TextrnnError(
                f"{where}: column {columns.split!r} holds {strange['split'][0]!r} at {_places(strange)}. "
                "Known splits: train, valid, test. Correct it, or leave 'split' out of columns."
            )
    return frame


def _parse(data: bytes, kind: str, where: str) -> pl.DataFrame:
    if kind != "parquet":
        data = data.removeprefix(codecs.BOM_UTF8)
        _decode(data, where)
    if not data.strip():
        raise TextrnnError(f"{where}: the file is empty. Check member and source in catalog.yaml.")
    try:
        if kind == "jsonl":
            return pl.read_ndjson(data, infer_schema_length=None)
        if kind == "parquet":
            return pl.read_parquet(io.BytesIO(data))
        if kind == "tsv":  # here a quotation mark is a character like any other
            return pl.read_csv(data, separator="\t", quote_char=None, infer_schema=False)
        return pl.read_csv(data, infer_schema=False)
    except pl.exceptions.PolarsError as error:
        reason = str(error).splitlines()[0]
        raise TextrnnError(f"{where}: not readable as {kind}: {reason}. Check format in catalog.yaml.") from error


def _read_aclimdb(archive: Path, unlabelled: bool) -> tuple[pl.DataFrame, dict[str, int]]:
    """Reads the Large Movie Review Dataset (Maas et al., ACL 2011) in one pass over its tar.

    The film of review n is on line n, from 0 on, of the `urls_*.txt` of its folder.
    """
    reviews: list[tuple[str, str, int, int, str]] = []
    films: dict[tuple[str, str], list[str]] = {}
    left_out = 0
    with open_member(archive, None) as stream, tarfile.open(fileobj=stream, mode="r|*") as tar:
        for member in tar:
            if review := _REVIEW.search(member.name):
                split, folder, number, rating = review.groups()
                if folder == "unsup" and not unlabelled:
                    left_out += 1
                else:
                    reviews.append((split, folder, int(number), int(rating), _text(tar, member)))
            elif urls := _FILMS.search(member.name):
                films[urls[1], urls[2]] = _FILM.findall(_text(tar, member))
    rows = []
    for split, folder, number, rating, text in sorted(reviews):
        name = f"{split}/{folder}/{number}_{rating}"
        listed = films.get((split, folder), [])
        if number >= len(listed):
            raise TextrnnError(
                f"{archive.name}: no film for {name}: {split}/urls_{folder}.txt has {len(listed)} lines. "
                "Valid splits are drawn by film: use the complete archive."
            )
        is_labelled = folder != "unsup"
        rows.append(
            (
                name,
                text,
                folder if is_labelled else None,
                listed[number],
                split if is_labelled else "unlabelled",
            )
        )
    if unlabelled and not any(folder == "unsup" for _, folder, *_ in reviews):
        raise TextrnnError(f"{archive.name}: no unlabelled reviews. Set prepare.unlabelled to false.")
    return pl.DataFrame(rows, schema=_SCHEMA, orient="row"), {"unlabelled, not asked for": left_out}


def _text(tar: tarfile.TarFile, member: tarfile.TarInfo) -> str:
    stream = tar.extractfile(member)
    if stream is None:
        raise TextrnnError(f"{member.name} in the tar is no file. Use the archive as published.")
    return _decode(stream.read(), member.name)
