"""A prepared corpus: one table per split, in memory and as a folder of Parquet files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import polars as pl

from textrnn.errors import TextrnnError

SPLITS = ("train", "valid", "test", "unlabelled")
"""All splits in reading order. Only `unlabelled` may be absent."""


@dataclass(frozen=True)
class Corpus:
    """`frames[split]` has the columns `id`, `text`, `label` and `group`, all str.

    `label` is a class name, null in the unlabelled split; `group` is the film or whatever else
    must not stand in two splits, null where it is not known. `classes` fixes the class order.
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
        """Reads what `save` wrote. Raises `TextrnnError` if it is not there."""
        path = folder / "quality.json"
        if not path.is_file():
            raise TextrnnError(f"{path}: no such file. The prepare stage writes it: run `dvc repro`.")
        quality = json.loads(path.read_text(encoding="utf-8"))
        return cls(quality["corpus"], tuple(quality["classes"]), read_tables(folder))


def write_tables(folder: Path, frames: Mapping[str, pl.DataFrame]) -> None:
    """Writes `frames` to `folder`, one `<split>.parquet` each; equal frames give equal bytes."""
    for split, frame in frames.items():
        # Polars may cut row groups by thread count: one size, and one chunk, for every machine.
        frame.rechunk().write_parquet(folder / f"{split}.parquet", row_group_size=1 << 16)


def read_tables(folder: Path) -> dict[str, pl.DataFrame]:
    """Returns the tables in `folder` by split, in the order of `SPLITS`.

    Raises:
        TextrnnError: a split other than `unlabelled` is missing.
    """
    missing = [split for split in SPLITS[:3] if not (folder / f"{split}.parquet").is_file()]
    if missing:
        raise TextrnnError(f"{folder} lacks {', '.join(f'{split}.parquet' for split in missing)}. Run `dvc repro`.")
    files = {split: folder / f"{split}.parquet" for split in SPLITS}
    return {split: pl.read_parquet(file) for split, file in files.items() if file.is_file()}
