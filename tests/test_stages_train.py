"""The train stage on five texts: trainings that diverge, are interrupted or killed; names that lead nowhere."""

from __future__ import annotations

import json
import os
import runpy
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from mlflow import MlflowClient
from tiny_experiments import PLAIN, STUDY, write_study
from tiny_models import LABELS, TEXTS

from textrnn.embeddings.matrix import Embedding
from textrnn.modeling.checkpoint import Checkpoints
from textrnn.modeling.predictor import Predictor
from textrnn.modeling.saved_model import TextEncoder, load_model
from textrnn.modeling.soft_targets import write_soft_targets
from textrnn.modeling.training import Trainer
from textrnn.run_folder import RunFolder, digest
from textrnn.text.encoding import SCHEMA
from textrnn.text.vocabulary import UNKNOWN, Vocabulary

STAGE = Path(__file__).parents[1] / "stages" / "train.py"
VOCABULARY = Vocabulary(("<pad>", "<unk>", "good", "bad", "film", "a", "plot"))
FEEDFORWARD = {**PLAIN, "cell": "feedforward", "readout": "mean"}
FAILURE = "the loss is no longer a finite number in epoch 1"

SAVE_AND_DIE = """
import os, runpy, signal, sys
from textrnn.modeling.checkpoint import Checkpoints

death, calls = int(sys.argv[1]), 0

def due(self, within_epoch=False):
    global calls
    calls += 1
    if calls == death:
        os.kill(os.getpid(), signal.SIGKILL)
    return calls % 2 == 0

Checkpoints.due = due
sys.argv = sys.argv[2:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
"""Runs a stage that saves at every second opportunity, and at one of them is killed."""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tokens, an embedding and a study of three experiments."""
    folder = tmp_path_factory.mktemp("project")
    for name in ("tokens", "embedding"):
        (folder / name).mkdir()
    TextEncoder(VOCABULARY, ("rotten", "fresh")).save(folder / "tokens")
    for split in ("train", "valid", "test"):
        unknown = [["noir" if word == UNKNOWN else "" for word in text if word == UNKNOWN] for text in TEXTS]
        table = {"id": [f"{split}-{row}" for row in range(5)], "ids": TEXTS, "unknown": unknown, "label": LABELS}
        pl.DataFrame(table, schema=SCHEMA).write_parquet(folder / "tokens" / f"{split}.parquet")
    table = {"id": ["u", "v"], "ids": [[2, 1], [6]], "unknown": [["noir"], []], "label": [None, None]}
    pl.DataFrame(table, schema=SCHEMA).write_parquet(folder / "tokens" / "unlabelled.parquet")
    rows = np.random.default_rng(0).normal(0, 1, (3, 3)).astype(np.float32)
    embedding = Embedding.build(VOCABULARY, rows, np.array([2, 3, 7]), ["noir"])
    embedding.save(folder / "embedding", embedding.coverage(VOCABULARY, np.ones(7, np.int64)))
    experiments: dict[str, dict[str, Any]] = {
        "fine": {},
        "wild": {"l2": 1e38},
        "stopped": {},
        "beside": {"entropy_minimization": 0.5, "unlabelled_batch": 2, "batch_size": 3},
        "killed": {
            "cell": "lstm",
            "readout": "last",
            "dropout": 0.3,
            "ema": 0.5,
            "early_stopping": 2,
            "learning_rate": 0.3,
            "batch_size": 2,
            "epochs": 4,
        },
    }
    prepare = {**STUDY["prepare"], "unlabelled": True}
    write_study(folder, experiments, ["fine"], train=FEEDFORWARD, prepare=prepare)
    return folder


@pytest.fixture(autouse=True)
def inside(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project)
    for name in ("MLFLOW_TRACKING_URI", "DVC_ROOT", "DVC_EXP_NAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TEXTRNN_LIVE_AFTER", "0")


def command(name: str, embedding: str = "embedding") -> list[str]:
    folders = ["tokens", embedding, f"runs/{name}", f"timings/{name}.json", f"checkpoints/{name}"]
    return [str(STAGE), f"plan/train@{name}.json", *folders]


