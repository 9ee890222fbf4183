"""`textrnn predict`: scores texts from the command line, a file or standard input with a trained model."""

import io
import json
import sys
import tempfile
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl
from rich.console import Console
from rich.progress import track

from textrnn.corpus.table_file import read_table as parse_table
from textrnn.corpus.table_file import strings
from textrnn.errors import TextrnnError
from textrnn.modeling.predictor import Predictor, output_columns
from textrnn.process import cores
from textrnn.search.winner import load_study
from textrnn.stage import check_writable

TEXT = "text"
STANDARD = Path("-")  # standard input, or standard output

FORMATS = ("csv", "jsonl", "parquet")
CHUNK = 1 << 14  # texts that are scored between two updates of the progress bar

_EXACT = 1 << 53  # a float holds every integer up to this one


def predict(
    texts: list[str], source: Path | None, target: Path, kind: str | None, run: str | None, seed: int | None
) -> None:
    """Scores `texts`, or the table in `source`, and writes the table with label and probabilities to `target`.

    Args:
        kind: the format of input and output without a suffix.
        run: a name in `runs/`; None is the registry's champion.
        seed: which seed's model of the run; None is the first.

    Raises `TextrnnError`: no texts or two sources of them, an unreadable table, or no such model.
    """
    check_question(texts, source, run, seed)
    check_kind(target, kind)
    check_writable(None if target == STANDARD else target)
    table = pl.DataFrame({TEXT: texts}) if source is None else read_table(source, kind)
    with chosen_model(run, seed) as (_, folder):
        predictor = Predictor(folder, cores())
    parts = list(table.iter_slices(CHUNK)) or [table]
    shown = track(parts, "scoring", console=Console(stderr=True), disable=table.height <= CHUNK)
    scored = [part.hstack(predictor.table(part[TEXT])) for part in shown]
    write_table(pl.concat(scored), target, kind)
    report_gaps(predictor, table.height, "see the column known_words")


def check_question(texts: list[str], source: Path | None, run: str | None, seed: int | None) -> None:
    """Raises `TextrnnError`: no texts or two sources of them, or a seed of no run."""
    if bool(texts) == (source is not None):
        raise TextrnnError("give exactly one of texts and --input FILE (- for standard input).")
    if seed is not None and run is None:
        raise TextrnnError("--seed selects one of a run's models: give --run, too.")


def report_gaps(predictor: Predictor, texts: int, where: str) -> None:
    """Says on standard error how many of all `texts` were cut short, or hold no word that the model knows."""
    total = f"{texts:,} texts"
    if count := predictor.cut_short:
        sys.stderr.write(f"note: {count:,} of {total} were longer than the model reads, and cut short\n")
    if count := predictor.unfamiliar:
        sys.stderr.write(
            f"warning: {count:,} of {total} have no word that the model knows, so their labels mean nothing: {where}\n"
        )


@contextmanager
def chosen_model(run: str | None, seed: int | None) -> Iterator[tuple[str, Path]]:
    """Yields the name and the folder of a run's model, or of the champion, which is downloaded for a while."""
    if run is not None:
        folder = _model(run, seed)
        yield f"{run}, seed {folder.name}", folder
        return
    from textrnn.tracking.failures import readable_mlflow_errors
    from textrnn.tracking.registry import champion_model

    with tempfile.TemporaryDirectory() as scratch:
        with readable_mlflow_errors():
            found = champion_model(Path.cwd(), load_study(), Path(scratch), "name a run with --run")
        yield found


def _model(run: str, seed: int | None) -> Path:
    if not Path("runs").is_dir():
        raise TextrnnError(f"no folder runs in {Path.cwd()}. Run this in the project's top folder, after `make repro`.")
    models = Path("runs") / run / "model"
    seeds = sorted(int(folder.name) for folder in models.glob("*") if folder.name.isdigit())
    if not seeds:
        known = sorted(folder.parent.name for folder in Path("runs").glob("*/model"))
        found = ", ".join(known) or "none; run `make repro`"
        raise TextrnnError(f"{models} holds no model. Runs with models: {found}.")
    if seed is not None and seed not in seeds:
        raise TextrnnError(f"{models} has no seed {seed}. It has: {', '.join(map(str, seeds))}.")
    return models / str(seeds[0] if seed is None else seed)


