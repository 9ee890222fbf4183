"""Do the intervals cover, and do the tests keep their level? Measured on simulated experiments whose truth is known.

A seed classifies a text correctly if a normal variable exceeds a threshold. The variable is the sum of effects of
films, texts, seeds, and pairs of text and seed; the threshold sets the accuracy. So the truth is known, and
experiments that share their texts are correlated as real ones are.

    python -m benchmarks.intervals            # writes reports/intervals.md; minutes
    python -m benchmarks.intervals --quick    # few repeats, writes nothing: does everything run?
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import sqrt
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.progress import track
from scipy.stats import binomtest, norm, t
from statsmodels.stats.multitest import multipletests
from tabulate import tabulate

from textrnn.analysis.significance import Estimate, SeedPrior, contrast, vote

ACCURACY = 0.76
TEXT_SHARE, FILM_SHARE, COMMON = 0.5, 0.05, 0.7
"""Shares of the variance due to texts and to films, and what share of both two experiments have in common."""

REPEATS, QUICK_REPEATS = 2000, 20
FAMILIES, MEMBERS = 500, 10
LEVEL = 0.05


@dataclass(frozen=True)
class Test:
    """A test split: how many texts each film has."""

    name: str
    films: tuple[int, ...]

    @property
    def groups(self) -> np.ndarray:
        """Returns the number of each example's group."""
        return np.repeat(np.arange(len(self.films)), self.films)


FILMS = Test("2,600 of 100 films", (8,) * 40 + (26,) * 30 + (50,) * 30)
SINGLE = Test("1,000, each its own", (1,) * 1000)


def simulate(
    draw: np.random.Generator,
    test: Test,
    seeds: Sequence[int],
    spreads: Sequence[float],
    accuracies: Sequence[float] | None = None,
) -> list[np.ndarray]:
    """Returns for each experiment float [seeds, texts]: above 0 where a seed classifies a text correctly.

    Args:
        seeds: the number of seeds of each experiment; 1 with a spread of 0 is a baseline.
        spreads: the standard deviation of each one's accuracy between seeds.
        accuracies: the true one of each; `ACCURACY` by default.
    """
    groups = test.groups
    texts, films = len(groups), len(test.films)
    common = sqrt(TEXT_SHARE) * draw.normal(size=texts) + sqrt(FILM_SHARE) * draw.normal(size=films)[groups]
    found = []
    for count, spread, accuracy in zip(seeds, spreads, accuracies or [ACCURACY] * len(seeds), strict=True):
        centre = float(norm.ppf(accuracy))
        own = sqrt(TEXT_SHARE) * draw.normal(size=texts) + sqrt(FILM_SHARE) * draw.normal(size=films)[groups]
        by_seed = (spread / float(norm.pdf(centre))) ** 2
        meeting = 1 - TEXT_SHARE - FILM_SHARE
        drawn = sqrt(by_seed) * draw.normal(size=(count, 1)) + sqrt(meeting) * draw.normal(size=(count, texts))
        found.append(centre * sqrt(1 + by_seed) + sqrt(COMMON) * common + sqrt(1 - COMMON) * own + drawn)
    return found


Interval = tuple[float, float]


def satterthwaite(estimate: Estimate) -> Interval:
    """The interval with the usual degrees of freedom of a sum of variances."""
    total = sum(variance for variance, _ in estimate.parts)
    spent = sum(variance**2 / freedom for variance, freedom in estimate.parts)
    if not spent:
        return estimate.value, estimate.value
    spread = t.ppf(1 - LEVEL / 2, total**2 / spent) * sqrt(total)
    return estimate.value - spread, estimate.value + spread


def over_seeds(correct: Sequence[np.ndarray], weights: Sequence[float]) -> Interval:
    """Welch's: of the seeds' accuracies alone."""
    parts = [
        (weight**2 * float(each.mean(axis=1).var(ddof=1)) / len(each), len(each) - 1)
        for weight, each in zip(weights, correct, strict=True)
        if len(each) > 1
    ]
    value = sum(weight * float(each.mean()) for weight, each in zip(weights, correct, strict=True))
    return satterthwaite(Estimate(value, tuple(parts)))


