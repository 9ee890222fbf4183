"""What is shown of a single run, by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from fake_runs import make_run, tiny_predictions

from textrnn.report import run_report
from textrnn.text.vocabulary import Vocabulary

TEXTS = pl.DataFrame(
    {"id": [f"valid-{row}" for row in range(4)], "text": ["a", "b", "c", "d"], "tokens": [10, 11, 20, 900]}
)


def test_accuracy_by_length_leaves_no_text_out(tmp_path: Path) -> None:
    run = make_run(tmp_path, "lstm", seeds=[0, 1])  # the last of four is wrong
    table = run_report.accuracy_by_length(run, TEXTS)
    assert table["length"].tolist() == ["1-10", "11-20", "321+"]
    assert table["texts"].tolist() == [1, 2, 1]
    assert table["accuracy"].tolist() == [1, 1, 0]
    assert table["std"].tolist() == [0, 0, 0]


def test_the_most_confident_mistakes_come_first_with_their_text(tmp_path: Path) -> None:
    labels = [0, 1, 0, 1]
    sure = {"valid": ([f"valid-{row}" for row in range(4)], labels, [[0.4, 0.6], [0.9, 0.1], [0.8, 0.2], [0.3, 0.7]])}
    run = make_run(tmp_path, "lstm", seeds=[0, 1], predictions={**tiny_predictions(), **sure})
    table = run_report.mistakes(run, TEXTS)
    assert table.rows() == [
        ("valid-1", "fresh", "rotten", pytest.approx(0.9), 2, "b"),
        ("valid-0", "rotten", "fresh", pytest.approx(0.6), 2, "a"),
    ]


def test_neighbours_show_what_moved() -> None:
    vocabulary = Vocabulary(("<pad>", "<unk>", "good", "fine", "bad"))
    before = np.array([[0, 0], [9, 9], [1, 0], [1, 0.1], [1, 0.2]], np.float32)
    after = before.copy()
    after[4] = [-1, 0]
    table = run_report.neighbours(before, after, vocabulary)
    assert table["word"].to_list()[0] == "bad"
    assert table["moved"].to_list()[1:] == [0, 0]
    assert table["before"].to_list()[0].startswith("fine")
    assert table.filter(word="good")["after"].to_list()[0].startswith("fine, bad")


def test_a_run_is_drawn_with_and_without_epochs(tmp_path: Path) -> None:
    for name, epochs in (("lstm", 2), ("fresh", 0)):
        folder = tmp_path / f"{name}-report"
        folder.mkdir()
        run_report.write(folder, make_run(tmp_path, name, seeds=[0, 1], epochs=epochs), TEXTS)
        pictures = {"accuracy_by_length.svg", "confusion.svg", "reliability.svg", "mistakes.csv"}
        assert {file.name for file in folder.iterdir()} == pictures | ({"learning_curves.svg"} if epochs else set())
