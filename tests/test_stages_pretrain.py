"""The stage `pretrain`, from tokens to an embedding with layers, killed and continued; and what it tells MLflow."""

from __future__ import annotations

import json
import os
import runpy
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from mlflow import MlflowClient
from test_stages_train import SAVE_AND_DIE, VOCABULARY
from tiny_experiments import PLAIN, write_study
from tiny_models import LABELS, TEXTS

from textrnn.config.params import load_params
from textrnn.embeddings.matrix import Embedding
from textrnn.embeddings.pretrained import PretrainedFolder, read_layers
from textrnn.errors import TextrnnError
from textrnn.modeling.saved_model import TextEncoder
from textrnn.process import cores
from textrnn.run_folder import RunFolder, digest
from textrnn.text.encoding import SCHEMA
from textrnn.tracking.sync import sync

STAGES = Path(__file__).parents[1] / "stages"
MODEL = {"embedding": "tiny", "units": 2, "batch_size": 2, "epochs": 3, "samples": 2, "window": 2, "dropout": 0.2}
UNLABELLED = [[1, 2, 3], [4, 4, 4, 4, 6]]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Tokens without a test split, an embedding of two vectors, and a study with a language model."""
    monkeypatch.chdir(tmp_path)
    for name in ("MLFLOW_TRACKING_URI", "DVC_ROOT", "DVC_EXP_NAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TEXTRNN_LIVE_AFTER", "0")
    tokens, embedding = Path("data/tokens"), Path("data/embeddings/tiny")
    for folder in (tokens, embedding):
        folder.mkdir(parents=True)
    TextEncoder(VOCABULARY, ("rotten", "fresh")).save(tokens)
    for split, texts, labels in (("train", TEXTS, LABELS), ("valid", TEXTS, LABELS), ("unlabelled", UNLABELLED, None)):
        table = {"id": [f"{split}-{row}" for row in range(len(texts))], "ids": texts, "unknown": [[] for _ in texts]}
        pl.DataFrame({**table, "label": labels}, schema=SCHEMA).write_parquet(tokens / f"{split}.parquet")
    rows = np.random.default_rng(0).normal(0, 1, (3, 3)).astype(np.float32)
    start = Embedding.build(VOCABULARY, rows, np.array([2, 3, 7]), ["noir"])
    start.save(embedding, start.coverage(VOCABULARY, np.ones(7, np.int64)))
    experiments = {"plain": {"embedding": "lm"}, "started": {"embedding": "lm", "pretrained_layers": True}}
    write_study(tmp_path, experiments, [], pretraining={"lm": MODEL}, train={**PLAIN, "units": 2})
    return tmp_path


def command() -> list[str]:
    folders = ["data/tokens", "data/embeddings/tiny", "data/embeddings/lm", "timings/pretrain@lm.json"]
    return [str(STAGES / "pretrain.py"), "plan/pretrain@lm.json", *folders, "checkpoints/pretrain@lm"]


def run(monkeypatch: pytest.MonkeyPatch, arguments: list[str]) -> int:
    """Runs a stage in this process, and returns its exit status."""
    monkeypatch.setattr(sys, "argv", arguments)
    with pytest.raises(SystemExit) as exit_:
        runpy.run_path(arguments[0], run_name="__main__")
    return int(exit_.value.code or 0)


def test_it_writes_an_embedding_with_layers_and_experiments_start_from_it(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, command()) == 0
    printed = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[0] for line in printed] == [f"epoch  {number}/3".split("  ")[0] for number in (1, 2, 3)]
    assert all(line.endswith("tokens/s") and "perplexity" in line for line in printed)
    folder = project / "data/embeddings/lm"
    names = ["coverage.json", "covered.npy", "file_words.txt", "history.csv", "language_model.json", "layers.npz"]
    assert sorted(path.name for path in folder.iterdir()) == [*names, "matrix.npy"]

    trained = Embedding.load(folder)
    assert (trained.matrix.shape, trained.file_words) == ((7, 3), ())
    assert trained.covered.tolist() == [False, *[True] * 6]  # the unknown word occurs, too
    assert np.array_equal(trained.draw(0), trained.draw(1))
    coverage = json.loads((folder / "coverage.json").read_text())
    assert (coverage["source"], coverage["vocabulary"]["covered"]) == ("language model, from tiny", 5)

    model = PretrainedFolder.load(folder)
    # Without the text of one word; what is read of a text is one word less than it has.
    assert (model.texts, model.tokens, model.valid_tokens) == (6, 16, 10)
    assert model.params == load_params(project / "params.yaml").pretraining["lm"].model_dump()
    # An LSTM of 3 numbers and 2 units, a projection, the vectors and a bias for each word.
    assert model.parameters == 8 * (3 + 2 + 1) + 2 * 3 + 7 * 3 + 7
    assert model.flops == 3 * 2 * (8 * (3 + 2) + 2 * 3 + (2 + 1) * 3) * 16 * 3
    assert [row["epoch"] for row in model.history] == [1, 2, 3]
    assert [array.shape for array in read_layers(folder)] == [(3, 8), (2, 8), (8,)]
    assert not (project / "checkpoints/pretrain@lm").exists()

    shutil.copy("data/tokens/valid.parquet", "data/tokens/test.parquet")
    for name in ("plain", "started"):
        folders = ["data/tokens", "data/embeddings/lm", f"runs/{name}", f"timings/{name}.json", f"checkpoints/{name}"]
        assert run(monkeypatch, [str(STAGES / "train.py"), f"plan/train@{name}.json", *folders]) == 0
    assert RunFolder.load(project / "runs/plain").predictions.height == 3 * 10
    assert digest(project / "runs/plain") != digest(project / "runs/started")


def test_what_a_kill_interrupts_ends_in_the_same_bytes(project: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Three epochs of five steps: killed within the first, and within the third, after two saved epochs."""
    whole = tmp_path_factory.mktemp("whole") / "project"
    shutil.copytree(project, whole)

    def run_until(death: int, folder: Path = project) -> list[str]:
        process = subprocess.run(
            [sys.executable, "-c", SAVE_AND_DIE, str(death), *command()],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(STAGES.parent / "src"), "TEXTRNN_LIVE_AFTER": "1000"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert process.returncode == (-signal.SIGKILL if death else 0), process.stdout
        return [line.partition("  loss")[0] for line in process.stdout.splitlines()]

    assert run_until(0, whole) == [f"epoch  {number}/3" for number in (1, 2, 3)]
    assert run_until(4) == []
    continues = "continues from a checkpoint, {} of 3 epochs done"
    assert run_until(12) == [continues.format(0), "epoch  1/3", "epoch  2/3"]
    last = run_until(0)
    assert last[0].startswith("continues from a checkpoint") and last[-1] == "epoch  3/3"
    assert digest(project / "data/embeddings/lm") == digest(whole / "data/embeddings/lm")
    assert not (project / "checkpoints/pretrain@lm").exists()


@pytest.mark.skipif(cores() < 2, reason="needs two cores")
def test_one_core_and_two_give_the_same_bytes(project: Path) -> None:
    """Each direction and each loss is an operation that may run beside others."""
    model = {**MODEL, "bidirectional": True, "units": 16}
    write_study(project, {"plain": {"embedding": "lm"}}, [], pretraining={"lm": model}, train={**PLAIN, "units": 2})
    found = set()
    for allowed in (1, 2):
        bound = f"import os; os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:{allowed}])\n"
        begin = "import runpy, sys; sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"
        environment = {**os.environ, "PYTHONPATH": str(STAGES.parent / "src"), "TEXTRNN_LIVE_AFTER": "1000"}
        subprocess.run([sys.executable, "-c", bound + begin, *command()], env=environment, check=True)
        found.add(digest(project / "data/embeddings/lm"))
    assert len(found) == 1


def test_mlflow_has_a_run_of_its_own_live_and_from_files(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(monkeypatch, command()) == 0
    client = MlflowClient(tracking_uri=f"sqlite:///{Path.cwd()}/mlflow.db")

    def runs() -> list:
        experiment = client.get_experiment_by_name("tiny/reviews")
        return client.search_runs([experiment.experiment_id], "tags.pretraining = 'lm'")

    def points(run_id: str) -> list:
        history = client.get_metric_history(run_id, "perplexity")
        return [(point.step, point.value) for point in history]

    (live,) = runs()
    assert (live.info.run_name, live.info.status) == ("pretraining lm", "FINISHED")
    assert live.data.tags["kind"] == "pretraining"
    assert "experiment" not in live.data.tags
    expected = [
        (row["epoch"], row["perplexity"]) for row in PretrainedFolder.load(project / "data/embeddings/lm").history
    ]
    assert points(live.info.run_id) == expected
    assert live.data.params["units"] == "2"

    params = load_params(project / "params.yaml")
    done = sync(project, params, lambda *_: None)
    assert done.created == ["pretraining lm"]
    (synced,) = runs()
    assert synced.info.run_id != live.info.run_id
    assert points(synced.info.run_id) == expected
    assert synced.data.metrics == live.data.metrics
    own = ("dvc.fingerprint", "kind", "cell", "embedding", "mlflow.note.content", "dvc.stage")
    assert [synced.data.tags[tag] for tag in own] == [live.data.tags[tag] for tag in own]
    assert [file.path for file in client.list_artifacts(synced.info.run_id)] == ["history.csv", "language_model.json"]
    assert sync(project, params, lambda *_: None).unchanged == ["pretraining lm"]

    other = params.model_copy(update={"pretraining": {"lm": params.pretraining["lm"].model_copy(update={"units": 3})}})
    assert "pretraining lm" in sync(project, other, lambda *_: None).outdated


def test_a_folder_without_a_language_model(project: Path) -> None:
    with pytest.raises(TextrnnError, match="data/embeddings/tiny holds no language model"):
        PretrainedFolder.load(Path("data/embeddings/tiny"))
    with pytest.raises(TextrnnError, match="data/embeddings/tiny holds no recurrent layers"):
        read_layers(Path("data/embeddings/tiny"))