def over_texts(correct: Sequence[np.ndarray], weights: Sequence[float]) -> Interval:
    """Of the texts alone, averaged over seeds as if these were all there are."""
    return contrast([each.mean(axis=0, keepdims=True) for each in correct], weights).interval()


WAYS: dict[str, Callable[[Sequence[np.ndarray], Sequence[float], np.ndarray], Interval]] = {
    "used here": lambda correct, weights, groups: contrast(correct, weights, groups.tolist()).interval(1 - LEVEL),
    "Satterthwaite": lambda correct, weights, groups: satterthwaite(contrast(correct, weights, groups.tolist())),
    "films ignored": lambda correct, weights, groups: contrast(correct, weights).interval(1 - LEVEL),
    "seeds alone": lambda correct, weights, groups: over_seeds(correct, weights),
    "texts alone": lambda correct, weights, groups: over_texts(correct, weights),
}


def mcnemar(first: np.ndarray, second: np.ndarray) -> float:
    """The exact test's p-value of one trained model against another, read as one of the experiments."""
    only = [int((a & ~b).sum()) for a, b in ((first[0], second[0]), (second[0], first[0]))]
    return float(binomtest(only[0], sum(only)).pvalue) if sum(only) else 1.0


def repeated(repeats: int, what: str) -> Iterable[int]:
    """Counts the repeats, and shows progress in a terminal."""
    console = Console(stderr=True)
    return track(range(repeats), what, console=console, transient=True, disable=not console.is_terminal)


def missed(test: Test, seeds: Sequence[int], spreads: Sequence[float], repeats: int, say: str) -> list[float]:
    """Returns for each of `WAYS` (and McNemar's test) how often an interval misses the truth.

    One experiment's accuracy, or the difference of the first half of the experiments and the second,
    which is 0 in truth: there a miss is a false finding.
    """
    draw = np.random.default_rng([len(test.films), *seeds, *(int(1e4 * spread) for spread in spreads)])
    half = len(seeds) // 2
    weights = [-1 / half] * half + [1 / half] * half if half else [1.0]
    truth = 0.0 if half else ACCURACY
    misses = np.zeros(len(WAYS) + 1)
    for _ in repeated(repeats, say):
        correct = [each > 0 for each in simulate(draw, test, seeds, spreads)]
        for place, way in enumerate(WAYS.values()):
            low, high = way(correct, weights, test.groups)
            misses[place] += not low <= truth <= high
        misses[-1] += half == 1 and mcnemar(correct[0], correct[1]) <= LEVEL
    return list(misses / repeats)


def accuracies(repeats: int) -> Iterable[list[str]]:
    """Rows: how often the interval of one experiment's accuracy holds the truth."""
    for test in (FILMS, SINGLE):
        for seeds in (3, 5, 10):
            for spread in (0.0, 0.005, 0.015, 0.03):
                *ways, _ = missed(test, [seeds], [spread], repeats, f"accuracy, {seeds} seeds")
                yield [test.name, str(seeds), f"{100 * spread:g}", *(f"{100 * (1 - miss):.1f}" for miss in ways)]


DIFFERENCES: dict[str, tuple[list[int], list[float]]] = {
    "3 seeds each, spread 0": ([3, 3], [0.0, 0.0]),
    "3 seeds each, spread 0.5": ([3, 3], [0.005, 0.005]),
    "3 seeds each, spread 1.5": ([3, 3], [0.015, 0.015]),
    "3 seeds each, spreads 3 and 0.5": ([3, 3], [0.03, 0.005]),
    "3 seeds each, spreads 7 and 0.2": ([3, 3], [0.07, 0.002]),
    "5 seeds each, spread 1.5": ([5, 5], [0.015, 0.015]),
    "baseline against 3 seeds, spread 0.5": ([1, 3], [0.0, 0.005]),
    "baseline against 3 seeds, spread 1.5": ([1, 3], [0.0, 0.015]),
    "baseline against 3 seeds, spread 3": ([1, 3], [0.0, 0.03]),
    "mean of 2 pairs, spreads 3, 0.5, 0.5, 0.2": ([3, 3, 3, 3], [0.03, 0.005, 0.005, 0.002]),
}


