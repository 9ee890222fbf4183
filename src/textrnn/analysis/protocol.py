"""What a way of validating adds to the figure that is reported, and published figures beside ours.

Validation at random has texts of the groups (films) that were trained on, and the epoch that looks best
on it was chosen by the very texts that measure it. Both flatter. An experiment that holds out a part of
the train split shows by how much: its weights are measured there, on the validation split, which is
drawn by group, and on the test split.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from textrnn.analysis.sampling import Units
from textrnn.analysis.significance import Estimate, contrast
from textrnn.analysis.tables import DIGITS
from textrnn.config.params import Params
from textrnn.run_folder import HELD_OUT, RunFolder

PROTOCOL_COLUMNS = ("experiment", "padding", "by_eye", "at_random", "by_group", "test")
FLATTERY = {
    "picked by eye": ("by_eye", "at_random"),
    "drawn at random": ("at_random", "by_group"),
    "both": ("by_eye", "test"),
}
"""What adds to a figure: the first of two columns minus the second."""

PUBLISHED_COLUMNS = ("experiment", "measure", "published", "ours", "low", "high", "verdict", "source")


def protocol(runs: Sequence[RunFolder], units: Units) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Returns two tables on the experiments that hold out a part of the train split.

    The first has a row for each, accuracies are means over seeds: `by_eye`, the best of all epochs on the
    part that is held out; `at_random`, the same part at the epoch whose weights were kept; `by_group`,
    those weights on the validation split; `test`. The second says for each of `FLATTERY` what it adds
    on average over the experiments that train on all examples: `what`, `difference`, and its 95 %
    interval `low` and `high`, over seeds (each draws its own part) and over the texts of the other split.

    Args:
        runs: the study's; a run with a failed seed takes no part.
        units: the corpus' units of sampling.
    """
    found = [run for run in runs if run.failure is None and HELD_OUT in run.history]
    measured = {run.name: _measured(run) for run in found}
    rows = [(run.name, run.params["padding"], *measured[run.name].mean()) for run in found]
    table = pd.DataFrame(rows, columns=PROTOCOL_COLUMNS)
    whole = [run for run in found if run.params["train_examples"] is None]
    added = []
    for what, (first, second) in FLATTERY.items() if whole else ():
        by_seed = np.mean([measured[run.name][first] - measured[run.name][second] for run in whole], axis=0)
        parts: list[tuple[float, float]] = [(_over_seeds(by_seed), len(by_seed) - 1)]
        if second != "at_random":
            split = {"by_group": "valid", "test": "test"}[second]
            belongs = units(split, whole[0].probabilities(whole[0].seeds[0], split)[0])
            texts = contrast([run.correct(split) for run in whole], [1 / len(whole)] * len(whole), belongs)
            parts.append(texts.parts[0])
        estimate = Estimate(float(by_seed.mean()), tuple(parts))
        added.append((what, estimate.value, *estimate.interval()))
    return table.round(DIGITS), pd.DataFrame(added, columns=["what", "difference", "low", "high"]).round(DIGITS)


def published(runs: Sequence[RunFolder], params: Params, board: pd.DataFrame) -> pd.DataFrame:
    """Returns the figures that the study names beside ours, a row each; none for a run with a failed seed.

    Columns: `experiment`, `measure`, `published`, `ours` (mean over seeds) with its 95 % interval `low`
    and `high` (Student's over seeds for a validation figure, where each seed draws its own texts; for
    the test split as on the leaderboard), `verdict` on ours: `higher`, `lower`, or `alike` where the
    interval holds the published one; and `source`.

    Args:
        board: `leaderboard.build(…)`
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
            each = _by_seed(run, _on_validation(run), _best if figure.measure == "best_epoch" else _last)
            estimate = Estimate(float(each.mean()), ((_over_seeds(each), len(each) - 1),))
            ours, (low, high) = estimate.value, estimate.accuracy_interval()
        verdict = "higher" if figure.accuracy < low else "lower" if figure.accuracy > high else "alike"
        rows.append((run.name, figure.measure, figure.accuracy, ours, low, high, verdict, figure.source))
    return pd.DataFrame(rows, columns=PUBLISHED_COLUMNS).round(DIGITS)


def _measured(run: RunFolder) -> pd.DataFrame:
    """A row per seed: `PROTOCOL_COLUMNS` but for the names."""
    columns = {
        "by_eye": _by_seed(run, HELD_OUT, _best),
        "at_random": _at_kept_epoch(run),
        "by_group": run.correct("valid").mean(axis=1),
        "test": run.correct("test").mean(axis=1),
    }
    return pd.DataFrame(columns)


def _at_kept_epoch(run: RunFolder) -> np.ndarray:
    """The accuracy on what is held out at the epoch of the saved weights, float64 [seeds]."""
    if run.params["early_stopping"] is None:
        return _by_seed(run, HELD_OUT, _last)
    best = run.history.loc[run.history.groupby("seed")["val_loss"].idxmin()].set_index("seed")
    return best.loc[run.seeds, HELD_OUT].to_numpy()


def _by_seed(run: RunFolder, column: str, take: Callable[[pd.Series], float]) -> np.ndarray:
    return np.array([take(run.history.loc[run.history["seed"] == seed, column]) for seed in run.seeds])


def _on_validation(run: RunFolder) -> str:
    return HELD_OUT if HELD_OUT in run.history else "val_accuracy"


def _best(values: pd.Series) -> float:
    return float(values.max())


def _last(values: pd.Series) -> float:
    return float(values.iloc[-1])


def _over_seeds(each: np.ndarray) -> float:
    """The variance of the mean of what each seed gave; of a single one nothing can be told."""
    return float(each.var(ddof=1)) / len(each) if len(each) > 1 else float("nan")
