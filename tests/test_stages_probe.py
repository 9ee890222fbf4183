"""The probe stage on a run folder whose networks are linear, so that each number in its table is known."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from tiny_experiments import make_experiment, write_study

from textrnn.modeling import memory
from textrnn.modeling.classifier import build_classifier
from textrnn.modeling.saved_model import save_model
from textrnn.run_folder import Run, digest, write_run
from textrnn.text.encoder import TextEncoder
from textrnn.text.encoding import SCHEMA
from textrnn.text.vocabulary import UNKNOWN, Vocabulary

STAGE = Path(__file__).parents[1] / "stages" / "probe.py"
ENCODER = TextEncoder(Vocabulary(("<pad>", "<unk>", "good", "bad")), ("rotten", "fresh"))
RECURRENT = {2: 0.5, 0: -0.25}
"""By seed: what a step back multiplies the gradient with."""
TEXTS = {"valid-9": [2, 3, 2, 1], "valid-10": [2, 3, 2], "valid-3": [1, 2, 2, 3], "valid-4": [3, 3, 2, 3]}
LABELS = [0, 1, 1, 1]


def write_tokens(folder: Path) -> None:
    folder.mkdir()
    ENCODER.save(folder)
    unknown = [[""] * text.count(UNKNOWN) for text in TEXTS.values()]
    table = {"id": list(TEXTS), "ids": list(TEXTS.values()), "unknown": unknown, "label": LABELS}
    pl.DataFrame(table, schema=SCHEMA).write_parquet(folder / "valid.parquet")


def write_experiment(folder: Path, **changes: Any) -> None:
    """Zero vectors keep the one state at 0, and the probabilities at 3/4 and 1/4, whatever the text is.

    The loss has the gradient -1/2 by the last state with label 0, and 3/2 with label 1; by the last
    vector it is (3, 4) times that, of norm 5/2 and 15/2.
    """
    experiment = make_experiment(cell="simple_rnn", units=1)
    model = build_classifier(experiment, np.zeros((4, 2), np.float32), 2, seed=0)
    for seed, recurrent in RECURRENT.items():
        weights = [np.zeros((4, 2)), [[3], [4]], [[recurrent]], [0], [[1, -1]], [np.log(3), 0]]
        arrays = [np.array(weight, np.float32) for weight in weights]
        save_model(folder / "model" / str(seed), experiment, ENCODER, model, arrays)
    run = {
        "name": "linear",
        "kind": "experiment",
        "params": experiment.model_dump(),
        "seeds": [2, 1, 0],
        "classes": ["rotten", "fresh"],
        "inputs": {"tokens": digest(folder.parent / "tokens")},
        "fingerprint": "f",
        "parameters": {"total": 15, "trainable": 15},
        "flops": {"training": 1.0, "prediction": 1.0},
        "failures": {"1": "the loss is no longer a finite number in epoch 1"},
    }
    write_run(folder, Run(**{**run, **changes}), [], [])


def probe(monkeypatch: pytest.MonkeyPatch, out: str = "probes/linear") -> int:
    """Returns the exit status."""
    monkeypatch.setattr(sys, "argv", [str(STAGE), "plan/probe@linear.json", "run", "tokens", out])
    with pytest.raises(SystemExit) as exit_:
        runpy.run_path(str(STAGE), run_name="__main__")
    return int(exit_.value.code or 0)


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_tokens(tmp_path / "tokens")
    write_study(tmp_path, {"linear": {"cell": "simple_rnn", "units": 1}}, ["linear"])
    return tmp_path


def test_every_finished_seed_is_probed_on_the_same_texts(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(memory, "TEXTS", 2)
    write_experiment(project / "run")
    assert probe(monkeypatch) == 0
    assert capsys.readouterr().out == (
        "linear: 2 validation texts, 4 distances from the end, seeds: 2, 0; left out: 1 shorter, 1 after the first 2\n"
    )
    table = pl.read_parquet(project / "probes" / "linear" / "gradients.parquet")
    assert table.schema == memory.GRADIENT_SCHEMA
    expected = [
        (seed, name, distance, last * abs(RECURRENT[seed]) ** distance)
        for seed in (0, 2)
        for name, last in (("valid-3", 7.5), ("valid-9", 2.5))
        for distance in range(4)
    ]
    assert table.select("seed", "id", "distance").rows() == [row[:3] for row in expected]
    np.testing.assert_allclose(table["norm"].to_numpy(), [row[3] for row in expected], rtol=1e-6)

    assert probe(monkeypatch, "again") == 0
    again = (project / "again" / "gradients.parquet").read_bytes()
    assert again == (project / "probes" / "linear" / "gradients.parquet").read_bytes()


def test_a_run_without_finished_seeds_has_an_empty_table(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_experiment(project / "run", failures=dict.fromkeys("012", "diverged"))
    assert probe(monkeypatch) == 0
    assert "seeds: none;" in capsys.readouterr().out
    table = pl.read_parquet(project / "probes" / "linear" / "gradients.parquet")
    assert (table.schema, table.height) == (memory.GRADIENT_SCHEMA, 0)


def test_a_baseline_is_refused(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_experiment(project / "run", kind="baseline", params={"kind": "nb_svm"}, inputs={"corpus": "c"})
    assert probe(monkeypatch) == 1
    assert capsys.readouterr().err == (
        "error: linear is a baseline, which has no gradient. Name experiments in params.yaml: probes.\n"
    )
    assert not (project / "probes").exists()


def test_tokens_of_another_vocabulary_are_refused(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_experiment(project / "run", inputs={"tokens": "others"})
    assert probe(monkeypatch) == 1
    assert capsys.readouterr().err == (
        "error: run was trained on tokens that differ from those in tokens. Run `dvc repro`.\n"
    )
