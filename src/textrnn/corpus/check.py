"""How far a new version of a corpus is from an older one, and which changes a study forbids."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np
import polars as pl
from scipy.stats import ks_2samp
from tabulate import tabulate

from textrnn.config.sections import DataCheck
from textrnn.corpus.tables import SPLITS, Corpus
from textrnn.wording import escape

LABELLED = SPLITS[:3]
CHANCE = 1.358
"""Of two samples of one distribution, 95 in 100 differ by less than this times √(1/n + 1/m), in the Kolmogorov-Smirnov
distance (Smirnov 1948, https://doi.org/10.1214/aoms/1177730256)."""


@dataclass(frozen=True)
class Judged:
    """What the older version's champion predicts for a version."""

    probabilities: np.ndarray  # float32 [texts, classes], of test texts that it was not trained on
    unknown: float  # share of the running words of all labelled texts that it does not know


@dataclass(frozen=True)
class Change:
    """One property of the two versions (`old` and `new`, in words), and their distance `value` by some `measure`."""

    what: str
    old: str
    new: str
    measure: str
    value: float | None  # a share; None where it is unknown
    limit: float | None = None
    """The largest value that the study allows, by `key` of `data_check`; None where it allows any."""
    key: str = ""

    @property
    def is_forbidden(self) -> bool:
        """Whether the value is above the limit."""
        return self.value is not None and self.limit is not None and self.value > self.limit


def changes(old: Corpus, new: Corpus, judged: tuple[Judged, Judged], limits: DataCheck) -> list[Change]:
    """Compares the labelled texts of two versions, and the predictions of a model trained on the older one."""
    found: list[Change] = []

    def add(what: str, sides: Sequence[str], measure: str, value: float | None, key: str = "") -> None:
        found.append(Change(what, sides[0], sides[1], measure, value, getattr(limits, key) if key else None, key))

    before, after = sides = [_labelled(corpus) for corpus in (old, new)]
    texts = [side.select("text").unique() for side in sides]
    lost = before.join(texts[1], on="text", how="anti").height
    added = after.join(texts[0], on="text", how="anti").height
    add("texts", [f"{side.height:,}" for side in sides], "added", added / after.height)
    add("texts lost", ["", f"{lost:,}"], "share of the old", lost / before.height, "lost")
    both = _one_label(before).join(_one_label(after), on="text")
    relabelled = both.filter(pl.col("label") != pl.col("label_right")).height
    add("texts with another label", ["", f"{relabelled:,}"], "share of the old", relabelled / before.height)

    classes = sorted({*old.classes, *new.classes})
    shares = [{name: int((side["label"] == name).sum()) / side.height for name in classes} for side in sides]
    named = [", ".join(f"{name} {share:.1%}" for name, share in each.items()) for each in shares]
    variation = sum(abs(shares[0][name] - shares[1][name]) for name in classes) / 2
    add("classes", named, "total variation distance", variation, "label_shift")
    lengths = [side["text"].str.count_matches(r"\S+").to_numpy() for side in sides]
    medians = [f"median {np.median(each):,.0f}" for each in lengths]
    add("words per text", medians, _distance_name(lengths), _distance(lengths), "length_shift")

    unknown = [each.unknown for each in judged]
    repeated = [1 - unique.height / side.height for unique, side in zip(texts, sides, strict=True)]
    leaked = [_leaked(corpus) for corpus in (old, new)]
    for what, values, measure, value, key in (
        ("running words the champion does not know", unknown, "rise", unknown[1] - unknown[0], "unknown_words"),
        ("texts that repeat another", repeated, "rise", repeated[1] - repeated[0], "duplicates"),
        ("validation and test texts that an earlier split holds", leaked, "share of the new", leaked[1], "leakage"),
    ):
        add(what, [f"{each:.1%}" for each in values], measure, value, key)

    seen = after.filter(split="test").join(old.frames["train"].select("text").unique(), on="text", how="semi").height
    share = seen / new.frames["test"].height
    add("test texts that the champion was trained on", ["", f"{seen:,}"], "share of the new", share)
    scores = [each.probabilities for each in judged]
    per_class = zip(*(side.T for side in scores), strict=True) if all(map(len, scores)) else ()
    add(
        "the champion's probabilities on the other test texts",
        [f"{len(side):,} texts" for side in scores],
        _distance_name(scores),
        max(map(_distance, per_class), default=None),
        "score_shift",
    )
    return found


def table(found: Sequence[Change], style: str) -> str:
    """Returns `found` as a table, in a style that `tabulate` knows: `simple` or `pipe` (Markdown)."""
    word = escape if style == "pipe" else str
    rows = [
        [
            *map(word, (each.what, each.old, each.new, each.measure)),
            "unknown" if each.value is None else f"{each.value:.3f}",
            "" if each.limit is None else f"{each.limit:g}",
            "forbidden" if each.is_forbidden else "",
        ]
        for each in found
    ]
    headers = ["", "champion's corpus", "this corpus", "compared by", "value", "limit", ""]
    return str(tabulate(rows, headers, tablefmt=style, disable_numparse=True))


def _labelled(corpus: Corpus) -> pl.DataFrame:
    return pl.concat([corpus.frames[split].select("text", "label", split=pl.lit(split)) for split in LABELLED])


def _one_label(frame: pl.DataFrame) -> pl.DataFrame:
    """The texts that have the same label wherever they occur."""
    return frame.group_by("text").agg(pl.col("label").unique()).filter(pl.col("label").list.len() == 1).explode("label")


def _leaked(corpus: Corpus) -> float:
    """Share of the validation and test texts that also occur in an earlier split."""
    train, valid, test = (corpus.frames[split].select("text") for split in LABELLED)
    leaked = valid.join(train, on="text", how="semi").height
    leaked += test.join(pl.concat([train, valid]), on="text", how="semi").height
    return leaked / (valid.height + test.height)


def _distance(samples: Sequence[np.ndarray]) -> float:
    """The Kolmogorov-Smirnov distance of two samples: the largest difference of their distribution functions."""
    with np.errstate(divide="ignore"):  # in the p value, which is not used
        return float(ks_2samp(*samples, method="asymp").statistic)


def _distance_name(samples: Sequence[np.ndarray]) -> str:
    by_chance = CHANCE * sqrt(sum(1 / len(sample) for sample in samples)) if all(map(len, samples)) else 1
    return f"Kolmogorov-Smirnov distance (chance: {min(by_chance, 1):.3f})"
