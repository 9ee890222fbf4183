"""Which versions `promote` compares, refuses or scores again; `test_analysis_gate.py` has the comparison itself."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest

from textrnn.analysis.gate import COSTS, Candidate, Decision
from textrnn.config.sections import Promotion
from textrnn.errors import TextrnnError
from textrnn.tracking import registry
from textrnn.tracking.evidence import GATE

EXAMPLES = 1000


def version(number: int, share: float, **changes: Any) -> SimpleNamespace:
    """A registered version that is correct on this share of the examples.

    The real thing needs a server; `tests/test_tracking_story.py` has one.
    """
    tags = {
        "experiment": f"model-{number}",
        "seed": "0",
        "parameters": "1000",
        "prediction_flops": "5e9",
        "corpus.dvc": "aa.dir",
        "test_accuracy": str(share),
    }
    correct = np.arange(EXAMPLES) < share * EXAMPLES
    known = {
        "correct": correct,
        "tags": {**tags, **changes},
        "description": "About it.\n\n### The gate\n\nNot asked yet.",
    }
    return SimpleNamespace(name="textrnn-tiny", version=str(number), **known)


class Registry:
    """As much of a client as `promote` needs; remembers where the aliases are."""

    def __init__(self, **aliases: Any) -> None:
        self.aliases = aliases
        self.versions = [each for each in aliases.values() if each]

    def get_model_version_by_alias(self, name: str, alias: str) -> Any:
        return self.aliases[alias]

    def set_registered_model_alias(self, name: str, alias: str, number: str) -> None:
        self.aliases[alias] = self._version(number)

    def set_model_version_tag(self, name: str, number: str, key: str, value: str) -> None:
        self._version(number).tags[key] = value

    def update_model_version(self, name: str, number: str, description: str) -> None:
        self._version(number).description = description

    def _version(self, number: str) -> Any:
        return next(each for each in self.versions if each.version == number)


def promote(monkeypatch: pytest.MonkeyPatch, client: Registry, is_recorded: bool = True, **options: Any) -> Decision:
    def candidate(_: Any, each: Any, split: pl.DataFrame, is_its_own: bool) -> tuple[Candidate, bool]:
        costs = {name: float(each.tags[name]) for name in COSTS}
        return Candidate(registry.label(each), each.correct, costs), is_recorded and is_its_own

    ids = [str(row) for row in range(EXAMPLES)]
    monkeypatch.setattr(registry, "open_store", lambda *_: SimpleNamespace(client=client))
    monkeypatch.setattr(registry, "_test_split", lambda *_: pl.DataFrame({"id": ids}))
    monkeypatch.setattr(registry, "_candidate", candidate)
    monkeypatch.setattr(registry, "groups", lambda corpus, split, ids: ids)
    params: Any = SimpleNamespace(study="tiny", corpus="tiny", promotion=Promotion(level=0.05, margin=0.02))
    return registry.promote(Path(), params, **options)


def test_the_first_is_promoted(monkeypatch: pytest.MonkeyPatch) -> None:
    client = Registry(challenger=version(1, 0.1), champion=None)
    decision = promote(monkeypatch, client)
    assert (decision.outcome, client.aliases["champion"].version) == ("promoted", "1")
    assert client.aliases["champion"].tags["promotion"] == decision.reason


def test_the_champion_itself_is_unchanged(monkeypatch: pytest.MonkeyPatch) -> None:
    same = version(1, 0.1)
    assert promote(monkeypatch, Registry(challenger=same, champion=same)).outcome == "unchanged"


@pytest.mark.parametrize(
    ("share", "dry_run", "outcome", "champion"),
    [(0.8, False, "promoted", "2"), (0.8, True, "promoted", "1"), (0.75, False, "kept", "1")],
)
def test_the_alias_moves_when_the_gate_says_so(
    monkeypatch: pytest.MonkeyPatch, share: float, dry_run: bool, outcome: str, champion: str
) -> None:
    client = Registry(challenger=version(2, share), champion=version(1, 0.75))
    decision = promote(monkeypatch, client, dry_run=dry_run)
    assert (decision.outcome, client.aliases["champion"].version) == (outcome, champion)
    assert f"model-2 (version 2) reaches {share:.1%} accuracy and model-1 (version 1) 75.0%" in decision.reason
    about = client.aliases["challenger"].description
    assert about.startswith(f"About it.\n\n{GATE}\n\n")
    assert (decision.reason in about and "level 0.05 and with a margin of 2 points" in about) == (not dry_run)
    assert ("Not asked yet." in about) == dry_run
    is_replaced = client.versions[1].description.endswith("**Replaced by version 2.**")
    assert is_replaced == (outcome == "promoted" and not dry_run)


def test_a_challenger_that_is_not_as_good_as_registered_is_not_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    client = Registry(challenger=version(2, 0.8, test_accuracy="0.802"), champion=version(1, 0.75))
    with pytest.raises(TextrnnError, match=r"reaches 80.0% test accuracy on data/corpus, and reached 80.2% when"):
        promote(monkeypatch, client)


def test_a_champion_that_is_not_as_good_as_registered_is_not_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    client = Registry(challenger=version(2, 0.8), champion=version(1, 0.75, test_accuracy="0.8"))
    with pytest.raises(
        TextrnnError, match=r"model-1 \(version 1\) reaches 75.0% .* and reached 80.0% when.* take its alias"
    ):
        promote(monkeypatch, client)


def test_a_version_registered_by_hand_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = version(1, 0.75)
    del plain.tags["parameters"]
    with pytest.raises(TextrnnError, match="version 1 of textrnn-tiny has no tag parameters: it was not registered"):
        promote(monkeypatch, Registry(challenger=version(2, 0.8), champion=plain))


def test_a_champion_of_another_corpus_version_scores_again(monkeypatch: pytest.MonkeyPatch) -> None:
    other = version(1, 0.75, **{"corpus.dvc": "bb.dir"})
    decision = promote(monkeypatch, Registry(challenger=version(2, 0.8), champion=other))
    assert decision.outcome == "promoted"
    assert "was trained on another version of the corpus, so it scored the test split of model-2" in decision.reason
    assert "are lost" not in decision.reason


def test_a_version_without_recorded_predictions_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    client = Registry(challenger=version(2, 0.8), champion=version(1, 0.75))
    reason = promote(monkeypatch, client, is_recorded=False).reason
    lost = "The predictions of model-2 (version 2) and model-1 (version 1) at registration are lost: the present code"
    assert lost in reason
