"""How optimistic a way of validating is, and published figures next to ours.

Random validation has texts of groups (films) that were trained on, and the epoch that looks best on it was chosen by
the texts that measure it: both make the figure optimistic. An experiment that holds out a part of the train split shows
by how much: its weights are evaluated on that part, on the validation split, which is drawn by group, and on the test
split.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from textrnn.analysis.examples import Groups
from textrnn.analysis.run_tables import DIGITS
from textrnn.analysis.significance import Estimate, contrast
from textrnn.config.params import Params
from textrnn.run_folder import HELD_OUT, RunFolder

PROTOCOL_COLUMNS = ("experiment", "padding", "by_eye", "at_random", "by_group", "test")
OPTIMISM = {
    "picked by eye": ("by_eye", "at_random"),
    "drawn at random": ("at_random", "by_group"),
    "both": ("by_eye", "test"),
}
"""By cause: the column with the optimistic figure, and the column to subtract."""

OPTIMISM_COLUMNS = ("what", "difference", "low", "high")
PUBLISHED_COLUMNS = (
    *("experiment", "measure", "published", "ours", "low", "high", "verdict", "source", "uses", "chose_on"),
)


def protocol(runs: Sequence[RunFolder], groups: Groups) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Returns two tables on the experiments that hold out a part of the train split.

    The first has a row for each, accuracies are means over seeds: `by_eye`, the best of all epochs on the held-out
    part; `at_random`, the same part at the epoch whose weights were kept; `by_group`, those weights on the validation
    split; `test`. The second has a row for each of `OPTIMISM`, averaged over the experiments that train on all
    examples: `what`, `difference`, and its 95 % interval `low` and `high`, over seeds (each draws its own part) and
    over the texts of the other split. A run with a failed seed takes no part.
    """
    found = [run for run in runs if run.failure is None and HELD_OUT in run.history]
    measured = {run.name: _measured(run) for run in found}
    rows = [(run.name, run.params["padding"], *measured[run.name].mean()) for run in found]
    table = pd.DataFrame(rows, columns=PROTOCOL_COLUMNS)
    whole = [run for run in found if run.params["train_examples"] is None]
    added = []
    for what, (first, second) in OPTIMISM.items() if whole else ():
        tables = [measured[run.name] for run in whole]
        estimate = _over_seeds(np.mean([each[first] - each[second] for each in tables], axis=0))
        if split := {"by_group": "valid", "test": "test"}.get(second):
            of_text = groups(split, whole[0].probabilities(whole[0].seeds[0], split)[0])
            texts = contrast([run.correct(split) for run in whole], [1 / len(whole)] * len(whole), of_text)
            estimate = Estimate(estimate.value, (*estimate.parts, texts.parts[0]))
        added.append((what, estimate.value, *estimate.interval()))
    return table.round(DIGITS), pd.DataFrame(added, columns=OPTIMISM_COLUMNS).round(DIGITS)


def published(runs: Sequence[RunFolder], params: Params, board: pd.DataFrame) -> pd.DataFrame:
    """Returns the published figures that the study lists next to ours, a row each; none for a run with a failed seed.

    Columns: `experiment`, `measure`, `published`, `ours` (mean over seeds) with its 95 % interval `low` and `high`
    (Student's over seeds for a validation figure, where each seed draws its own texts; as on the leaderboard for the
    test split), `verdict` on ours: `higher`, `lower`, or `alike` where the interval includes the published one;
    `source`, and what it states: `uses` and `chose_on`, which may be empty. `board` is `leaderboard.build(…)`.
    """
    by_name = {run.name: run for run in runs if run.failure is None}
    tests = board.set_index("experiment")
    rows = []
    for figure in params.published:
        run = by_name.get(figure.experiment)
        if run is None:
            continue
        if figure.measure == "test":
            ours, low, high = map(float, tests.loc[run.name, ["test_accuracy", "test_low", "test_high"]])
        else:
            column = HELD_OUT if HELD_OUT in run.history else "val_accuracy"
            estimate = _over_seeds(_by_seed(run, column, "max" if figure.measure == "best_epoch" else "last"))
            ours, (low, high) = estimate.value, estimate.accuracy_interval()
        verdict = "higher" if figure.accuracy < low else "lower" if figure.accuracy > high else "alike"
        stated = figure.source, ", ".join(figure.uses), figure.chose_on or ""
        rows.append((run.name, figure.measure, figure.accuracy, ours, low, high, verdict, *stated))
    return pd.DataFrame(rows, columns=PUBLISHED_COLUMNS).round(DIGITS)


def _measured(run: RunFolder) -> pd.DataFrame:
    """A row per seed: `PROTOCOL_COLUMNS` except the names."""
    kept = _by_seed(run, HELD_OUT, "last")
    if run.params["early_stopping"] is not None:  # the weights of the epoch with the lowest validation loss were kept
        best = run.history.loc[run.history.groupby("seed")["val_loss"].idxmin()].set_index("seed")
        kept = best.loc[run.seeds, HELD_OUT].to_numpy()
    columns = {
        "by_eye": _by_seed(run, HELD_OUT, "max"),
        "at_random": kept,
        "by_group": run.correct("valid").mean(axis=1),
        "test": run.correct("test").mean(axis=1),
    }
    return pd.DataFrame(columns)


def _by_seed(run: RunFolder, column: str, take: str) -> np.ndarray:
    """float64 [seeds]: the `max` or the `last` of a column of each seed's history."""
    values: np.ndarray = run.history.groupby("seed")[column].agg(take)[run.seeds].to_numpy()
    return values


def _over_seeds(each: np.ndarray) -> Estimate:
    """The mean of one value per seed; of a single one the variance is unknown."""
    variance = float(each.var(ddof=1)) / len(each) if len(each) > 1 else float("nan")
    return Estimate(float(each.mean()), ((variance, len(each) - 1),))