def train(name: str, monkeypatch: pytest.MonkeyPatch) -> int:
    """Returns the exit status."""
    monkeypatch.setattr(sys, "argv", command(name))
    with pytest.raises(SystemExit) as exit_:
        runpy.run_path(str(STAGE), run_name="__main__")
    return int(exit_.value.code or 0)


def statuses(name: str) -> dict[str, str]:
    client = MlflowClient(tracking_uri=f"sqlite:///{Path.cwd()}/mlflow.db")
    experiment = client.get_experiment_by_name("tiny/reviews")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id], f"tags.experiment = '{name}'")
    return {str(run.info.run_name): run.info.status for run in runs}


def test_a_seed_that_diverges_is_reported_and_the_others_still_run(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    draw = Embedding.draw

    def draw_with_a_hole(self: Embedding, seed: int) -> np.ndarray:
        matrix = draw(self, seed)
        return np.where(matrix != 0, np.inf, 0).astype(np.float32) if seed == 1 else matrix

    monkeypatch.setattr(Embedding, "draw", draw_with_a_hole)
    monkeypatch.setattr(Checkpoints, "delete", lambda self: None)
    assert train("fine", monkeypatch) == 0
    printed = capsys.readouterr()
    assert printed.err == f"warning: fine failed, seed 1: {FAILURE}. The leaderboard reports it.\n"
    epochs = [line.split()[:4] for line in printed.out.splitlines() if "epoch" in line]
    assert epochs == [["seed", str(seed), "epoch", f"{epoch}/2"] for seed in (0, 2) for epoch in (1, 2)]
    times = [line for line in printed.out.splitlines() if line.endswith("tokens/s")]
    assert [line.split()[1] for line in times] == ["0", "1", "2"]

    run = RunFolder.load(project / "runs" / "fine")
    assert (run.kind, run.status, run.failures) == ("experiment", "failed", {"1": FAILURE})
    assert run.finished_seeds == [0, 2]
    assert run.history["seed"].tolist() == [0, 0, 2, 2]
    assert run.predictions["seed"].unique().to_list() == [0, 2]
    assert run.parameters == {"total": 38, "trainable": 35}
    # Mean epochs 4/3, 5 texts, 3 times: 2 * 3 * 2 of the dense layer, 2 * 2 * 2 of the head.
    assert run.flops["training"] == pytest.approx(4 / 3 * 5 * 3 * (12 + 8))
    assert run.flops["prediction"] == 12 + 8
    # The text `5 1 2`: in training its unknown word stays unknown, elsewhere it is a word of the vectors' file.
    known = {"tokens": 15, "unknown": 0, "texts": 0}
    assert run.unknown == {"train": {**known, "unknown": 1}, "valid": known, "test": known}
    ids, labels, probabilities = run.probabilities(2, "test")
    assert ids == [f"test-{row}" for row in range(5)]
    assert labels.tolist() == LABELS
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-6)
    assert sorted(path.name for path in (project / "runs" / "fine" / "model").iterdir()) == ["0", "2"]
    assert load_model(project / "runs" / "fine" / "model" / "2")[1].classes == ("rotten", "fresh")

    predicted = Predictor(project / "runs" / "fine" / "model" / "2").table(pl.Series(["noir", "no words of ours"]))
    assert predicted["known_words"].to_list() == [1, 0]

    timings = json.loads((project / "timings" / "fine.json").read_text())
    assert timings["fingerprint"] == run.fingerprint
    assert not (project / "checkpoints" / "fine").exists()  # too short to be worth one
    assert sorted(timings["seeds"]) == ["0", "1", "2"]
    assert sorted(timings["seeds"]["2"]) == ["seconds", "tokens_per_second"]
    assert statuses("fine") == {
        "fine": "FAILED",
        "fine seed 0": "FINISHED",
        "fine seed 1": "FAILED",
        "fine seed 2": "FINISHED",
    }


