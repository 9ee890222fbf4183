"""Tidy tables over run folders, and the refusal to compare what cannot be compared."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_runs import make_run, tiny_predictions

from textrnn.analysis import run_tables
from textrnn.errors import TextrnnError


def test_build_makes_every_table(tmp_path: Path) -> None:
    runs = [
        make_run(tmp_path, "lstm", seeds=[3, 5], epochs=2),
        make_run(tmp_path, "nb-svm", kind="baseline", predictions=tiny_predictions(right=2)),
    ]

    study = run_tables.build(runs)

    assert study["scores"][["experiment", "seed", "split", "accuracy"]].to_numpy().tolist() == [
        ["lstm", 3, "valid", 0.75],
        ["lstm", 3, "test", 0.6],
        ["lstm", 5, "valid", 0.75],
        ["lstm", 5, "test", 0.6],
        ["nb-svm", 0, "valid", 0.5],
        ["nb-svm", 0, "test", 0.4],
    ]
    curves = study["learning_curves"]
    assert curves[["experiment", "seed", "epoch"]].to_numpy().tolist() == [
        ["lstm", 3, 1],
        ["lstm", 3, 2],
        ["lstm", 5, 1],
        ["lstm", 5, 2],
    ]
    # Test labels 0 1 0 1 1, the first three right; two seeds count twice.
    assert study["confusion"].to_numpy().tolist()[:4] == [
        ["lstm", "rotten", "rotten", 4],
        ["lstm", "rotten", "fresh", 0],
        ["lstm", "fresh", "rotten", 4],
        ["lstm", "fresh", "fresh", 2],
    ]
    assert study["reliability"]["count"].tolist() == [2, 3, 2, 3, 3, 2]


def test_a_failed_seed_leaves_only_its_curve(tmp_path: Path) -> None:
    run = make_run(tmp_path, "lstm", failures={"0": "loss became NaN in epoch 2"}, epochs=1)

    study = run_tables.build([run])

    assert {name: len(table) for name, table in study.items()} == {
        "scores": 0,
        "learning_curves": 1,
        "confusion": 0,
        "reliability": 0,
    }


def _other_order() -> dict[str, tuple[list[str], list[int], list[list[float]]]]:
    predictions = tiny_predictions()
    ids, labels, probabilities = predictions["test"]
    return {**predictions, "test": (ids[::-1], labels, probabilities)}


def _other_label() -> dict[str, tuple[list[str], list[int], list[list[float]]]]:
    predictions = tiny_predictions()
    ids, labels, probabilities = predictions["test"]
    return {**predictions, "test": (ids, [1 - labels[0], *labels[1:]], probabilities)}


@pytest.mark.parametrize(
    ("predictions", "what"),
    [(_other_order(), "one predicted 5 texts, .* in another order"), (_other_label(), ".* different labels")],
    ids=["order", "label"],
)
def test_runs_on_different_examples_are_refused(
    tmp_path: Path, predictions: dict[str, tuple[list[str], list[int], list[list[float]]]], what: str
) -> None:
    runs = [make_run(tmp_path, "lstm"), make_run(tmp_path, "gru", seeds=[7], predictions=predictions)]

    with pytest.raises(TextrnnError, match=rf"runs/lstm and runs/gru \(seed 7\) cannot .* 'test': {what}.*dvc repro"):
        run_tables.build(runs)


def test_runs_with_another_class_order_are_refused(tmp_path: Path) -> None:
    runs = [make_run(tmp_path, "lstm"), make_run(tmp_path, "gru", classes=["fresh", "rotten"])]

    with pytest.raises(
        TextrnnError,
        match=r"runs/lstm and runs/gru .*: the classes of one are rotten, fresh, of the other f",
    ):
        run_tables.build(runs)


def test_probabilities_that_are_not_numbers_are_refused(tmp_path: Path) -> None:
    predictions = tiny_predictions()
    predictions["test"][2][4] = [float("nan")] * 2

    with pytest.raises(TextrnnError, match=r"runs/lstm has .*not finite.*seed 0 on 'test'.*dvc repro"):
        run_tables.build([make_run(tmp_path, "lstm", predictions=predictions)])


def test_missing_predictions_are_refused(tmp_path: Path) -> None:
    predictions = tiny_predictions()
    del predictions["test"]

    with pytest.raises(TextrnnError, match=r"runs/lstm has no predictions for seed 0 on 'test'"):
        run_tables.build([make_run(tmp_path, "lstm", predictions=predictions)])
