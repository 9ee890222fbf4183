"""How the gradient of trained networks fades on its way back through the text, as the stage `probe` has measured it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl

from textrnn.analysis.sampling import Units
from textrnn.analysis.significance import contrast
from textrnn.errors import TextrnnError
from textrnn.run_folder import RunFolder

COLUMNS = ("experiment", "cell", "distance", "texts", "norm", "low", "high")
TINY = float(np.finfo(np.float32).tiny)
"""What a gradient that float32 has rounded to 0 counts as."""


def memory(runs: Sequence[RunFolder], probes: Path, units: Units) -> pd.DataFrame:
    """Returns the gradient's norm at each distance from the end of the text, relative to that at the last token.

    Columns: `experiment`, `cell`, `distance` (0 is the last token), `texts`, `norm` (geometric mean over
    texts and seeds, 1 at distance 0) with its 95 % interval `low` and `high`, which covers both.

    Args:
        runs: the experiments that were probed.
        probes: the folder with a folder for each.
        units: the corpus' units of sampling.

    Raises:
        TextrnnError: an experiment was not probed.
    """
    tables = [_of_run(run, probes / run.name / "gradients.parquet", units) for run in runs]
    return pd.concat([table for table in tables if len(table)] or [pd.DataFrame(columns=COLUMNS)], ignore_index=True)


def _of_run(run: RunFolder, file: Path, units: Units) -> pd.DataFrame:
    if not file.is_file():
        raise TextrnnError(f"{file} is missing: {run.name} was not probed. Run `dvc repro`.")
    table = pl.read_parquet(file).sort("seed", "id", "distance")
    seeds, texts, distances = (table[column].n_unique() for column in ("seed", "id", "distance"))
    logs = np.log(np.maximum(table["norm"].to_numpy().astype(np.float64), TINY)).reshape(seeds, texts, distances)
    belongs = units("valid", table["id"].unique(maintain_order=True).to_list())
    rows = []
    for distance in range(distances):
        faded = contrast([logs[:, :, distance] - logs[:, :, 0]], [1.0], belongs)
        norm, low, high = np.exp([faded.value, *faded.interval()])
        rows.append((run.name, run.params["cell"], distance, texts, norm, low, high))
    # Five digits of what may be very small.
    return pd.DataFrame(rows, columns=COLUMNS).map(
        lambda value: float(f"{value:.5g}") if isinstance(value, float) else value
    )
