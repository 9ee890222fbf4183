"""Whether one classifier, or one way to train it, is really better than another, on the same examples.

Two questions, two tools. Which of two *trained models* is better: `PairedTest`; the only chance is in
which examples, or groups of them, were drawn. Which of two *experiments* is better: `contrast`; another seed would have
given another model, so the seeds are a sample too.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import isfinite, sqrt
from typing import Self

import numpy as np
from scipy.optimize import brentq
from scipy.special import digamma, polygamma
from scipy.stats import binom, binomtest, t

FEWEST_EXPERIMENTS = 3
"""Fewer do not tell how far seeds spread in a study."""


@dataclass(frozen=True)
class Estimate:
    """An accuracy, or a difference of accuracies, and how far chance may have moved it.

    Attributes:
        value: the estimate.
        parts: for each source of chance the variance that it gives the estimate, and that variance's
            degrees of freedom. A variance that is not known is NaN: then nothing can be told.
    """

    value: float
    parts: tuple[tuple[float, float], ...]

    @property
    def error(self) -> float:
        """The standard error, over all sources of chance."""
        return sqrt(sum(variance for variance, _ in self.parts))

    def interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """Returns the limits of a two-sided interval; NaN where nothing can be told."""
        spread = self._quantile(1 - confidence) * self.error if self.error else 0.0
        return self.value - spread, self.value + spread

    def accuracy_interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """As `interval`, cut to what an accuracy can be."""
        low, high = self.interval(confidence)
        return max(low, 0.0), min(high, 1.0)

    @property
    def p_value(self) -> float:
        """How probable a value at least so far from 0 is, when it is 0 in truth (two-sided)."""
        if not isfinite(self.error):
            return 1.0
        if self.error == 0:
            return 1.0 if self.value == 0 else 0.0
        distance = abs(self.value) / self.error
        if distance == 0 or distance >= self._quantile(1e-200):
            return float(distance == 0)
        return float(10.0 ** brentq(lambda power: self._quantile(10.0**power) - distance, -200, 0))

    def _quantile(self, level: float) -> float:
        """How many standard errors are exceeded with probability `level`, on both sides together.

        Student's quantiles of the parts, weighted by their variances (Cochran, Biometrics 1964, on
        the Behrens-Fisher test). Satterthwaite's degrees of freedom give smaller quantiles, and with
        three seeds more false findings than the level allows: `reports/intervals.md` has both.
        """
        total = self.error**2
        return float(sum(variance * t.isf(level / 2, freedom) for variance, freedom in self.parts) / total)


@dataclass(frozen=True)
class SeedPrior:
    """How far seeds spread in a study: what is known of an experiment's spread before its own seeds are seen.

    Three seeds tell little of how far seeds spread, and many experiments with three seeds tell a lot.
    So an experiment's variance is moved towards the study's, the further the more alike experiments
    are in it, and has more degrees of freedom than its own seeds give (moderated t-test: Smyth,
    Statistical Applications in Genetics and Molecular Biology 2004).

    Attributes:
        variance: of accuracy between seeds, typical of the study.
        freedom: how many degrees of freedom it is worth; 0 where nothing is known.
    """

    variance: float = 0.0
    freedom: float = 0.0

    @classmethod
    def of_study(cls, correct: Iterable[np.ndarray]) -> Self:
        """Fits it to experiments, bool [seeds, examples] each; those of one seed tell nothing."""
        tables = [np.asarray(each) for each in correct if len(each) > 1]
        if len(tables) < FEWEST_EXPERIMENTS:
            return cls()
        variances = np.array([each.mean(axis=1).var(ddof=1) for each in tables])
        freedoms = np.array([len(each) - 1 for each in tables])
        if not variances.any():
            return cls()
        # Seeds that happen to agree would have the logarithm of 0.
        logs = np.log(np.maximum(variances, 1e-5 * np.median(variances[variances > 0])))
        logs += np.log(freedoms / 2) - digamma(freedoms / 2)
        beyond_chance = logs.var(ddof=1) - polygamma(1, freedoms / 2).mean()
        most = float(freedoms.sum())
        if beyond_chance <= polygamma(1, most / 2):
            return cls(float(np.exp(logs.mean() + digamma(most / 2) - np.log(most / 2))), most)
        half = brentq(lambda half: polygamma(1, half) - beyond_chance, 1e-3, most / 2)
        return cls(float(np.exp(logs.mean() + digamma(half) - np.log(half))), 2 * half)

    def moderated(self, variance: float, freedom: int) -> tuple[float, float]:
        """Returns an experiment's variance and degrees of freedom, its own seeds and the study's taken together."""
        total = self.freedom + freedom
        return (self.freedom * self.variance + freedom * variance) / total, total


def contrast(
    correct: Sequence[np.ndarray],
    weights: Sequence[float],
    units: Sequence[str] | None = None,
    prior: SeedPrior = SeedPrior(),
) -> Estimate:
    """Estimates the sum of `weights` times the mean accuracies of experiments on the same examples.

    Every seed meets every example, so an experiment is a two-way layout with one observation a cell,
    and the variance of the sum has a part for the examples, which the experiments share, and one for
    each experiment's seeds (Brennan, Generalizability Theory, 2001, chapter 3; Gallas, Academic
    Radiology 2006, has readers and cases for seeds and examples). The residual is in all of them, and
    experiments that are alike may owe something to equal seeds: both err on the safe side. Examples
    that belong together, such as the reviews of one film, are drawn together: their deviations are
    summed before they are squared (Liang & Zeger, Biometrika 1986; Miller, "Adding Error Bars to
    Evals", 2024).

    Args:
        correct: for each experiment bool [seeds, examples]; a single row knows no chance between
            seeds, as that of a baseline does not.
        weights: one for each experiment, such as 1 and -1 for a difference.
        units: what each example belongs to; without them each is drawn for itself.
        prior: what the study tells of how far seeds spread.
    """
    tables = [np.asarray(each, dtype=np.float64) for each in correct]
    by_example = np.sum([weight * each.mean(axis=0) for weight, each in zip(weights, tables, strict=True)], axis=0)
    parts = [_of_units(by_example, units)]
    for weight, table in zip(weights, tables, strict=True):
        if len(table) > 1:
            variance, freedom = prior.moderated(float(table.mean(axis=1).var(ddof=1)), len(table) - 1)
            parts.append((weight**2 * variance / len(table), freedom))
    return Estimate(float(by_example.mean()), tuple(parts))


def vote(probabilities: Sequence[np.ndarray], labels: np.ndarray, units: Sequence[str] | None = None) -> Estimate:
    """Estimates the accuracy of the soft vote: the class that is most probable in the mean over seeds.

    The seeds' part of the variance is the jackknife's (Efron & Stein, Annals of Statistics 1981):
    what the vote becomes when each seed in turn is left out. The examples' part is as in `contrast`.

    Args:
        probabilities: for each seed float [examples, classes].
        labels: int [examples]
        units: as in `contrast`.
    """
    each = np.asarray(probabilities, dtype=np.float64)
    total, seeds = each.sum(axis=0), len(each)
    right = total.argmax(axis=1) == labels
    without = [((total - one).argmax(axis=1) == labels).mean() for one in each]
    parts = [_of_units(right.astype(np.float64), units)]
    if seeds > 1:
        parts.append(((seeds - 1) ** 2 * float(np.var(without, ddof=1)) / seeds, seeds - 1))
    return Estimate(float(right.mean()), tuple(parts))


def _of_units(by_example: np.ndarray, units: Sequence[str] | None) -> tuple[float, float]:
    """The variance of the mean of `by_example`, and its degrees of freedom; a single unit tells nothing."""
    deviations = by_example - by_example.mean()
    if units is not None:
        deviations = np.bincount(np.unique(units, return_inverse=True)[1], deviations)
    count = len(deviations)
    if count < 2:
        return float("nan"), 1
    return float((deviations**2).sum()) * count / (count - 1) / len(by_example) ** 2, count - 1


@dataclass(frozen=True)
class PairedTest:
    """Two classifiers on the same examples, of which those of one group were drawn together.

    Attributes:
        first: bool [examples], whether the first is right.
        second: the same of the second.
        groups: for each example what it belongs to; where each was drawn for itself, its own.
    """

    first: np.ndarray
    second: np.ndarray
    groups: Sequence[str]

    @property
    def p_value(self) -> float:
        """Exact paired permutation test, one-sided: how probable so large a lead of the first is if neither is better.

        Then a group could as well have come out the other way round, so every choice of signs for the groups' leads is
        equally probable (Fisher, The Design of Experiments, 1935, section 21; Edgington & Onghena, Randomization Tests,
        2007). Where each example is its own group, that is McNemar's exact test.
        """
        of_group = np.unique(self.groups, return_inverse=True)[1]
        leads = np.bincount(of_group, self.first.astype(int) - self.second).astype(int)
        sizes, counts = np.unique(np.abs(leads[leads != 0]), return_counts=True)
        probable = np.ones(1)  # of each sum of the leads that fall to the first
        for size, count in zip(sizes, counts, strict=True):
            steps = np.zeros(size * count + 1)
            steps[::size] = binom.pmf(np.arange(count + 1), count, 0.5)
            probable = np.convolve(probable, steps)
        return float(min(1.0, probable[leads[leads > 0].sum() :].sum()))

    def interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """Returns the limits of a two-sided interval of the difference in accuracy, first minus second.

        That of `contrast`, adjusted by one example more in either kind of disagreement, each a group of its own:
        without them two that never disagree would have an interval of width 0 (Bonett & Price, British Journal of
        Mathematical and Statistical Psychology 2012).
        """
        more = np.array([True, False])
        pair = [np.append(self.first, more)[None], np.append(self.second, ~more)[None]]
        return contrast(pair, [1, -1], [*self.groups, "\0first", "\0second"]).interval(confidence)


def accuracy_interval(right: int, examples: int, confidence: float = 0.95) -> tuple[float, float]:
    """Returns the limits of a two-sided interval of one classifier's accuracy (Wilson, JASA 1927)."""
    interval = binomtest(right, examples).proportion_ci(confidence, method="wilson")
    return float(interval.low), float(interval.high)
