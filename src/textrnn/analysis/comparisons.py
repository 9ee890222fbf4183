"""Every comparison that a study declares, tested on the same test examples and corrected together.

Three kinds: each experiment against a baseline; each factor with the rest equal, such as LSTM against
GRU averaged over the pairs of experiments that differ in the cell alone; and pairs that the study
names. By itself stands the comparison of every experiment with the best one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from statsmodels.stats.multitest import multipletests

from textrnn.analysis.sampling import Units, seed_prior
from textrnn.analysis.significance import Estimate, contrast
from textrnn.analysis.tables import DIGITS
from textrnn.config.params import Params
from textrnn.run_folder import RunFolder

SPLIT = "test"
BASELINE, BEST, DECLARED = "baseline", "best", "declared"
"""What a row can be about, besides the name of a factor."""

COLUMNS = ("about", "first", "second", "pairs", "difference", "low", "high", "p_value", "p_adjusted", "verdict")


@dataclass(frozen=True)
class _Comparison:
    """What is compared: `pairs` holds the names of runs, whose differences are averaged."""

    about: str
    first: str
    second: str
    pairs: tuple[tuple[str, str], ...]


def comparisons(runs: Sequence[RunFolder], params: Params, best: str | None, units: Units) -> pd.DataFrame:
    """Returns a row per comparison; a run with a failed seed takes part in none.

    Columns: `about` (`baseline`, `declared`, `best` or a factor: a key of an experiment), `first` and
    `second` (names of runs, or levels of the factor), `pairs` (how many differences are averaged),
    `difference` (of accuracy on the test split, second minus first) with its 95 % interval `low` and
    `high`, `p_value`, `p_adjusted` (Holm, Scandinavian Journal of Statistics 1979, over all rows but
    those about the best, and over those by themselves), and `verdict` on the second: `better`,
    `worse`, or `unclear` at the study's level.

    Args:
        runs: the study's, experiments and baselines.
        best: the experiment that ranks first on validation.
        units: the corpus' units of sampling.
    """
    finished = [run for run in runs if run.failure is None]
    correct = {run.name: run.correct(SPLIT) for run in finished}
    belongs = units(SPLIT, finished[0].probabilities(finished[0].seeds[0], SPLIT)[0]) if finished else []
    experiments = [name for name in params.experiments if name in correct]
    declared = [
        *(
            _Comparison(BASELINE, bar, name, ((bar, name),))
            for bar in params.comparisons.against
            for name in experiments
            if name != bar
        ),
        *(_Comparison(DECLARED, first, second, ((first, second),)) for first, second in params.comparisons.pairs),
        *_factors(params, experiments),
    ]
    with_best = [_Comparison(BEST, best, name, ((best, name),)) for name in experiments if best and name != best]
    test = partial(contrast, units=belongs, prior=seed_prior(finished, SPLIT))
    tables = [_tested(family, correct, test, params.comparisons.level) for family in (declared, with_best)]
    return pd.concat([table for table in tables if len(table)] or tables[:1], ignore_index=True)


def _factors(params: Params, experiments: Sequence[str]) -> list[_Comparison]:
    """A comparison for each two levels of a factor, over all pairs of experiments that differ in nothing else.

    Levels stand in the order in which the study first names them.
    """
    levels = {name: _levels(params, name) for name in experiments}
    order = {key: list(dict.fromkeys(own[key] for own in levels.values())) for key in next(iter(levels.values()), {})}
    found: dict[tuple[str, str, str], list[tuple[str, str]]] = {}
    for pair in combinations(experiments, 2):
        differing = [key for key in order if levels[pair[0]][key] != levels[pair[1]][key]]
        if len(differing) == 1:
            key = differing[0]
            first, second = sorted(pair, key=lambda name: order[key].index(levels[name][key]))
            found.setdefault((key, levels[first][key], levels[second][key]), []).append((first, second))
    places = list(order)
    return [
        _Comparison(*about, tuple(pairs))
        for about, pairs in sorted(found.items(), key=lambda item: places.index(item[0][0]))
    ]


def _levels(params: Params, name: str) -> dict[str, str]:
    """An experiment's level of each factor; where its vectors come from and whether they are trained is one factor."""
    experiment = params.experiments[name].model_dump()
    embedding, is_trained = experiment.pop("embedding"), experiment.pop("trainable_embedding")
    is_drawn = params.embeddings[embedding].source == "random"
    how = "frozen" if not is_trained else "learned" if is_drawn else "fine-tuned"
    cell = {"cell": experiment.pop("cell"), "embedding": f"{embedding} {how}"}
    return {key: _level(value) for key, value in {**cell, **experiment}.items()}


def _level(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return "on" if value else "off"
    return str(value)


def _tested(
    family: Sequence[_Comparison], correct: dict[str, np.ndarray], test: Callable[..., Estimate], level: float
) -> pd.DataFrame:
    family = [one for one in family if all(name in correct for pair in one.pairs for name in pair)]
    if not family:
        return pd.DataFrame(columns=COLUMNS)
    estimates = []
    for one in family:
        weights: dict[str, float] = {}
        for first, second in one.pairs:
            weights[first] = weights.get(first, 0) - 1 / len(one.pairs)
            weights[second] = weights.get(second, 0) + 1 / len(one.pairs)
        estimates.append(test([correct[name] for name in weights], list(weights.values())))
    p_values = [estimate.p_value for estimate in estimates]
    adjusted = multipletests(p_values, method="holm")[1]
    rows = [
        (
            *(one.about, one.first, one.second, len(one.pairs)),
            *(estimate.value, *estimate.interval(), estimate.p_value, p_adjusted),
            "unclear" if p_adjusted > level else "better" if estimate.value > 0 else "worse",
        )
        for one, estimate, p_adjusted in zip(family, estimates, adjusted, strict=True)
    ]
    return pd.DataFrame(rows, columns=COLUMNS).round(DIGITS)
