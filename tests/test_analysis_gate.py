"""The gate between challenger and champion: every way in which it can decide, and its explanation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from textrnn.analysis.gate import Candidate, Decision, decide
from textrnn.config.sections import Promotion

EXAMPLES = 1000
RULE = Promotion(level=0.05, margin=0.02)
BEYOND, NOT_BEYOND = (f"That is {word}better beyond chance at level 0.05" for word in ("", "not "))


def model(label: str, share: float, parameters: float = 1000, prediction_flops: float = 5e9) -> Candidate:
    """A model that is correct on the first `share` of the examples."""
    correct = np.arange(EXAMPLES) < share * EXAMPLES
    return Candidate(label, correct, {"parameters": parameters, "prediction_flops": prediction_flops})


def judge(challenger: Candidate, champion: float = 0.75, groups: Sequence[str] | None = None) -> Decision:
    return decide(challenger, model("old", champion), groups or list(map(str, range(EXAMPLES))), RULE)


def test_better_beyond_chance_is_promoted_with_its_numbers() -> None:
    decision = judge(model("new", 0.8))
    assert decision.outcome == "promoted"
    assert decision.reason.startswith(
        "On 1,000 test examples new reaches 80.0% accuracy and old 75.0%, a difference of +5.00 points "
        "(90% interval +3.8"
    )
    assert "; only new is correct on 50 of them, only old on 0; one-sided p = 8.88e-16." in decision.reason
    assert decision.reason.endswith(f"{BEYOND}.")


@pytest.mark.parametrize("share", [0.752, 0.75, 0.7])
def test_better_by_chance_or_worse_is_not(share: float) -> None:
    decision = judge(model("new", share))
    assert decision.outcome == "kept"
    assert decision.reason.endswith(f"{NOT_BEYOND}. old stays champion.")


def test_a_lead_in_a_few_groups_may_be_chance() -> None:
    decision = judge(model("new", 0.8), groups=[str(row // 250) for row in range(EXAMPLES)])
    assert decision.outcome == "kept"
    assert decision.reason.startswith("On 1,000 test examples of 4 groups new reaches 80.0% accuracy")
    assert "p = 0.5." in decision.reason


def test_no_worse_and_cheaper_is_promoted() -> None:
    decision = judge(model("new", 0.748, parameters=500))
    assert decision.outcome == "promoted"
    smaller = "It is smaller, in parameters (500 instead of 1,000), and not worse by as much as the margin of 2 points."
    assert smaller in decision.reason
    both = (
        "It is smaller, in parameters (9 instead of 1,000) and faster, in operations per text (1,000,000,000 instead of"
    )
    assert both in judge(model("new", 0.748, parameters=9, prediction_flops=1e9)).reason


def test_cheaper_but_perhaps_too_much_worse_is_not() -> None:
    decision = judge(model("new", 0.735, parameters=500))
    assert decision.outcome == "kept"
    worse = "; it is smaller, in parameters (500 instead of 1,000), but may be worse by 2 points or more. old stays"
    assert worse in decision.reason
