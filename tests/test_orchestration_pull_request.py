"""The report on a retraining, of given results. tests/test_retraining_story.py has real ones."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from textrnn.errors import TextrnnError
from textrnn.orchestration import pull_request
from textrnn.orchestration.pull_request import Effort, report
from textrnn.orchestration.repro import Work
from textrnn.project.revision import Revision

METRICS = {"lstm": {"valid_accuracy": 0.5, "test_accuracy": 0.4}}


def revision(label: str, runs: dict[str, str], **params: Any) -> Revision:
    stages = {f"train@{name}": {"outs": [{"path": f"runs/{name}", "md5": md5}]} for name, md5 in runs.items()}
    return Revision(label, "abc", {"study": "x", "experiments": {"lstm": {}}, **params}, stages, METRICS)


def write(monkeypatch: pytest.MonkeyPatch, here: Revision, base: Revision, address: str | None = None) -> str:
    def compare(*_: object) -> None:
        raise TextrnnError("lstm is not at abc.")

    monkeypatch.setattr(Revision, "read", lambda project: here)
    monkeypatch.setattr(pull_request, "compare", compare)
    work = Work(True, {"compare": 3.0, "train@lstm": 130.0}, ["probe@lstm"])
    params = SimpleNamespace(study="x", experiments={})
    return report(Path("nowhere"), params, base, Effort(work, 140, 2), None, address)


def test_what_differs_is_in_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    """A default that is written down does not differ."""
    written = {"prepare": {"valid": 0.2}, "encode": {"min_count": 1}}
    base = revision("origin/main", {"lstm": "1", "old": "2"}, seeds=[1])
    here = revision("this branch", {"lstm": "9", "gru": "3"}, seeds=[1, 2], new=None, **written)
    text = write(monkeypatch, here, base, "https://git.example.org/us/raw/abc")
    assert text.startswith(
        "# Retraining: cannot be compared\n\nBest on validation: `lstm` here, `lstm` at origin/main. "
    )
    for line in (
        "| `lstm` | 50.0 → 50.0 | 40.0 → 40.0 |  |  | cannot be compared |",
        "| `gru` | failed | failed |  |  | new |",
        "No run has the same bytes as before.",
        "Cannot be compared: `lstm`. … is not at origin/main.",
        "No longer in the study `x`: `old`.",
        "|  | origin/main | this branch |",
        "| `seeds` | `[1]` | `[1, 2]` |",
        "| `new` |  | `null` |",
        "| `prepare.valid` | `0.15` | `0.2` |",
        "2 min; at most 2 stages at a time.",
        "- 2 of 2 stages ran: `train@lstm` 2 min, `compare` 3 s",
        "- 1 of 2 stages came from DVC's cache: `probe@lstm`",
        "![leaderboard](https://git.example.org/us/raw/abc/reports/x/leaderboard.svg)",
    ):
        assert line in text.splitlines()
    assert "min_count" not in text
    assert "\n\n\n" not in text


def test_nothing_differs(monkeypatch: pytest.MonkeyPatch) -> None:
    same = revision("main", {"lstm": "1"})
    text = write(monkeypatch, same, same)
    assert text.startswith(
        "# Retraining: nothing differs from main\n\nEvery run has the same bytes.\n\n## What it took\n"
    )
    assert "Pictures" not in text


def test_without_an_address_pictures_are_in_the_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    text = write(monkeypatch, revision("this branch", {"lstm": "2"}), revision("main", {"lstm": "1"}))
    assert text.endswith("## Pictures\n\nPictures, and everything else: `reports/x/index.html`.\n")
