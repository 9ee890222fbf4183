"""Accuracy by the number of training texts: who is ahead at which number, and what more texts would bring.

A line is a set of experiments that differ in nothing but `train_examples`. Which number of texts they are trained on
is what counts: where the split has fewer than an experiment asks for, it is trained on all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, takewhile
from typing import Any

import numpy as np
import pandas as pd

from textrnn.analysis.comparisons import SPLIT, levels
from textrnn.analysis.examples import Groups
from textrnn.analysis.run_tables import DIGITS
from textrnn.analysis.significance import Estimate, SeedPrior, contrast
from textrnn.config.params import Params
from textrnn.run_folder import RunFolder

FEWEST = 3
"""A line has at least so many numbers of texts."""

FITTED = 4
"""A power law, which has three parameters, is fitted to at least so many."""

EXPONENTS = np.linspace(0.01, 1, 100)
DRAWS = 1000

TABLES = {
    "data_size": ("line", "use", "experiment", "texts", "accuracy", "low", "high"),
    "data_size_gaps": ("first", "second", "texts", "difference", "low", "high"),
    "data_size_meetings": ("behind", "ahead", "fewest", "most", "texts", "low", "high"),
    "data_size_laws": (
        *("line", "use", "a", "b", "c", "from", "most", "off", "off_low", "off_high"),
        *("accuracy", "low", "high", "gain", "gain_low", "gain_high", "why_not"),
    ),
}


@dataclass(frozen=True)
class Line:
    """Experiments that differ in how many texts they are trained on.

    Attributes:
        name: the levels of what differs between the study's lines.
        use: how they use their embedding: `learned`, `frozen` or `fine-tuned`.
        experiments: by the number of texts, ascending.
    """

    name: str
    use: str
    experiments: dict[int, str]


def lines(params: Params, texts: int) -> list[Line]:
    """Returns the lines of a study whose train split has so many `texts`."""
    found: dict[tuple[tuple[str, str], ...], dict[int, str]] = {}
    for name, experiment in params.experiments.items():
        rest = {factor: level for factor, level in levels(params, name).items() if factor != "train_examples"}
        kept = texts - round(experiment.held_out * texts)
        size = min(experiment.train_examples or kept, kept)
        found.setdefault(tuple(rest.items()), {}).setdefault(size, name)
    found = {rest: experiments for rest, experiments in found.items() if len(experiments) >= FEWEST}
    shared = set.intersection(*map(set, found)) if found else set()
    return [
        Line(
            ", ".join(
                level if factor in ("cell", "embedding") else f"{factor} {level}"
                for factor, level in rest
                if factor == "embedding" or (factor, level) not in shared
            ),
            dict(rest)["embedding"].rpartition(" ")[2],
            dict(sorted(experiments.items())),
        )
        for rest, experiments in found.items()
    ]


def data_size(runs: Sequence[RunFolder], params: Params, texts: int, groups: Groups) -> dict[str, pd.DataFrame]:
    """Returns the `TABLES`, which are empty for a study without lines. A run with a failed seed takes part in none.

    `data_size`: a row per line and number of `texts`: test accuracy, mean over seeds, and its 95 % interval over seeds
    and texts, as on the leaderboard.

    `data_size_gaps`: a row per two lines and number of texts that both have: second minus first, with its interval.

    `data_size_meetings`: a row per two lines, for the one that is `behind` at the `fewest` texts: the number of `texts`
    from which on it is not behind, interpolated between measured numbers on a log scale. Infinite where it still is
    at the `most` texts; `fewest` is that or less.

    `data_size_laws`: a row per line: the law error = a + b n^-c (Hestness et al., "Deep Learning Scaling is
    Predictable, Empirically", 2017). It is fitted to the numbers of texts `from` where the line is better than the most
    frequent class, beyond chance, and the law within every interval; fewer texts are what they call the small data
    region. `accuracy` is what the law says of twice the `most` texts, and `gain` how much more that is than what it
    says of these; or `why_not`. `off` is the law's check: by how much the accuracy with the most texts exceeds the
    measured one by the law fitted to all fewer texts.

    The intervals of meetings and laws are those of a bootstrap over seeds and groups of texts. It draws one fewer than
    there are, which makes variances unbiased (Rao & Wu, JASA 1988), and all lines share the drawn groups.

    Args:
        texts: how many the train split has.
    """
    finished = {run.name: run for run in runs if run.failure is None}
    found = [
        Line(line.name, line.use, {size: name for size, name in line.experiments.items() if name in finished})
        for line in lines(params, texts)
    ]
    found = [line for line in found if len(line.experiments) >= FEWEST]
    if not found:
        return {name: pd.DataFrame(columns=columns) for name, columns in TABLES.items()}
    correct = {name: finished[name].correct(SPLIT) for line in found for name in line.experiments.values()}
    first = finished[next(iter(correct))]
    ids, labels, _ = first.probabilities(first.seeds[0], SPLIT)
    of_text, prior = groups(SPLIT, ids), SeedPrior.of_runs(runs, SPLIT)
    guessed = (labels == np.bincount(labels).argmax())[None]
    draws = _bootstrap(correct, of_text)
    rows: dict[str, list[tuple[Any, ...]]] = {name: [] for name in TABLES}
    for line in found:
        names = list(line.experiments.values())
        own = [contrast([correct[name]], [1.0], of_text, prior) for name in names]
        rows["data_size"] += [
            (line.name, line.use, name, size, each.value, *each.accuracy_interval())
            for (size, name), each in zip(line.experiments.items(), own, strict=True)
        ]
        better = [contrast([guessed, correct[name]], [-1.0, 1.0], of_text, prior).interval()[0] > 0 for name in names]
        law = _law(list(line.experiments), own, better, np.stack([draws[name] for name in names], axis=1))
        rows["data_size_laws"].append((line.name, line.use, *(law.get(key) for key in TABLES["data_size_laws"][2:])))
    for one, other in combinations(found, 2):
        sizes = [size for size in one.experiments if size in other.experiments]
        pairs = [(one.experiments[size], other.experiments[size]) for size in sizes]
        gaps = [contrast([correct[name] for name in pair], [-1.0, 1.0], of_text, prior) for pair in pairs]
        rows["data_size_gaps"] += [
            (one.name, other.name, size, gap.value, *gap.interval()) for size, gap in zip(sizes, gaps, strict=True)
        ]
        if len(sizes) >= FEWEST:
            behind, ahead, sign = (one, other, -1) if gaps[0].value >= 0 else (other, one, 1)
            lead = sign * np.array([[gap.value for gap in gaps]])
            drawn = sign * np.stack([draws[second] - draws[first] for first, second in pairs], axis=1)
            meeting = _meeting(sizes, lead)[0], *_percentiles(_meeting(sizes, drawn))
            rows["data_size_meetings"].append((behind.name, ahead.name, sizes[0], sizes[-1], *meeting))
    return {name: pd.DataFrame(rows[name], columns=columns).round(DIGITS) for name, columns in TABLES.items()}


def _bootstrap(correct: dict[str, np.ndarray], groups: Sequence[str]) -> dict[str, np.ndarray]:
    """Accuracies of experiments, each float64 [draws], on drawn groups of texts and with drawn seeds."""
    rng = np.random.default_rng(0)
    of_text = np.unique(groups, return_inverse=True)[1]
    size = np.bincount(of_text)
    group_draws = _multinomial(rng, len(size))
    found = {}
    for name, table in correct.items():
        seed_draws = _multinomial(rng, len(table))
        right = group_draws @ np.stack([np.bincount(of_text, row) for row in table], axis=1)
        found[name] = (seed_draws * right).sum(axis=1) / seed_draws.sum(axis=1) / (group_draws @ size)
    return found


def _multinomial(rng: np.random.Generator, count: int) -> np.ndarray:
    """How often each of `count` is drawn, int64 [draws, count]; a single one is always drawn."""
    return rng.multinomial(max(count - 1, 1), np.full(count, 1 / count), DRAWS)


def _meeting(sizes: Sequence[int], lead: np.ndarray) -> np.ndarray:
    """From which number of texts on `lead`, float [draws, sizes], is not negative: float64 [draws]."""
    texts, count = np.log(sizes), len(sizes)
    lead = lead.round(DIGITS)  # a tie in the csv is a tie
    ahead_from = ((lead < 0) * np.arange(1, count + 1)).max(axis=1)
    before = np.clip(ahead_from - 1, 0, count - 2)
    left, right = (lead[np.arange(len(lead)), place] for place in (before, before + 1))
    crosses = (ahead_from > 0) & (ahead_from < count)
    share = np.divide(-left, right - left, out=np.zeros(len(lead)), where=crosses)
    found = np.exp(texts[before] + share * (texts[before + 1] - texts[before]))
    return np.where(crosses, found, np.where(ahead_from == 0, sizes[0], np.inf))


def _law(
    sizes: Sequence[int], measured: Sequence[Estimate], better: Sequence[bool], draws: np.ndarray
) -> dict[str, Any]:
    """The columns of a line's law, or `why_not`.

    Args:
        better: for each size whether the line is better than a guess.
        draws: accuracies float [draws, sizes].
    """
    found: dict[str, Any] = {"most": sizes[-1]}
    useful = sum(takewhile(bool, reversed(better)))
    if useful < FITTED:
        guess = f"better than the most frequent class, beyond chance, at {useful} of the largest numbers of texts"
        return {**found, "why_not": f"{guess}, and a law needs {FITTED}"}
    texts, accuracy = np.array(sizes, np.float64), np.array([each.value for each in measured])
    errors = np.array([each.error for each in measured])
    weights = 1 / errors**2 if (errors > 0).all() else np.ones_like(errors)
    low, high = np.array([each.interval() for each in measured]).T
    for start in range(len(sizes) - useful, len(sizes) - FITTED + 1):
        tail = slice(start, None)
        law = _fit(texts[tail], 1 - accuracy[None, tail], weights[tail])
        says = _accuracy(law, texts[tail])[0]
        if not ((says < low[tail]) | (says > high[tail])).any():
            break
    else:
        return {**found, "why_not": f"none is within the 95 % intervals at the {FITTED} largest numbers of texts"}
    if law[0, 1] == 0:
        return {**found, "why_not": "accuracy does not rise with the number of texts"}
    ends = np.array([texts[-1], 2 * texts[-1]])
    now, twice = _accuracy(law, ends)[0]
    drawn = _accuracy(_fit(texts[tail], 1 - draws[:, tail], weights[tail]), ends)
    found |= dict(zip("abc", law[0], strict=True)) | {"from": sizes[start], "accuracy": twice, "gain": twice - now}
    found["low"], found["high"] = _percentiles(drawn[:, 1])
    found["gain_low"], found["gain_high"] = _percentiles(drawn[:, 1] - drawn[:, 0])
    if len(sizes) - start > FITTED:
        fewer = slice(start, -1)
        off = [
            _accuracy(_fit(texts[fewer], 1 - each[:, fewer], weights[fewer]), texts[-1:])[:, 0] - each[:, -1]
            for each in (accuracy[None], draws)
        ]
        found["off"], (found["off_low"], found["off_high"]) = off[0][0], _percentiles(off[1])
    return found


def _fit(texts: np.ndarray, errors: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Fits error = a + b n^-c, a and b not negative, by weighted least squares: float64 [draws, 3].

    For each c of `EXPONENTS` a and b are linear, and have a closed form (Golub & Pereyra, SIAM Journal on Numerical
    Analysis 1973).

    Args:
        texts: float64 [sizes]
        errors: float64 [draws, sizes]
        weights: float64 [sizes]
    """
    weights = weights / weights.sum()
    power = texts ** -EXPONENTS[:, None]
    mean, error = power @ weights, errors @ weights
    deviation = power - mean[:, None]
    b = np.maximum((errors * weights) @ deviation.T / (deviation**2 @ weights), 0)
    a = error[:, None] - b * mean
    b = np.where(a < 0, (errors * weights) @ power.T / (power**2 @ weights), b)
    a = np.maximum(a, 0)
    residual = errors[:, None] - a[..., None] - b[..., None] * power
    best = (residual**2 @ weights).argmin(axis=1)
    draws = np.arange(len(errors))
    return np.stack([a[draws, best], b[draws, best], EXPONENTS[best]], axis=1)


def _accuracy(laws: np.ndarray, texts: np.ndarray) -> np.ndarray:
    """What `laws`, float [draws, 3], say for so many `texts`: float64 [draws, sizes]."""
    a, b, c = laws.T[..., None]
    found: np.ndarray = 1 - a - b * texts**-c
    return found


def _percentiles(draws: np.ndarray) -> tuple[float, float]:
    """The limits of a 95 % interval; they are among the draws, so that they may be infinite."""
    low, high = np.quantile(draws, [0.025, 0.975], method="inverted_cdf")
    return float(low), float(high)
