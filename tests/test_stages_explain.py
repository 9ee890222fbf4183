"""The stage `explain` on a run folder whose models are linear, so that each number is known."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from fake_runs import make_run
from tiny_experiments import write_study

from textrnn.modeling.linear import LinearModel

STAGE = Path(__file__).parents[1] / "stages" / "explain.py"
TEXTS = {"v-0": "a Good film", "v-1": "bad", "v-2": "", "v-3": "good", "v-4": "bad bad film"}
LABELS = [0, 0, 1, 1, 1]
ODDS = [2.25, -1.25, 0.25, 2.25, -1.25]
"""Of class 1: the weights of `good` and `bad`, and the intercept."""


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    baselines = {"nb-svm": {"kind": "nb_svm", "ngrams": 1, "min_count": 1, "inverse_regularization": 1.0}}
    explanations = {"nb-svm": {"mistakes": 2, "texts": 3}, "lstm": {}}
    write_study(tmp_path, {"lstm": {}}, [], baselines=baselines, explanations=explanations)
    (tmp_path / "corpus").mkdir()
    texts = {"id": [*TEXTS], "text": [*TEXTS.values()]}
    pl.DataFrame(texts).reverse().write_parquet(tmp_path / "corpus" / "valid.parquet")
    positive = 1 / (1 + np.exp(-np.array(ODDS)))
    chances = np.stack([1 - positive, positive], axis=1).tolist()
    predictions = {"valid": ([*TEXTS], LABELS, chances), "test": (["t"], [0], [[0.5, 0.5]])}
    run = make_run(tmp_path / "runs", "nb-svm", kind="baseline", seeds=[5], predictions=predictions)
    model = LinearModel(tuple(run.classes), 1, ["good", "bad"], np.array([[2.0, -1.5]]), np.array([0.25]))
    model.save(run.path / "model" / "5")
    return tmp_path


def explain(monkeypatch: pytest.MonkeyPatch, name: str, out: str) -> int:
    """Returns the exit status."""
    monkeypatch.setattr(sys, "argv", [str(STAGE), f"plan/explain@{name}.json", f"runs/{name}", "corpus", out])
    with pytest.raises(SystemExit) as exit_:
        runpy.run_path(str(STAGE), run_name="__main__")
    return int(exit_.value.code or 0)


def test_mistakes_are_explained_and_words_deleted(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert explain(monkeypatch, "nb-svm", "out/explained") == 0
    assert capsys.readouterr().out == (
        "nb-svm: 2 mistakes of one seed explained; words deleted from 3 validation texts, seeds: 5; attributions miss "
        "the difference of the log-odds by at most 0.00%\n"
    )
    first, second = map(json.loads, (project / "out/explained/mistakes.jsonl").read_text().splitlines())
    # v-0 and v-4 are wrong, and the first is the surer mistake.
    assert (first["id"], second["id"], first["seed"]) == ("v-0", "v-4", 5)
    assert first["class"] == second["label"] != first["label"] == second["class"]
    assert [(word["word"], word["attribution"]) for word in first["words"]] == [
        ("a", 0.0),
        ("Good", 2.0),
        ("film", 0.0),
    ]
    # `bad` counts once, and both that are there have half of it; the text's class is 0, so signs turn.
    assert [word["attribution"] for word in second["words"]] == [0.75, 0.75, 0.0]
    table = pl.read_parquet(project / "out/explained/deletion.parquet")
    # Of the four texts with a word three are spread evenly, in the table's order, which is reversed here.
    assert table["id"].unique(maintain_order=True).to_list() == ["v-4", "v-1", "v-0"]
    whole = table.filter(pl.col("share") == 0)
    np.testing.assert_allclose(whole["important"], 1 / (1 + np.exp([-1.25, -1.25, -2.25])), rtol=1e-6)

    assert explain(monkeypatch, "nb-svm", "out/again") == 0
    for name in ("mistakes.jsonl", "deletion.parquet"):
        assert (project / "out/again" / name).read_bytes() == (project / "out/explained" / name).read_bytes()


def test_a_run_without_finished_seeds_has_empty_files(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make_run(project / "runs", "lstm", failures={"0": "loss became NaN in epoch 1"})
    assert explain(monkeypatch, "lstm", "out/lstm") == 0
    assert "seeds: none" in capsys.readouterr().out
    assert (project / "out/lstm/mistakes.jsonl").read_text() == ""
    assert pl.read_parquet(project / "out/lstm/deletion.parquet").is_empty()


def test_a_corpus_of_another_version_is_refused(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pl.DataFrame({"id": ["w-1"], "text": ["good"]}).write_parquet(project / "corpus" / "valid.parquet")
    assert explain(monkeypatch, "nb-svm", "out/explained") == 1
    assert "lacks 2 of the 2 texts that were predicted" in capsys.readouterr().err
    assert not (project / "out").exists()
