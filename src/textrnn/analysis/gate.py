"""The gate: whether a challenger replaces the champion, from what both predicted for the same test examples."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from textrnn.analysis.significance import PairedTest
from textrnn.config.sections import Promotion

COSTS = {"parameters": "smaller, in parameters", "prediction_flops": "faster, in operations per text"}
"""Tie-breakers; lower is better. What a lower one is called."""


@dataclass(frozen=True)
class Candidate:
    """One of the two models."""

    label: str  # its name in messages
    correct: np.ndarray  # bool [examples], whether its prediction is correct
    costs: Mapping[str, float]  # a number for each of `COSTS`


@dataclass(frozen=True)
class Decision:
    """What the gate decided, and why, in words and numbers.

    `outcome` is `promoted`, `kept` (the champion stays) or `unchanged` (the challenger is the champion already).
    """

    outcome: Literal["promoted", "kept", "unchanged"]
    reason: str


def decide(challenger: Candidate, champion: Candidate, groups: Sequence[str], rule: Promotion) -> Decision:
    """Promotes the challenger if it is better beyond chance, or not worse by `rule.margin` and cheaper.

    `groups` are those of the examples; examples of one group were drawn together.
    """
    new, old = challenger.correct, champion.correct
    test, confidence = PairedTest(new, old, groups), 1 - 2 * rule.level
    low, high = test.interval(confidence)
    drawn = f" of {len(set(groups)):,} groups" if len(set(groups)) < len(new) else ""
    numbers = (
        f"On {len(new):,} test examples{drawn} {challenger.label} reaches {new.mean():.1%} accuracy and "
        f"{champion.label} {old.mean():.1%}, a difference of {100 * (new.mean() - old.mean()):+.2f} points "
        f"({confidence:.0%} interval {100 * low:+.2f} to {100 * high:+.2f}); only {challenger.label} is correct on "
        f"{(new & ~old).sum():,} of them, only {champion.label} on {(old & ~new).sum():,}; "
        f"one-sided p = {test.p_value:.3g}."
    )
    if test.p_value <= rule.level:
        return Decision("promoted", f"{numbers} That is better beyond chance at level {rule.level:g}.")
    pairs = {name: (challenger.costs[name], champion.costs[name]) for name in COSTS}
    lower = [
        f"{COSTS[name]} ({ours:,.0f} instead of {theirs:,.0f})"
        for name, (ours, theirs) in pairs.items()
        if ours < theirs
    ]
    cheaper, margin = " and ".join(lower), f"{100 * rule.margin:g} points"
    if cheaper and low > -rule.margin:
        return Decision("promoted", f"{numbers} It is {cheaper}, and not worse by as much as the margin of {margin}.")
    but = f"; it is {cheaper}, but may be worse by {margin} or more" if cheaper else ""
    return Decision(
        "kept",
        f"{numbers} That is not better beyond chance at level {rule.level:g}{but}. {champion.label} stays champion.",
    )
