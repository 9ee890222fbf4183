"""What a teacher says of texts, for a student that learns it: a table for each split that may be trained on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

from textrnn.corpus.tables import write_tables
from textrnn.errors import TextrnnError
from textrnn.modeling.batches import TRAINED_ON, Tokens


def write_soft_targets(folder: Path, split: str, ids: pl.Series, probabilities: np.ndarray) -> None:
    """Writes the table `split` with the columns `id` and `probability`; probabilities are float [texts, classes]."""
    columns = {"id": ids, "probability": list(probabilities.astype(np.float32))}
    write_tables(folder, {split: pl.DataFrame(columns, {"id": pl.String, "probability": pl.List(pl.Float32)})})


def taught_splits(folder: Path) -> list[str]:
    """Returns the splits of which there are soft targets in `folder`; none where the teacher failed."""
    return [split for split in TRAINED_ON if (folder / f"{split}.parquet").is_file()]


def read_soft_targets(folder: Path, split: str, texts: Tokens, classes: int, hard_targets: float) -> np.ndarray:
    """Returns what is to be learned of the `texts` of a split, float32 [texts, classes].

    That is the teacher's probabilities; in those of a labelled text, the label has a share of `hard_targets`.

    Raises `TextrnnError`: the soft targets are of other texts.
    """
    table = pl.read_parquet(folder / f"{split}.parquet", glob=False)
    if not table["id"].equals(texts.ids):
        raise TextrnnError(f"{folder} and the tokens of {split} are of different texts. Run `dvc repro`.")
    soft: np.ndarray = table["probability"].explode().to_numpy().reshape(len(texts), classes).copy()
    share = np.float32(hard_targets) * (texts.labels >= 0)[:, None]
    soft += share * (np.eye(classes, dtype=np.float32)[texts.labels] - soft)
    return soft