def read_table(
    source: Path, kind: str | None, option: str = "--format", added: Collection[str] = (*output_columns(()),)
) -> pl.DataFrame:
    """Returns the table in `source`, which has a column `text` without missing values.

    Args:
        kind: one of `FORMATS`, as given with `option`; None takes the file's suffix, and csv for standard input.
        added: names that columns of the table must not have; such columns are renamed.

    Raises `TextrnnError`: the file is missing, is not of that format, or a row has no text.
    """
    name = "standard input" if source == STANDARD else str(source)
    kind = check_kind(source, kind, option=option)
    try:
        data = sys.stdin.buffer.read() if source == STANDARD else source.read_bytes()
    except OSError as error:
        message = f"{name}: {error.strerror}. Name a file that can be read, or - for standard input."
        raise TextrnnError(message) from None
    table = parse_table(data, kind, name)[0] if data.strip() else pl.DataFrame()
    if TEXT not in table.columns:
        raise TextrnnError(f"{name}: no column {TEXT!r}. It has: {', '.join(table.columns) or 'none'}. Rename one.")
    strings(table, TEXT, name, only_text=True)  # raises for other types; its composed characters are not used here
    texts = table[TEXT].cast(pl.String)
    if texts.null_count():
        rows = [str(row) for row in texts.is_null().arg_true().head(5)]
        raise TextrnnError(
            f"{name}: no text in row {', '.join(rows)} (counted from 0), {texts.null_count()} in all. "
            "Every row needs text: fill it in, or leave the row out."
        )
    others = (each for each in table if each.name != TEXT)
    odd = [each for each in others if each.dtype in (pl.Object, pl.Binary) or each.dtype.is_nested()]
    return _free_names(table.with_columns(texts, *map(_writable, odd)), added)


def _writable(column: pl.Series) -> pl.Series:
    """A column that CSV cannot hold, as floats if they are exact, else as text: JSON, and hexadecimal for bytes."""

    def is_exact(value: object) -> bool:
        return value is None or type(value) is float or (type(value) is int and abs(value) <= _EXACT)

    def as_text(value: object) -> str | None:
        if value is None or isinstance(value, str):
            return value
        return value.hex() if isinstance(value, bytes) else json.dumps(value, ensure_ascii=False, default=str)

    values = column.to_list()
    if column.dtype == pl.Object and all(map(is_exact, values)):
        return pl.Series(column.name, values, pl.Float64, strict=False)
    return pl.Series(column.name, map(as_text, values), pl.String)


def _free_names(table: pl.DataFrame, added: Collection[str]) -> pl.DataFrame:
    """Renames columns that a prediction adds, such as `label` to `given_label`."""
    taken = [name for name in table.columns if name in added or name.startswith("probability_")]
    names = {name: f"given_{name}" for name in taken}
    if clash := sorted(set(names.values()) & set(table.columns)):
        raise TextrnnError(f"the table has a column {clash[0]}, and another that would get that name. Rename one.")
    if names:
        kept = ", ".join(names.values())
        sys.stderr.write(f"note: the prediction adds {', '.join(names)}; the table's own columns are kept as {kept}\n")
    return table.rename(names)


def check_kind(
    file: Path, kind: str | None, known: Sequence[str] = FORMATS, default: str = "csv", option: str = "--format"
) -> str:
    """Returns the format of `file`, by its suffix if that is one of `known`, else the given `kind`.

    Without one, standard input and output have the `default`. Raises `TextrnnError`: it is not `known`.
    """
    suffix = file.suffix.removeprefix(".")
    kind = suffix if suffix in known else kind or (default if file == STANDARD else suffix)
    if kind not in known:
        name = "standard input or output" if file == STANDARD else str(file)
        raise TextrnnError(f"{name}: unknown format {kind!r}. Known: {', '.join(known)}. Name it with {option}.")
    return kind


def write_table(table: pl.DataFrame, target: Path, kind: str | None) -> None:
    """Writes `table` to a file, or to standard output; formats as in `read_table`."""
    write: dict[str, Any] = {"csv": table.write_csv, "jsonl": table.write_ndjson, "parquet": table.write_parquet}
    write[check_kind(target, kind)](buffer := io.BytesIO())
    if target == STANDARD:
        sys.stdout.buffer.write(buffer.getvalue())
        sys.stdout.buffer.flush()
    else:
        target.write_bytes(buffer.getvalue())