def differences(repeats: int) -> Iterable[list[str]]:
    """Rows: how often equally good experiments are found to differ."""
    for name, (seeds, spreads) in DIFFERENCES.items():
        *ways, single = missed(FILMS, seeds, spreads, repeats, name)
        yield [name, *(f"{100 * miss:.1f}" for miss in ways), f"{100 * single:.1f}" if len(seeds) == 2 else ""]


def votes(repeats: int) -> Iterable[list[str]]:
    """Rows: how often the interval of the seeds' vote holds what the vote of other seeds reaches on other texts."""
    for seeds in (3, 5):
        for spread in (0.0, 0.005, 0.015, 0.03):
            draw = np.random.default_rng([seeds, int(1000 * spread)])
            estimates = []
            for _ in repeated(repeats, f"vote of {seeds} seeds"):
                latent = simulate(draw, FILMS, [seeds], [spread])[0]
                right = norm.cdf(latent)
                probabilities = np.stack([right, 1 - right], axis=-1)
                labels = np.zeros(len(FILMS.groups), dtype=np.int64)
                estimates.append(vote(probabilities, labels, FILMS.groups.tolist()))
            truth = np.mean([estimate.value for estimate in estimates])
            parts = {"both": slice(None), "texts alone": slice(1)}
            cells = []
            for taken in parts.values():
                limits = [Estimate(one.value, one.parts[taken]).interval(1 - LEVEL) for one in estimates]
                cells.append(f"{100 * np.mean([low <= truth <= high for low, high in limits]):.1f}")
            yield [str(seeds), f"{100 * spread:g}", f"{100 * truth:.1f}", *cells]


def families(repeats: int) -> Iterable[list[str]]:
    """Rows: how often at least one of `MEMBERS` equal experiments is found to differ from an eleventh."""
    for spread in (0.0, 0.015):
        draw = np.random.default_rng(int(1000 * spread))
        holm = plain = 0
        for _ in repeated(repeats, "families"):
            bar, *others = (each > 0 for each in simulate(draw, FILMS, [3] * (MEMBERS + 1), [spread] * (MEMBERS + 1)))
            p_values = [contrast([bar, other], [-1, 1], FILMS.groups.tolist()).p_value for other in others]
            plain += min(p_values) <= LEVEL
            holm += bool(multipletests(p_values, LEVEL, method="holm")[0].any())
        yield [f"{100 * spread:g}", f"{100 * holm / repeats:.1f}", f"{100 * plain / repeats:.1f}"]


STUDIES: dict[str, np.ndarray] = {
    "26 experiments, spread 1.3 in all": np.full(26, 0.013),
    "26 experiments, spreads 0.3 to 3": np.geomspace(0.003, 0.03, 26),
    "26 experiments, spreads 0.2 to 2.2, one of 7.7": np.append(np.geomspace(0.002, 0.022, 25), 0.077),
}
"""The last is much like the study `cells`."""

WORSE = 0.05
"""By how much every second experiment of a simulated study is worse than the others and the baseline."""


def studies(repeats: int) -> Iterable[list[str]]:
    """Rows: false findings against a baseline, and what is found of a true difference, with seeds' variances by
    themselves and moderated by those of the whole study."""
    for name, spreads in STUDIES.items():
        draw = np.random.default_rng(len(name))
        worse = np.arange(len(spreads)) % 2 == 1
        truth = [ACCURACY, *np.where(worse, ACCURACY - WORSE, ACCURACY)]
        rejected = np.zeros((2, 2, len(spreads)))  # [variances, level, experiment]
        families = np.zeros(2)
        levels = (LEVEL, LEVEL / len(spreads))
        for _ in repeated(repeats, name):
            seeds = [1] + [3] * len(spreads)
            bar, *others = (each > 0 for each in simulate(draw, FILMS, seeds, [0.0, *spreads], truth))
            for way, prior in enumerate((SeedPrior(), SeedPrior.of_study(others))):
                estimates = [contrast([bar, other], [-1, 1], FILMS.groups.tolist(), prior) for other in others]
                limits = np.array([[one.interval(1 - level) for one in estimates] for level in levels])
                found = (limits[..., 0] > 0) | (limits[..., 1] < 0)
                rejected[way] += found
                families[way] += found[1, ~worse].any()
        shares = 100 * rejected / repeats
        for way, label in enumerate(("by themselves", "moderated (used here)")):
            false = shares[way, 0, ~worse]
            cells = (false.mean(), false.max(), 100 * families[way] / repeats, shares[way, 1, worse].mean())
            yield [name, label, *(f"{cell:.1f}" for cell in cells)]


