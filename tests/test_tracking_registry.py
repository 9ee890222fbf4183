"""The gate between challenger and champion: every way in which it can decide, and what it says."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest

from textrnn.config.params import Promotion
from textrnn.errors import TextrnnError
from textrnn.tracking import registry

RULE = Promotion(level=0.05, margin=0.02)


def version(number: int, right: np.ndarray, **changes: Any) -> SimpleNamespace:
    """A registered version which was `right` (bool [examples]) about ids 0, 1, ….

    The real thing needs a server; `tests/test_tracking_story.py` has one.
    """
    tags = {
        "experiment": f"model-{number}",
        "seed": "0",
        "parameters": "1000",
        "prediction_flops": "5e9",
        "corpus.dvc": "aa.dir",
        "test_accuracy": str(right.mean()),
    }
    return SimpleNamespace(name="textrnn-tiny", version=str(number), right=right, tags={**tags, **changes})


def outcome(share: float, examples: int = 1000) -> np.ndarray:
    return np.arange(examples) < share * examples


@pytest.fixture(autouse=True)
def predictions(monkeypatch: pytest.MonkeyPatch) -> None:
    def split(project: Path, challenger: Any) -> pl.DataFrame:
        return pl.DataFrame({"id": [str(row) for row in range(len(challenger.right))]})

    monkeypatch.setattr(registry, "_test_split", split)
    monkeypatch.setattr(registry, "_right", lambda client, each, split, is_its_own=True: (each.right, is_its_own))
    monkeypatch.setattr(registry, "units", lambda corpus, split, ids: ids)


def decide(challenger: Any, champion: Any) -> registry.Decision:
    return registry._decide(Path(), None, challenger, champion, RULE)  # type: ignore[arg-type]


def test_the_first_is_promoted() -> None:
    assert decide(version(1, outcome(0.1)), None).outcome == "promoted"


def test_the_champion_itself_stays_as_it_is() -> None:
    assert decide(version(1, outcome(0.1)), version(1, outcome(0.1))).outcome == "unchanged"


def test_better_beyond_chance_is_promoted_with_its_numbers() -> None:
    decision = decide(version(2, outcome(0.8)), version(1, outcome(0.75)))
    assert decision.outcome == "promoted"
    assert decision.reason.startswith(
        "On 1,000 test examples model-2 (version 2) has 80.0% right and model-1 (version 1) 75.0%, "
        "a difference of +5.00 points (90% interval +3.8"
    )
    assert (
        "model-2 (version 2) alone is right about 50 of them, model-1 (version 1) alone about 0, p = 8.88e-16."
        in decision.reason
    )
    assert decision.reason.endswith("That is better beyond chance at level 0.05.")


def test_better_by_chance_or_worse_is_not() -> None:
    for share in (0.752, 0.75, 0.7):
        decision = decide(version(2, outcome(share)), version(1, outcome(0.75)))
        assert decision.outcome == "kept"
        assert decision.reason.endswith(
            "That is not better beyond chance at level 0.05. model-1 (version 1) stays champion."
        )


def test_a_lead_in_a_few_groups_may_be_chance(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "units", lambda corpus, split, ids: [str(int(row) // 250) for row in ids])
    decision = decide(version(2, outcome(0.8)), version(1, outcome(0.75)))
    assert decision.outcome == "kept"
    assert decision.reason.startswith("On 1,000 test examples of 4 groups model-2 (version 2) has 80.0% right")
    assert "p = 0.5." in decision.reason


def test_no_worse_and_cheaper_is_promoted() -> None:
    decision = decide(version(2, outcome(0.748), parameters="500"), version(1, outcome(0.75)))
    assert decision.outcome == "promoted"
    assert (
        "It is smaller, in parameters (500 instead of 1,000), and not worse by as much as the margin of 2 points."
        in decision.reason
    )
    decision = decide(version(2, outcome(0.748), prediction_flops="1e9", parameters="9"), version(1, outcome(0.75)))
    assert (
        "It is smaller, in parameters (9 instead of 1,000) and faster, in operations per text (1,000,000,000 instead of"
        in decision.reason
    )


def test_cheaper_but_perhaps_too_much_worse_is_not() -> None:
    decision = decide(version(2, outcome(0.735), parameters="500"), version(1, outcome(0.75)))
    assert decision.outcome == "kept"
    assert (
        "it is smaller, in parameters (500 instead of 1,000), but may be worse by 2 points or more" in decision.reason
    )


def test_a_challenger_that_is_not_as_good_as_registered_is_not_compared() -> None:
    changed = version(2, outcome(0.8), test_accuracy="0.802")
    with pytest.raises(TextrnnError, match=r"has 80.0% of data/corpus' test split right, and had 80.2% when"):
        decide(changed, version(1, outcome(0.75)))


def test_a_champion_that_is_not_as_good_as_registered_is_not_compared() -> None:
    changed = version(1, outcome(0.75), test_accuracy="0.8")
    with pytest.raises(
        TextrnnError, match=r"model-1 \(version 1\) has 75.0% of .* and had 80.0% when.* take its alias"
    ):
        decide(version(2, outcome(0.8)), changed)


def test_a_version_registered_by_hand_is_refused() -> None:
    plain = version(1, outcome(0.75))
    del plain.tags["parameters"]
    with pytest.raises(TextrnnError, match="version 1 of textrnn-tiny has no tag parameters: it was not registered"):
        decide(version(2, outcome(0.8)), plain)


def test_a_champion_of_another_corpus_version_is_scored_anew() -> None:
    decision = decide(version(2, outcome(0.8)), version(1, outcome(0.75), **{"corpus.dvc": "bb.dir"}))
    assert decision.outcome == "promoted"
    assert "was trained on another version of the corpus, so it scored the test split of model-2" in decision.reason
    assert "is lost" not in decision.reason


def test_a_version_without_recorded_predictions_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_right", lambda client, each, split, is_its_own=True: (each.right, False))
    decision = decide(version(2, outcome(0.8)), version(1, outcome(0.75)))
    lost = "What model-2 (version 2) and model-1 (version 1) predicted at registration is lost: the present code scored"
    assert lost in decision.reason
