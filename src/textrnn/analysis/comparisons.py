"""Every comparison that a study declares, tested on the same test examples and corrected together.

Three kinds: each experiment and ensemble against a baseline; each factor with the rest equal, such as LSTM against GRU
averaged over the pairs of experiments that differ in the cell alone; and pairs that the study names. The comparisons of
every experiment and ensemble with the best one are a family of their own.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import pandas as pd
from statsmodels.stats.multitest import multipletests

from textrnn.analysis.examples import Groups
from textrnn.analysis.run_tables import DIGITS
from textrnn.analysis.significance import SeedPrior, contrast
from textrnn.config.params import Params
from textrnn.run_folder import RunFolder

SPLIT = "test"
BASELINE, BEST, DECLARED = "baseline", "best", "declared"  # subjects of a row, other than a factor

COLUMNS = ("about", "first", "second", "pairs", "difference", "low", "high", "p_value", "p_adjusted", "verdict")


@dataclass(frozen=True)
class _Comparison:
    """`pairs` holds the names of runs whose differences, second minus first, are averaged."""

    about: str
    first: str
    second: str
    pairs: tuple[tuple[str, str], ...]


def comparisons(runs: Sequence[RunFolder], params: Params, best: str | None, groups: Groups) -> pd.DataFrame:
    """Returns a row per comparison; a run with a failed seed takes part in none.

    Columns: `about` (`baseline`, `declared`, `best` or a factor: a key of an experiment), `first` and `second` (names
    of runs, or levels of the factor), `pairs` (how many differences are averaged), `difference` (of accuracy on the
    test split, second minus first) with its 95 % interval `low` and `high`, `p_value`, `p_adjusted` (Holm,
    Scandinavian Journal of Statistics 1979, over all rows except those about the best, and over those by themselves),
    and `verdict` on the second: `better`, `worse`, or `unclear` at the study's level. `best` ranks first on validation.
    """
    finished = [run for run in runs if run.failure is None]
    correct = {run.name: run.correct(SPLIT) for run in finished}
    of_text = groups(SPLIT, finished[0].probabilities(finished[0].seeds[0], SPLIT)[0]) if finished else []
    prior = SeedPrior.of_runs(finished, SPLIT)
    experiments = [name for name in params.experiments if name in correct]
    judged = [*experiments, *(name for name in params.ensembles if name in correct)]
    declared = [
        *(_pair(BASELINE, bar, name) for bar in params.comparisons.against for name in judged if name != bar),
        *(_pair(DECLARED, first, second) for first, second in params.comparisons.pairs),
        *_factors(params, experiments),
    ]
    with_best = [_pair(BEST, best, name) for name in judged if best and name != best]
    rows: list[tuple[Any, ...]] = []
    for family in (declared, with_best):
        family = [one for one in family if all(name in correct for pair in one.pairs for name in pair)]
        estimates = []
        for one in family:
            weights: defaultdict[str, float] = defaultdict(float)
            for first, second in one.pairs:
                weights[first] -= 1 / len(one.pairs)
                weights[second] += 1 / len(one.pairs)
            estimates.append(contrast([correct[name] for name in weights], list(weights.values()), of_text, prior))
        adjusted = multipletests([each.p_value for each in estimates], method="holm")[1] if estimates else []
        for one, estimate, p_adjusted in zip(family, estimates, adjusted, strict=True):
            better = "better" if estimate.value > 0 else "worse"
            verdict = "unclear" if p_adjusted > params.comparisons.level else better
            numbers = estimate.value, *estimate.interval(), estimate.p_value, p_adjusted
            rows.append((one.about, one.first, one.second, len(one.pairs), *numbers, verdict))
    return pd.DataFrame(rows, columns=COLUMNS).round(DIGITS)


def _pair(about: str, first: str, second: str) -> _Comparison:
    return _Comparison(about, first, second, ((first, second),))


def _factors(params: Params, experiments: Sequence[str]) -> list[_Comparison]:
    """A comparison for each two levels of a factor, over all pairs of experiments that differ in nothing else.

    Levels are in the order in which the study first names them.
    """
    of_each = {name: levels(params, name) for name in experiments}
    order = {key: list(dict.fromkeys(own[key] for own in of_each.values())) for key in next(iter(of_each.values()), {})}
    found: dict[tuple[str, str, str], list[tuple[str, str]]] = {}
    for pair in combinations(experiments, 2):
        differing = [key for key in order if of_each[pair[0]][key] != of_each[pair[1]][key]]
        if len(differing) == 1:
            key = differing[0]
            first, second = sorted(pair, key=lambda name: order[key].index(of_each[name][key]))
            found.setdefault((key, of_each[first][key], of_each[second][key]), []).append((first, second))
    keys = list(order)
    return [_Comparison(*each, tuple(found[each])) for each in sorted(found, key=lambda each: keys.index(each[0]))]


def levels(params: Params, name: str) -> dict[str, str]:
    """Returns the experiment's level of each factor; the source of its vectors and how they are used is one factor."""
    experiment = params.experiments[name].model_dump()
    embedding, is_trained = experiment.pop("embedding"), experiment.pop("trainable_embedding")
    how = "frozen" if not is_trained else "learned" if params.is_drawn(embedding) else "fine-tuned"
    levels = {"cell": experiment.pop("cell"), "embedding": f"{embedding} {how}", **experiment}
    on_off = {None: "off", False: "off", True: "on"}
    return {key: on_off[each] if each is None or isinstance(each, bool) else str(each) for key, each in levels.items()}