def table(header: Sequence[str], rows: Iterable[list[str]], words: int) -> str:
    """A Markdown table whose first `words` columns are words."""
    align = ["left"] * words + ["right"] * (len(header) - words)
    return str(tabulate(list(rows), header, tablefmt="pipe", colalign=align, disable_numparse=True))


STUDY_HEADER = (
    "study",
    "variances between seeds",
    "false findings",
    "of the worst experiment",
    "any false finding, corrected",
    "true differences found, corrected",
)


def page(repeats: int, families_repeats: int, studies_repeats: int) -> str:
    """Returns `reports/intervals.md`."""
    return f"""\
# Do the intervals cover, and do the tests keep their level?

Measured by `python -m benchmarks.intervals` on simulated experiments whose true accuracy is {ACCURACY:.0%}:
{repeats:,} repeats a row, so a share near 5 % is known to about ±1 point. Spread is the standard deviation of accuracy
between seeds, in points. The test split has 2,600 texts of 100 films (8 to 50 each), whose texts resemble each other,
or 1,000 texts that have nothing in common.

The ways that are compared:

- **used here**: a part of variance for each experiment's seeds and one for texts, those of a film taken together;
  quantiles of Student's distribution weighted by these parts (Cochran 1964): `significance.contrast`.
- **Satterthwaite**: the same parts with Satterthwaite's degrees of freedom.
- **films ignored**: as used here, but each text for itself.
- **seeds alone**: Student's or Welch's interval of the seeds' accuracies. **Texts alone**: normal theory over texts.
- **McNemar**: the exact test of one trained model of each experiment.

## How often a 95 % interval of one experiment's accuracy holds the truth, in percent

{table(["texts", "seeds", "spread", *WAYS], accuracies(repeats), 1)}

## How often experiments that are equally good seem to differ at level 5 %, in percent

{table(["2,600 texts of 100 films", *WAYS, "McNemar"], differences(repeats), 1)}

## How often a 95 % interval of the seeds' vote holds the truth, in percent

The truth is what the vote of as many other seeds reaches on average on other texts.

{table(["seeds", "spread", "accuracy of the vote", "used here", "texts alone"], votes(repeats // 2), 0)}

## What a study finds against a baseline at level 5 %, in percent

3 seeds each, 2,600 texts of 100 films, {studies_repeats:,} studies a row. Every second experiment is as good as the
baseline, and the others are {100 * WORSE:g} points worse. The variance between an experiment's three seeds is taken by
itself, or together with those of the other experiments (`significance.SeedPrior`). The last two columns are for a level
that is divided by the number of experiments, which is what Holm's correction begins with.

{table(STUDY_HEADER, studies(studies_repeats), 2)}

## How often at least one of {MEMBERS} equal experiments seems to differ from an eleventh, in percent

3 seeds, 2,600 texts of 100 films, {families_repeats:,} families a row.

{table(["spread", "with Holm (used here)", "without"], families(families_repeats), 0)}
"""


def main(quick: Annotated[bool, typer.Option(help="Few repeats; writes nothing.")] = False) -> None:
    """Measure coverage and false findings, and write `reports/intervals.md`."""
    if quick:
        page(QUICK_REPEATS, QUICK_REPEATS, QUICK_REPEATS)
        return
    text = page(REPEATS, FAMILIES, FAMILIES)
    file = Path("reports") / "intervals.md"
    file.write_text(text, encoding="utf-8")
    typer.echo(f"wrote {file}")


if __name__ == "__main__":
    typer.run(main)