def test_unlabelled_texts_are_read_beside_the_others_and_reported(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two epochs of two steps; a word that only the vectors' file has is unknown, as in the train split."""
    assert train("beside", monkeypatch) == 0
    run = RunFolder.load(project / "runs" / "beside")
    assert run.status == "finished"
    assert run.unknown["unlabelled"] == {"tokens": 3, "unknown": 1, "texts": 0}
    assert run.truncated["unlabelled"] == {"texts": 0, "tokens": 0}
    assert sorted(run.predictions["split"].unique()) == ["test", "valid"]
    assert run.flops["training"] == (2 * 5 + 2 * 2 * 2) * 3 * (12 + 8)


def test_a_refit_trains_again_with_the_validation_texts_and_is_counted(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two epochs on five texts, then as many as the first training kept on ten; in training unknown stays unknown."""
    seen = []
    monkeypatch.setattr(
        Trainer, "__post_init__", lambda self, own=Trainer.__post_init__: (own(self), seen.append(self))
    )
    changes = {"refit": True, "early_stopping": 1, "learning_rate": 0.9, "epochs": 3}
    named = {"again": changes, "once": {**changes, "refit": False}, "scaled": {**changes, "normalize_embedding": True}}
    write_study(project, named, [], train=FEEDFORWARD)
    for name in named:
        assert train(name, monkeypatch) == 0

    run, once = (RunFolder.load(project / "runs" / name) for name in ("again", "once"))
    assert run.history.equals(once.history)
    losses = [once.history[once.history["seed"] == seed]["val_loss"].to_list() for seed in run.seeds]
    kept = [1 + each.index(min(each)) for each in losses]
    assert min(kept) < max(map(len, losses)) <= 3
    lines = [line.partition("  loss")[0] for line in capsys.readouterr().out.splitlines() if "refit" in line]
    assert lines[: sum(kept)] == [
        f"seed {seed}  refit, epoch  {epoch}/{most}" for seed, most in enumerate(kept) for epoch in range(1, 1 + most)
    ]
    second = seen[1]
    assert second.splits["train"].ids.to_list() == [
        f"{split}-{row}" for split in ("train", "valid") for row in range(5)
    ]
    assert second.splits["train"].unknown()["unknown"] == 2
    assert run.flops["training"] == pytest.approx(once.flops["training"] + sum(kept) / 3 * 10 * 3 * (12 + 8))
    for seed in run.seeds:
        assert np.array_equal(run.probabilities(seed, "valid")[2], once.probabilities(seed, "valid")[2])
        assert not np.array_equal(run.probabilities(seed, "test")[2], once.probabilities(seed, "test")[2])
    assert "test" not in seen[0].splits and "valid" not in second.splits
    texts = pl.Series(
        [" ".join(VOCABULARY.words[word] if word != UNKNOWN else "noir" for word in text) for text in TEXTS]
    )
    for name in ("again", "scaled"):  # what is saved is what was measured
        saved = Predictor(project / "runs" / name / "model" / "1").probabilities(texts)
        measured = RunFolder.load(project / "runs" / name).probabilities(1, "test")[2]
        np.testing.assert_allclose(saved, measured, rtol=0, atol=1e-6)
    assert statuses("again")["again seed 2"] == "FINISHED"


def test_an_experiment_of_which_every_seed_diverges_is_a_finished_stage(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """DVC continues with the others: the run folder is complete, with the reason. A broken checkpoint is reported."""
    (project / "checkpoints" / "wild").mkdir(parents=True)
    (project / "checkpoints" / "wild" / "1.npz").write_bytes(b"PK half an archive")
    assert train("wild", monkeypatch) == 0
    printed = capsys.readouterr().err.splitlines()
    assert printed[0] == "warning: checkpoints/wild/1.npz is damaged: deleted, seed 1 starts from the beginning"
    assert not (project / "checkpoints" / "wild").exists()
    run = RunFolder.load(project / "runs" / "wild")
    assert run.failures == {"0": FAILURE, "1": FAILURE, "2": FAILURE}
    assert run.predictions.is_empty()
    assert run.history.empty
    assert set(statuses("wild").values()) == {"FAILED"}


def test_an_interrupted_training_leaves_no_run_folder(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(self: Trainer, *_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Trainer, "run", interrupt)
    monkeypatch.setattr(sys, "argv", command("stopped"))
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        runpy.run_path(str(STAGE), run_name="__main__")
    assert not (project / "runs" / "stopped").exists()
    assert not list((project / "runs").glob(".stopped*"))
    assert statuses("stopped") == {"stopped": "KILLED", "stopped seed 0": "KILLED"}


def test_a_training_killed_within_an_epoch_between_epochs_and_in_another_seed_ends_in_the_same_bytes(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three seeds with four epochs of three steps; after each step, and with each seed's end, it may save.

    The second seed is best after its first epoch, which only a checkpoint knows in the end, and stops after its third.
    """
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{project / 'mlflow.db'}")
    for copy in ("whole", "killed"):
        shutil.copytree(project, tmp_path / copy, ignore=shutil.ignore_patterns("mlflow*", "runs"))

    def run_until(death: int) -> list[str]:
        """How one more process goes on, in short, until it is killed at this opportunity; 0 is never."""
        process = subprocess.run(
            [sys.executable, "-c", SAVE_AND_DIE, str(death), *command("killed")],
            cwd=tmp_path / "killed",
            env={**os.environ, "PYTHONPATH": str(STAGE.parents[1] / "src")},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        lines = process.stdout.splitlines()
        assert process.returncode == (-signal.SIGKILL if death else 0), lines
        return [line.partition("  loss")[0] for line in lines if "epoch" in line]

    def epochs(seed: int, *numbers: int) -> list[str]:
        return [f"seed {seed}  epoch  {number}/4" for number in numbers]

    def continues(seed: int, done: int) -> str:
        return f"seed {seed}  continues from a checkpoint, {done} of 4 epochs done"

    with monkeypatch.context() as within:
        within.chdir(tmp_path / "whole")
        assert train("killed", within) == 0
    assert run_until(5) == epochs(0, 1)  # saved after the first step of epoch 2, lost the second
    assert run_until(2) == [continues(0, 1), *epochs(0, 2)]  # between epochs, before it is saved
    assert run_until(15) == [continues(0, 1), *epochs(0, 2, 3, 4), *epochs(1, 1, 2)]  # the same, in another seed
    last = [continues(0, 4), continues(1, 1), *epochs(1, 2, 3), *epochs(2, 1, 2, 3, 4)]
    assert run_until(0) == last
    assert digest(tmp_path / "killed" / "runs" / "killed") == digest(tmp_path / "whole" / "runs" / "killed")
    assert not (tmp_path / "killed" / "checkpoints" / "killed").exists()
    alone, *continued = curves("killed seed 0")
    assert [step for step, _ in alone] == [1, 2, 3, 4]
    assert continued == [alone, alone]  # the third process finished the seed, and the fourth the run
    alone, continued_once = curves("killed seed 1")
    assert alone == continued_once
    assert min(alone, key=lambda point: point[1])[0] == 1


def curves(name: str) -> list[list[tuple[int, float]]]:
    """Step and validation loss, of each finished run with this name."""
    client = MlflowClient(tracking_uri=f"sqlite:///{Path.cwd()}/mlflow.db")
    experiment = client.get_experiment_by_name("tiny/reviews")
    assert experiment is not None
    found = client.search_runs([experiment.experiment_id], f"run_name = '{name}' and status = 'FINISHED'")
    return [
        [(point.step, point.value) for point in client.get_metric_history(run.info.run_id, "val_loss")] for run in found
    ]


def test_an_experiment_that_is_not_there(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert train("lstm", monkeypatch) == 1
    assert capsys.readouterr().err == (
        f"error: plan/train@lstm.json: the plan in {Path.cwd()} has no stage 'train@lstm'. "
        "Run `dvc repro`, which plans anew.\n"
    )


def test_an_embedding_of_another_vocabulary(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    small = Vocabulary(VOCABULARY.words[:4])
    embedding = Embedding.build(small, np.ones((1, 3), np.float32), np.array([2]))
    embedding.save(tmp_path, embedding.coverage(small, np.ones(4, np.int64)))
    monkeypatch.setattr(sys, "argv", command("fine", str(tmp_path)))
    with pytest.raises(SystemExit):
        runpy.run_path(str(STAGE), run_name="__main__")
    assert capsys.readouterr().err == (
        f"error: {tmp_path} has 4 rows and the vocabulary 7 words: they were not built together. Run `dvc repro`.\n"
    )


def test_a_study_in_which_no_word_is_ever_unknown_is_warned_about(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tokens = pl.read_parquet(project / "tokens" / "train.parquet")
    known = tokens.with_columns(pl.col("ids").list.eval(pl.element().replace(UNKNOWN, 2)))
    known.write_parquet(project / "tokens" / "train.parquet")
    warning = "warning: no unknown word occurs in the training texts of fine, so it does not learn to read one"
    try:
        assert train("fine", monkeypatch) == 0
        assert warning in capsys.readouterr().err
        write_study(project, {"fine": {"rare_word_dropout": 1.0}}, ["fine"], train=FEEDFORWARD)
        assert train("fine", monkeypatch) == 0
        assert warning not in capsys.readouterr().err
    finally:
        tokens.write_parquet(project / "tokens" / "train.parquet")


def test_frozen_vectors_know_the_words_of_their_file_in_training_too(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_study(project, {"frozen": {"trainable_embedding": False}}, ["frozen"], train=FEEDFORWARD)
    assert train("frozen", monkeypatch) == 0
    run = RunFolder.load(project / "runs" / "frozen")
    assert run.unknown["train"] == {"tokens": 15, "unknown": 0, "texts": 0}
    assert run.parameters == {"total": 38, "trainable": 14}


def test_a_student_learns_what_its_teacher_says_of_train_and_unlabelled_texts(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """From a teacher that failed it cannot learn, and fails, too."""
    copy = shutil.copytree(project, tmp_path / "copy", ignore=shutil.ignore_patterns("mlflow*", "runs"))
    monkeypatch.chdir(copy)
    students = {"taught": {"teacher": "fine", "hard_targets": 0.25, "refit": True}, "alone": {"teacher": "fine"}}
    write_study(copy, {"fine": {}}, [], train=FEEDFORWARD, students=students)
    unlabelled = {"id": ["u-0", "u-1"], "ids": [[2, 4], [UNKNOWN]], "unknown": [[], ["noir"]], "label": [None, None]}
    pl.DataFrame(unlabelled, schema=SCHEMA).write_parquet("tokens/unlabelled.parquet")
    for name in students:
        Path("soft", name).mkdir(parents=True)
    chances = np.linspace(0.1, 0.9, 7)
    taught = np.stack([chances, 1 - chances], axis=1)
    ids = pl.Series([*(f"train-{row}" for row in range(5)), "u-0", "u-1"])
    write_soft_targets(Path("soft/taught"), "train", ids.head(5), taught[:5])
    write_soft_targets(Path("soft/taught"), "unlabelled", ids.tail(2), taught[5:])
    write_soft_targets(Path("soft/taught"), "valid", pl.Series([f"valid-{row}" for row in range(5)]), taught[2:])
    seen = []
    monkeypatch.setattr(
        Trainer, "__post_init__", lambda self, own=Trainer.__post_init__: (own(self), seen.append(self))
    )

    for name in students:
        arguments = [*command(name), "--soft-targets", f"soft/{name}"]
        monkeypatch.setattr(sys, "argv", [part.replace("train@", "student@") for part in arguments])
        with pytest.raises(SystemExit) as exit_:
            runpy.run_path(str(STAGE), run_name="__main__")
        assert exit_.value.code == 0

    expected = 0.75 * taught[:5] + 0.25 * np.eye(2)[LABELS]
    np.testing.assert_allclose(seen[0]._targets, np.concatenate([expected, taught[5:]]), rtol=1e-6)
    assert seen[0].splits["train"].ids.to_list() == ids.to_list()
    refit = 0.75 * taught[2:] + 0.25 * np.eye(2)[LABELS]
    np.testing.assert_allclose(seen[1]._targets, np.concatenate([expected, taught[5:], refit]), rtol=1e-6)
    run = RunFolder.load(copy / "runs" / "taught")
    assert (run.kind, run.failures, run.params["teacher"]) == ("experiment", {}, "fine")
    assert run.inputs["soft_targets"] == digest(copy / "soft" / "taught")
    assert run.flops["training"] == pytest.approx(2 * (7 + 12) * 3 * (12 + 8))
    assert run.unknown["unlabelled"] == {"tokens": 3, "unknown": 1, "texts": 1}
    assert run.unknown["train"]["tokens"] == 15
    assert len(run.predictions) == 3 * 2 * 5
    failure = "its teacher fine has no finished seed"
    alone = RunFolder.load(copy / "runs" / "alone")
    assert alone.failures == dict.fromkeys("012", failure)
    assert f"warning: alone failed, seed 0: {failure}; seed 1: {failure}" in capsys.readouterr().err
