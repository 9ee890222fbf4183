"""How the gradient of trained networks fades on its way back through the text, as measured by the stage `probe`."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import polars as pl

from textrnn.analysis.examples import Groups
from textrnn.analysis.significance import contrast
from textrnn.errors import TextrnnError
from textrnn.modeling.scores import LEAST
from textrnn.run_folder import RunFolder

COLUMNS = ("experiment", "cell", "distance", "texts", "norm", "low", "high")


def memory(runs: Sequence[RunFolder], groups: Groups) -> pd.DataFrame:
    """Returns the gradient's norm at each distance from the end of the text, relative to that at the last token.

    Columns: `experiment`, `cell`, `distance` (0 is the last token), `texts`, `norm` (geometric mean over texts and
    seeds, 1 at distance 0) with its 95 % interval `low` and `high` over both.

    Raises `TextrnnError`: an experiment was not probed.
    """
    rows = []
    for run in runs:
        file = run.path.with_name(f"probe@{run.name}") / "gradients.parquet"
        if not file.is_file():
            raise TextrnnError(f"{file} is missing: {run.name} was not probed. Run `dvc repro`.")
        table = pl.read_parquet(file).sort("seed", "id", "distance")
        seeds, texts, distances = (table[column].n_unique() for column in ("seed", "id", "distance"))
        # float32 has rounded some to 0.
        logs = np.log(np.maximum(table["norm"].to_numpy().astype(np.float64), LEAST)).reshape(seeds, texts, distances)
        of_text = groups("valid", table["id"].unique(maintain_order=True).to_list())
        for distance in range(distances):
            faded = contrast([logs[:, :, distance] - logs[:, :, 0]], [1.0], of_text)
            # Five digits: a norm may be very small.
            numbers = [float(f"{each:.5g}") for each in np.exp([faded.value, *faded.interval()])]
            rows.append((run.name, run.params["cell"], distance, texts, *numbers))
    return pd.DataFrame(rows, columns=COLUMNS)
