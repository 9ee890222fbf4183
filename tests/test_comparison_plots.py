"""Pictures repeat byte for byte and show every run; what they look like is for eyes to judge."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import pytest
from fake_runs import make_run, tiny_predictions

from textrnn.comparison import leaderboard, plots, tables
from textrnn.run_folder import RunFolder

PICTURES = {"leaderboard.svg", "learning_curves.svg", "confusion.svg", "reliability.svg"}


def _draw(folder: Path, runs: list[RunFolder]) -> dict[str, str]:
    study = tables.build(runs)
    folder.mkdir()
    plots.draw(folder, leaderboard.build(runs, study["scores"]), study)
    return {path.name: path.read_text(encoding="utf-8") for path in folder.iterdir()}


def test_same_bytes_whatever_the_users_settings(tmp_path: Path) -> None:
    runs = [
        make_run(tmp_path / "runs", "lstm", seeds=[0, 1], epochs=2),
        make_run(tmp_path / "runs", "nb-svm", kind="baseline", predictions=tiny_predictions(2)),
    ]

    once = _draw(tmp_path / "once", runs)
    with mpl.rc_context({"font.size": 20, "svg.hashsalt": None, "axes.facecolor": "black"}):
        again = _draw(tmp_path / "again", runs)

    assert set(once) == PICTURES
    assert once == again
    assert not any("dc:date" in svg for svg in once.values())


def test_every_run_and_class_is_written_into_the_pictures(tmp_path: Path) -> None:
    runs = [
        make_run(tmp_path / "runs", "lstm", epochs=2),
        make_run(tmp_path / "runs", "conv1d", params={"cell": "conv1d", "embedding": "glove"}, epochs=1),
        make_run(tmp_path / "runs", "lost", failures={"0": "loss became NaN in epoch 2"}, epochs=1),
        make_run(tmp_path / "runs", "nb-svm", kind="baseline", predictions=tiny_predictions(2)),
    ]

    pictures = _draw(tmp_path / "out", runs)

    # matplotlib notes each text as a comment beside its outlines.
    for name in ("lstm", "conv1d", "nb-svm"):
        for picture in PICTURES - {"learning_curves.svg"}:
            assert f"<!-- {name} -->" in pictures[picture]
    for name in ("lstm", "conv1d", "lost"):
        assert f"<!-- {name} -->" in pictures["learning_curves.svg"]
    assert "<!-- NB-SVM 50.0% -->" in pictures["leaderboard.svg"]
    assert "<!-- rotten -->" in pictures["confusion.svg"]


@pytest.mark.filterwarnings("error")
def test_ten_classes_and_the_longest_name(tmp_path: Path) -> None:
    classes = [f"category-{number}" for number in range(10)]
    labels = [row % 10 for row in range(20)]
    probabilities = [[0.55 if column == label else 0.05 for column in range(10)] for label in labels]
    predictions = {split: ([str(row) for row in range(20)], labels, probabilities) for split in ("valid", "test")}
    run = make_run(tmp_path / "runs", "x" * 64, classes=classes, predictions=predictions)

    assert set(_draw(tmp_path / "out", [run])) == PICTURES


@pytest.mark.filterwarnings("error")
def test_forty_runs(tmp_path: Path) -> None:
    runs = [make_run(tmp_path / "runs", f"run-{number}") for number in range(40)]

    pictures = _draw(tmp_path / "out", runs)

    assert all(f"<!-- run-{number} -->" in pictures["leaderboard.svg"] for number in range(40))


@pytest.mark.filterwarnings("error")
def test_nothing_finished_still_draws(tmp_path: Path) -> None:
    run = make_run(tmp_path / "runs", "lstm", failures={"0": "loss became NaN in epoch 1"})

    assert set(_draw(tmp_path / "out", [run])) == PICTURES
