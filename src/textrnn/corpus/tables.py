"""A prepared corpus: one table per split, in memory and as a folder of Parquet files."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import polars as pl

from textrnn.errors import TextrnnError

SPLITS = ("train", "valid", "test", "unlabelled")  # all splits in reading order. Only `unlabelled` may be absent.

SLICE = 1 << 14  # rows in memory at a time, where a table is read in slices

_ROW_GROUP = 1 << 16
"""By default polars derives the size of row groups from the thread count, which would change the bytes."""


@dataclass(frozen=True)
class Corpus:
    """`frames[split]` has the columns `id`, `text`, `label` and `group`, all str; `classes` fixes the class order.

    `label` is null in the unlabelled split; `group` is the film, or whatever must not occur in two splits, or null.
    """

    name: str
    classes: tuple[str, ...]
    frames: dict[str, pl.DataFrame]

    def save(self, folder: Path, quality: Mapping[str, Any]) -> None:
        """Writes the splits and `quality.json` (which names the corpus and its classes) into `folder`."""
        write_tables(folder, self.frames)
        content = json.dumps(quality, indent=2, ensure_ascii=False) + "\n"
        (folder / "quality.json").write_text(content, encoding="utf-8", newline="\n")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Reads what `save` wrote. Raises `TextrnnError` if a file is missing."""
        quality = read_quality(folder)
        frames = {split: pl.read_parquet(file) for split, file in table_files(folder).items()}
        return cls(quality["corpus"], tuple(quality["classes"]), frames)


def read_quality(folder: Path) -> dict[str, Any]:
    """Returns `quality.json` of the corpus in `folder`. Raises `TextrnnError` if there is none."""
    path = folder / "quality.json"
    if not path.is_file():
        raise TextrnnError(f"{path}: no such file. The prepare stage writes it: run `dvc repro`.")
    quality: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return quality


def table_files(folder: Path) -> dict[str, Path]:
    """Returns the tables' files in `folder` by split, in the order of `SPLITS`.

    Raises `TextrnnError`: a split other than `unlabelled` is missing.
    """
    files = {split: folder / f"{split}.parquet" for split in SPLITS}
    present = {split: file for split, file in files.items() if file.is_file()}
    if missing := [files[split].name for split in SPLITS[:3] if split not in present]:
        raise TextrnnError(f"{folder} lacks {', '.join(missing)}. Run `dvc repro`.")
    return present


def write_tables(folder: Path, frames: Mapping[str, pl.DataFrame]) -> None:
    """Writes `frames` to `folder`, one `<split>.parquet` each; equal frames give equal bytes."""
    for split, frame in frames.items():
        frame.rechunk().write_parquet(folder / f"{split}.parquet", row_group_size=_ROW_GROUP)


def read_slices(file: Path, *columns: str) -> Iterator[pl.DataFrame]:
    """Yields `columns` of the table in `file`, `SLICE` rows at a time; one empty slice of an empty table."""
    table = pl.scan_parquet(file).select(columns)
    rows = table.select(pl.len()).collect().item()
    for start in range(0, max(rows, 1), SLICE):
        yield table.slice(start, SLICE).collect()


@contextmanager
def open_table(file: Path, schema: pl.Schema) -> Iterator[Callable[[pl.DataFrame], None]]:
    """Yields a function that appends rows of `schema` to the table in `file`; equal calls give equal bytes."""
    from pyarrow.parquet import ParquetWriter  # takes 0.4 s to import, and few callers write

    with ParquetWriter(file, schema.to_frame().to_arrow().schema, compression="zstd") as writer:
        yield lambda rows: writer.write_table(rows.to_arrow())
