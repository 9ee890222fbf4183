"""How far a new version of a corpus is from an older one, and which of it a study forbids."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np
import polars as pl
from scipy.stats import ks_2samp
from tabulate import tabulate

from textrnn.config.params import DataCheck
from textrnn.corpus.tables import SPLITS, Corpus
from textrnn.markdown import escape

LABELLED = SPLITS[:3]
CHANCE = 1.358
"""Of two samples of one distribution, 95 in 100 differ by less than this times √(1/n + 1/m), in the Kolmogorov-Smirnov
distance (Smirnov 1948, https://doi.org/10.1214/aoms/1177730256)."""


@dataclass(frozen=True)
class Judged:
    """What the older version's champion makes of a version's test texts.

    Attributes:
        probabilities: float32 [texts, classes], of test texts that it was not trained on.
        unknown: share of the running words of all labelled texts that it does not know.
    """

    probabilities: np.ndarray
    unknown: float


@dataclass(frozen=True)
class Change:
    """One thing in which the two versions are compared.

    Attributes:
        what: its name.
        old, new: what each version has, in words.
        measure: what `value` is.
        value: how far they are apart, a share; None where it is unknown.
        limit: the largest value that the study allows, None where it allows any.
        key: of the limit, in `data_check`.
    """

    what: str
    old: str
    new: str
    measure: str
    value: float | None
    limit: float | None = None
    key: str = ""

    @property
    def is_forbidden(self) -> bool:
        return self.value is not None and self.limit is not None and self.value > self.limit


def changes(old: Corpus, new: Corpus, judged: tuple[Judged, Judged], limits: DataCheck) -> list[Change]:
    """Compares the labelled texts of two versions, and what a model trained on the older one makes of each."""
    before, after = _labelled(old), _labelled(new)
    texts = before.select("text").unique(), after.select("text").unique()
    lost = before.join(texts[1], on="text", how="anti").height
    added = after.join(texts[0], on="text", how="anti").height
    both = _one_label(before).join(_one_label(after), on="text")
    relabelled = both.filter(pl.col("label") != pl.col("label_right")).height
    shares = [_class_shares(frame, {*old.classes, *new.classes}) for frame in (before, after)]
    lengths = [frame["text"].str.count_matches(r"\S+").to_numpy() for frame in (before, after)]
    repeated = [1 - texts[side].height / frame.height for side, frame in enumerate((before, after))]
    leaked = [_leaked(corpus) for corpus in (old, new)]
    seen = after.filter(split="test").join(old.frames["train"].select("text").unique(), on="text", how="semi").height
    tests = new.frames["test"].height
    scores = [each.probabilities for each in judged]
    return [
        Change("texts", f"{before.height:,}", f"{after.height:,}", "added", added / after.height),
        Change("texts lost", "", f"{lost:,}", "share of the old", lost / before.height, limits.lost, "lost"),
        Change("texts with another label", "", f"{relabelled:,}", "share of the old", relabelled / before.height),
        Change(
            "classes",
            _percents(shares[0]),
            _percents(shares[1]),
            "total variation distance",
            sum(abs(shares[0][name] - shares[1][name]) for name in shares[0]) / 2,
            limits.label_shift,
            "label_shift",
        ),
        Change(
            "words per text",
            f"median {np.median(lengths[0]):,.0f}",
            f"median {np.median(lengths[1]):,.0f}",
            _distance_name(lengths),
            _distance(lengths),
            limits.length_shift,
            "length_shift",
        ),
        Change(
            "running words the champion does not know",
            f"{judged[0].unknown:.1%}",
            f"{judged[1].unknown:.1%}",
            "rise",
            judged[1].unknown - judged[0].unknown,
            limits.unknown_words,
            "unknown_words",
        ),
        Change(
            "texts that repeat another",
            f"{repeated[0]:.1%}",
            f"{repeated[1]:.1%}",
            "rise",
            repeated[1] - repeated[0],
            limits.duplicates,
            "duplicates",
        ),
        Change(
            "validation and test texts that an earlier split holds",
            f"{leaked[0]:.1%}",
            f"{leaked[1]:.1%}",
            "share of the new",
            leaked[1],
            limits.leakage,
            "leakage",
        ),
        Change("test texts that the champion was trained on", "", f"{seen:,}", "share of the new", seen / tests),
        Change(
            "the champion's probabilities on the other test texts",
            f"{len(scores[0]):,} texts",
            f"{len(scores[1]):,} texts",
            _distance_name(scores),
            max((_distance([side[:, each] for side in scores]) for each in range(scores[0].shape[1])), default=None)
            if all(map(len, scores))
            else None,
            limits.score_shift,
            "score_shift",
        ),
    ]


def table(found: Sequence[Change], style: str) -> str:
    """Returns `found` as a table, in a style that `tabulate` knows: `simple` or `pipe` (Markdown)."""
    headers = ["", "champion's corpus", "this corpus", "compared by", "value", "limit", ""]
    word = escape if style == "pipe" else str
    rows = [
        [
            word(each.what),
            word(each.old),
            word(each.new),
            word(each.measure),
            "unknown" if each.value is None else f"{each.value:.3f}",
            "" if each.limit is None else f"{each.limit:g}",
            "forbidden" if each.is_forbidden else "",
        ]
        for each in found
    ]
    return str(tabulate(rows, headers, tablefmt=style, disable_numparse=True))


def _labelled(corpus: Corpus) -> pl.DataFrame:
    frames = [corpus.frames[split].select("text", "label", split=pl.lit(split)) for split in LABELLED]
    return pl.concat(frames)


def _one_label(frame: pl.DataFrame) -> pl.DataFrame:
    """The texts whose label is not in doubt: wherever they stand, they have the same."""
    return frame.group_by("text").agg(pl.col("label").unique()).filter(pl.col("label").list.len() == 1).explode("label")


def _class_shares(frame: pl.DataFrame, classes: set[str]) -> dict[str, float]:
    return {name: int((frame["label"] == name).sum()) / frame.height for name in sorted(classes)}


def _percents(shares: dict[str, float]) -> str:
    return ", ".join(f"{name} {share:.1%}" for name, share in shares.items())


def _leaked(corpus: Corpus) -> float:
    """Share of the validation and test texts that stand in an earlier split, too."""
    train, valid, test = (corpus.frames[split].select("text") for split in LABELLED)
    leaked = valid.join(train, on="text", how="semi").height
    leaked += test.join(pl.concat([train, valid]), on="text", how="semi").height
    return leaked / (valid.height + test.height)


def _distance(samples: Sequence[np.ndarray]) -> float:
    """The Kolmogorov-Smirnov distance of two samples: the largest difference of their distribution functions."""
    with np.errstate(divide="ignore"):  # in the p value, which nobody reads
        return float(ks_2samp(*samples, method="asymp").statistic)


def _distance_name(samples: Sequence[np.ndarray]) -> str:
    by_chance = CHANCE * sqrt(sum(1 / len(sample) for sample in samples)) if all(map(len, samples)) else 1
    return f"Kolmogorov-Smirnov distance (chance: {min(by_chance, 1):.3f})"
