"""Whether one classifier, or one way to train it, is better than another on the same examples, beyond chance.

Two questions, two tools. Which of two *trained models* is better: `PairedTest`; only the examples, or groups of them,
are a sample. Which of two *experiments* is better: `contrast`; another seed would have given another model, so the
seeds are a sample too.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import isfinite, sqrt
from typing import Self

import numpy as np
from scipy.optimize import brentq
from scipy.special import digamma, polygamma
from scipy.stats import binom, binomtest, t

from textrnn.run_folder import RunFolder

FEWEST_EXPERIMENTS = 3  # with fewer experiments the spread of a study's seeds is not estimated


@dataclass(frozen=True)
class Estimate:
    """An accuracy, or a difference of accuracies, and how far chance may have moved it.

    Attributes:
        value: the estimate.
        parts: variance and its degrees of freedom for each source of chance; an unknown variance is NaN.
    """

    value: float
    parts: tuple[tuple[float, float], ...]

    @property
    def error(self) -> float:
        """The standard error, over all sources of chance."""
        return sqrt(sum(variance for variance, _ in self.parts))

    def interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """Returns the limits of a two-sided interval; NaN where a variance is unknown."""
        spread = self._quantile(1 - confidence) * self.error if self.error else 0.0
        return self.value - spread, self.value + spread

    def accuracy_interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """Returns `interval`, cut to the range of an accuracy."""
        low, high = self.interval(confidence)
        return max(low, 0.0), min(high, 1.0)

    @property
    def p_value(self) -> float:
        """The probability of a value at least so far from 0 if the true value is 0 (two-sided)."""
        if not isfinite(self.error):
            return 1.0
        if self.error == 0:
            return 1.0 if self.value == 0 else 0.0
        distance = abs(self.value) / self.error
        if distance == 0 or distance >= self._quantile(1e-200):
            return float(distance == 0)
        return float(10.0 ** brentq(lambda power: self._quantile(10.0**power) - distance, -200, 0))

    def _quantile(self, level: float) -> float:
        """The number of standard errors that is exceeded with probability `level`, both sides together.

        Student's quantiles of the parts, weighted by their variances (Cochran, Biometrics 1964, on the Behrens-Fisher
        test). Satterthwaite's degrees of freedom give smaller quantiles, and with three seeds more false findings than
        the level allows: `reports/intervals.md` compares both.
        """
        total = self.error**2
        return float(sum(variance * t.isf(level / 2, freedom) for variance, freedom in self.parts) / total)


@dataclass(frozen=True)
class SeedPrior:
    """How far seeds typically spread in a study, which moderates the variance of each experiment.

    An experiment's variance, estimated from a few seeds, is moved towards the study's: the further, the more alike the
    experiments are. It also gains degrees of freedom (moderated t-test: Smyth, Statistical Applications in Genetics
    and Molecular Biology 2004).
    """

    variance: float = 0.0  # of accuracy between seeds, typical of the study
    freedom: float = 0.0  # its degrees of freedom; 0 where nothing is known

    @classmethod
    def of_study(cls, correct: Iterable[np.ndarray]) -> Self:
        """Fits the prior to experiments, bool [seeds, examples] each; those of one seed do not count."""
        tables = [np.asarray(each) for each in correct if len(each) > 1]
        if len(tables) < FEWEST_EXPERIMENTS:
            return cls()
        variances = np.array([each.mean(axis=1).var(ddof=1) for each in tables])
        freedoms = np.array([len(each) - 1 for each in tables])
        if not variances.any():
            return cls()
        # The floor avoids the logarithm of 0 where seeds agree.
        logs = np.log(np.maximum(variances, 1e-5 * np.median(variances[variances > 0])))
        logs += np.log(freedoms / 2) - digamma(freedoms / 2)
        beyond_chance = logs.var(ddof=1) - polygamma(1, freedoms / 2).mean()
        most = float(freedoms.sum())
        if beyond_chance <= polygamma(1, most / 2):
            return cls(float(np.exp(logs.mean() + digamma(most / 2) - np.log(most / 2))), most)
        half = brentq(lambda half: polygamma(1, half) - beyond_chance, 1e-3, most / 2)
        return cls(float(np.exp(logs.mean() + digamma(half) - np.log(half))), 2 * half)

    @classmethod
    def of_runs(cls, runs: Iterable[RunFolder], split: str) -> Self:
        """Fits the prior to the experiments among `runs`, by their accuracy on a split."""
        return cls.of_study(run.correct(split) for run in runs if run.kind == "experiment" and run.finished_seeds)

    def moderated(self, variance: float, freedom: int) -> tuple[float, float]:
        """Returns an experiment's variance and degrees of freedom, from its own seeds and the study's."""
        total = self.freedom + freedom
        return (self.freedom * self.variance + freedom * variance) / total, total


def contrast(
    correct: Sequence[np.ndarray],
    weights: Sequence[float],
    groups: Sequence[str] | None = None,
    prior: SeedPrior = SeedPrior(),
) -> Estimate:
    """Estimates the sum of `weights` times the mean accuracies of experiments on the same examples.

    Every seed meets every example, so an experiment is a two-way layout with one observation a cell. The variance of
    the sum has a part for the examples, which the experiments share, and one for each experiment's seeds (Brennan,
    Generalizability Theory, 2001, chapter 3; Gallas, Academic Radiology 2006, with readers and cases for seeds and
    examples). The residual is in all of them, and experiments may be correlated through equal seeds: both errors are
    conservative. Examples of one group, such as the reviews of one film, are drawn together: their deviations are
    summed before they are squared (Liang & Zeger, Biometrika 1986; Miller, "Adding Error Bars to Evals", 2024).

    Args:
        correct: for each experiment bool [seeds, examples]; a single row, as of a baseline, has no variance over seeds.
        weights: one for each experiment, such as 1 and -1 for a difference.
        groups: the group of each example; None if each is drawn by itself.
        prior: how far seeds spread in the study.
    """
    tables = [np.asarray(each, dtype=np.float64) for each in correct]
    by_example = np.sum([weight * each.mean(axis=0) for weight, each in zip(weights, tables, strict=True)], axis=0)
    parts = [_over_groups(by_example, groups)]
    for weight, table in zip(weights, tables, strict=True):
        if len(table) > 1:
            variance, freedom = prior.moderated(float(table.mean(axis=1).var(ddof=1)), len(table) - 1)
            parts.append((weight**2 * variance / len(table), freedom))
    return Estimate(float(by_example.mean()), tuple(parts))


def vote(probabilities: Sequence[np.ndarray], labels: np.ndarray, groups: Sequence[str] | None = None) -> Estimate:
    """Estimates the accuracy of the soft vote: the class that is most probable in the mean over seeds.

    The seeds' part of the variance is the jackknife's, which leaves each seed out in turn (Efron & Stein, Annals of
    Statistics 1981). The examples' part is as in `contrast`.

    Args:
        probabilities: for each seed float [examples, classes].
        labels: int [examples]
        groups: as in `contrast`.
    """
    each = np.asarray(probabilities, dtype=np.float64)
    total, seeds = each.sum(axis=0), len(each)
    correct = total.argmax(axis=1) == labels
    without = [((total - one).argmax(axis=1) == labels).mean() for one in each]
    parts = [_over_groups(correct.astype(np.float64), groups)]
    if seeds > 1:
        parts.append(((seeds - 1) ** 2 * float(np.var(without, ddof=1)) / seeds, seeds - 1))
    return Estimate(float(correct.mean()), tuple(parts))


def _over_groups(by_example: np.ndarray, groups: Sequence[str] | None) -> tuple[float, float]:
    """The variance of the mean of `by_example`, NaN for a single group, and its degrees of freedom."""
    deviations = by_example - by_example.mean()
    if groups is not None:
        deviations = np.bincount(np.unique(groups, return_inverse=True)[1], deviations)
    count = len(deviations)
    if count < 2:
        return float("nan"), 1
    return float((deviations**2).sum()) * count / (count - 1) / len(by_example) ** 2, count - 1


@dataclass(frozen=True)
class PairedTest:
    """Two classifiers on the same examples."""

    first: np.ndarray  # bool [examples], whether the first is correct
    second: np.ndarray  # the same of the second
    groups: Sequence[str]  # the group of each example; examples of one group were drawn together

    @property
    def p_value(self) -> float:
        """Exact paired permutation test, one-sided: the probability of so large a lead of the first by chance.

        If neither is better, every choice of signs for the groups' leads is equally probable (Fisher, The Design of
        Experiments, 1935, section 21; Edgington & Onghena, Randomization Tests, 2007). Where each example is its own
        group, this is McNemar's exact test.
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

        It is that of `contrast` with one more example of either kind of disagreement, each a group of its own, so that
        two that never disagree have no interval of width 0 (Bonett & Price, British Journal of Mathematical and
        Statistical Psychology 2012).
        """
        more = np.array([True, False])
        pair = [np.append(self.first, more)[None], np.append(self.second, ~more)[None]]
        return contrast(pair, [1, -1], [*self.groups, "\0first", "\0second"]).interval(confidence)


def accuracy_interval(correct: int, examples: int, confidence: float = 0.95) -> tuple[float, float]:
    """Returns the limits of a two-sided interval of one classifier's accuracy (Wilson, JASA 1927)."""
    interval = binomtest(correct, examples).proportion_ci(confidence, method="wilson")
    return float(interval.low), float(interval.high)
