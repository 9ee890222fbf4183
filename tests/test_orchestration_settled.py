"""Whether `textrnn repro` may say again what it said last time."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from textrnn.orchestration import settled

LOCK = """\
schema: '2.0'
stages:
  train@lstm:
    cmd: python stages/train.py
    deps:
    - path: stages/train.py
      md5: a
    params:
      params.yaml:
        seeds: [0]
    outs:
    - path: runs/lstm
      md5: b.dir
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    for name in ("stages/train.py", "runs/lstm/model/0/weights.npz", "runs/lstm/run.json", ".dvc/tmp/x"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text("some", encoding="utf-8")
    for name in ("dvc.yaml", "params.yaml", "mlflow.db", "README.md"):
        Path(name).write_text("some", encoding="utf-8")
    Path("dvc.lock").write_text(LOCK, encoding="utf-8")
    settled.remember(settled.state("80"), "the leaderboard\n")


def test_it_recalls_the_text_as_long_as_nothing_changes():
    Path("README.md").write_text("what no stage reads", encoding="utf-8")
    assert settled.recall("80") == "the leaderboard\n"


@pytest.mark.parametrize(
    "name",
    ["stages/train.py", "params.yaml", "dvc.yaml", "dvc.lock", "mlflow.db", "runs/lstm/model/0/weights.npz"],
)
def test_a_changed_or_missing_file_is_noticed(name):
    aside = Path(name).rename("aside")
    assert settled.recall("80") is None
    shutil.copy(aside, name)  # the same text, as another file
    assert settled.recall("80") is None


@pytest.mark.parametrize("name", ["runs/lstm/new.csv", "runs/lstm/model/0/new.npz"])
def test_a_new_file_is_noticed(name):
    Path(name).touch()
    assert settled.recall("80") is None


def test_another_terminal_is_shown_its_own():
    assert settled.recall("120") is None


def test_a_tracking_server_has_to_be_asked(monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://localhost:5000")
    assert settled.recall("80") is None
    assert settled.state("80") is None


@pytest.mark.parametrize("content", ["", "{}", "[1"])
def test_a_damaged_note_is_none(content):
    settled.NOTE.write_text(content, encoding="utf-8")
    assert settled.recall("80") is None


def test_without_a_lock_there_is_nothing_to_remember():
    Path("dvc.lock").unlink()
    assert settled.state("80") is None


def test_a_moved_project_and_lost_artifacts_are_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """MLflow's database holds locations, which `sync` has to look at."""
    Path("mlartifacts/models/m-1").mkdir(parents=True)
    settled.remember(settled.state("80"), "the leaderboard\n")
    assert settled.recall("80") == "the leaderboard\n"
    Path("mlartifacts/models/m-1").rmdir()
    assert settled.recall("80") is None
    for name in ("mlartifacts/models/m-1/artifacts/artifacts/model/weights.npz", "mlartifacts/r/artifacts/curves.svg"):
        Path(name).parent.mkdir(parents=True)
        Path(name).write_text("some", encoding="utf-8")
        settled.remember(settled.state("80"), "the leaderboard\n")
        assert settled.recall("80") == "the leaderboard\n"
        Path(name).unlink()
        assert settled.recall("80") is None
    settled.remember(settled.state("80"), "the leaderboard\n")
    monkeypatch.chdir(tmp_path.rename(tmp_path.with_name("moved")))
    assert settled.recall("80") is None
