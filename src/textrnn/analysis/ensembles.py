"""What ensembles are made of."""

from collections.abc import Sequence

import pandas as pd

from textrnn.modeling.model_files import read_ensemble
from textrnn.run_folder import RunFolder

COLUMNS = ("ensemble", "weights", "member", "seeds", "weight")


def ensembles(runs: Sequence[RunFolder]) -> pd.DataFrame:
    """Returns a row per member of each finished ensemble among `runs`.

    Columns: `ensemble`, `weights` (`equal` or `fitted`), `member`, of how many `seeds` its probabilities are the mean,
    and its `weight`.
    """
    rows = [
        (run.name, run.params["weights"], member.run, len(member.seeds), member.weight)
        for run in runs
        if run.kind == "ensemble"
        for seed in run.finished_seeds
        for member in read_ensemble(run.path / "model" / str(seed))
    ]
    return pd.DataFrame(rows, columns=COLUMNS)
