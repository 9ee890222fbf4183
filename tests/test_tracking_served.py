"""A logged model: whose answers it gives, and where it is when folders move, runs are deleted and files are lost."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import polars as pl
import pytest
import requests
from click.testing import CliRunner
from fake_runs import alone, make_run
from mlflow.cli import gc
from mlflow.exceptions import MlflowException
from mlflow.tracking._tracking_service.utils import _artifact_repos_cache
from mlflow_site import free_port, stop, wait_for
from tiny_models import make_embedding, scramble
from tiny_project import PARAMS

from textrnn.analysis import leaderboard, run_tables
from textrnn.config.params import Params, load_params
from textrnn.errors import TextrnnError
from textrnn.modeling.classifier import build_classifier
from textrnn.modeling.predictor import Predictor
from textrnn.modeling.saved_model import TextEncoder, save_model
from textrnn.run_folder import RunFolder
from textrnn.text.vocabulary import Vocabulary
from textrnn.tracking import registry
from textrnn.tracking.logged_model import log_models
from textrnn.tracking.source import Recorded
from textrnn.tracking.store import HOME, Store, open_store
from textrnn.tracking.sync import Synced, sync

CLASSES = ("bad", "good")
TEXTS = ["good film", "bad", "a plot", "film a good plot", "bad bad film"]
ODD = "a b%41?c=d&e#f;g'h\"리뷰%"
"""A folder's name with what URIs, SQL and shells give a meaning."""


class Completed:
    """Logs models and one file, as `Completion` does, without pictures."""

    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch

    def __call__(self, store: Store, run: RunFolder, recorded: Recorded) -> None:
        store.client.log_artifact(recorded.parent.info.run_id, str(run.path / "run.json"))
        self._scratch.mkdir(exist_ok=True)
        log_models(store, run, recorded.children, "aa.dir", self._scratch)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Params]:
    """A project below a folder of its own, synced, with a champion."""
    patch = pytest.MonkeyPatch()
    project = tmp_path_factory.mktemp("home") / ODD
    project.mkdir()
    patch.chdir(project)
    for name in ("MLFLOW_TRACKING_URI", "DVC_ROOT"):
        patch.delenv(name, raising=False)
    (project / "params.yaml").write_text(PARAMS, encoding="utf-8")
    params = load_params(project / "params.yaml")
    experiment = params.experiments["lstm"]
    saved = project / "saved"
    model = build_classifier(experiment, make_embedding(), 2, seed=1)
    scramble(model)
    encoder = TextEncoder(Vocabulary(("<pad>", "<unk>", "good", "bad", "film", "a", "plot")), CLASSES)
    save_model(saved, experiment, encoder, model, model.get_weights())
    probabilities = Predictor(saved).probabilities(pl.Series(TEXTS))
    ids, labels = [f"test-{row}" for row in range(len(TEXTS))], [1, 0, 0, 1, 0]
    predictions = dict.fromkeys(("valid", "test"), (ids, labels, probabilities))
    given: dict[str, Any] = {"params": experiment.model_dump(), "seeds": params.seeds, "classes": CLASSES}
    run = make_run(project / "runs", "lstm", predictions=predictions, **given)
    for seed in params.seeds:
        shutil.copytree(saved, run.path / "model" / str(seed))
    (project / "data" / "corpus").mkdir(parents=True)
    pl.DataFrame(
        {"id": ids, "text": TEXTS, "label": [CLASSES[label] for label in labels], "group": [None] * len(ids)},
        schema_overrides={"group": pl.String},
    ).write_parquet(project / "data" / "corpus" / "test.parquet")
    sync(project, params, Completed(project / "scratch"))
    registry.register(project, params)
    assert registry.promote(project, params).outcome == "promoted"
    patch.undo()
    return project, params


@pytest.fixture
def project(home: tuple[Path, Params], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it."""
    for name in ("MLFLOW_TRACKING_URI", "DVC_ROOT"):
        monkeypatch.delenv(name, raising=False)
    copy = shutil.copytree(home[0], tmp_path / "copy")
    _artifact_repos_cache.clear()  # another process has nothing in it
    monkeypatch.chdir(copy)
    return copy


@pytest.fixture(scope="module")
def served(home: tuple[Path, Params], tmp_path_factory: pytest.TempPathFactory) -> Any:
    model = next((home[0] / "mlartifacts").rglob("MLmodel")).parent
    return mlflow.pyfunc.load_model(str(shutil.copytree(model, tmp_path_factory.mktemp("served") / "model")))


def champion_answers(project: Path, params: Params, scratch: Path) -> np.ndarray:
    return Predictor(registry.champion_model(project, params, scratch)[1]).probabilities(pl.Series(TEXTS))


def expected(project: Path) -> np.ndarray:
    return Predictor(project / "saved").probabilities(pl.Series(TEXTS))


def files(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_mlflow_and_the_leaderboard_agree_on_every_metric(home: tuple[Path, Params]) -> None:
    project, _ = home
    run = RunFolder.load(project / "runs" / "lstm")
    board = leaderboard.build([run], run_tables.seed_scores([run]), alone)
    store = open_store(project, "tiny/snippets")
    found = store.client.search_runs([store.experiment_id], "tags.`mlflow.runName` = 'lstm'")
    assert len(found) == 1
    logged = found[0].data.metrics
    for name, value in leaderboard.to_metrics(board)["lstm"].items():
        assert logged[f"{name}_mean"] == pytest.approx(value, abs=5e-7)
        assert board.iloc[0][name] == value


@pytest.mark.parametrize(
    "index",
    [
        [4, 3, 2, 1, 0],
        [7, 7, 7, 7, 7],
        list("caebd"),
        pd.MultiIndex.from_product([[1], [5, 4, 3, 2, 1]], names=["x", "y"]),
        pd.date_range("2020-01-01", periods=5),
    ],
    ids=["unsorted", "duplicate", "text", "multi", "dates"],
)
def test_each_row_of_a_frame_gets_its_own_answer(home: tuple[Path, Params], served: Any, index: Any) -> None:
    frame = pd.DataFrame({"text": TEXTS, "more": 1}, index=index)
    answer = served.predict(frame)
    assert answer.index.equals(frame.index)
    np.testing.assert_allclose(answer["probability_good"], expected(home[0])[:, 1], atol=1e-6)


def test_parts_of_a_frame_are_answered_as_the_whole(served: Any) -> None:
    frame = pd.DataFrame({"text": TEXTS}, index=[3, 1, 4, 15, 9])
    whole = served.predict(frame)
    parts = pd.concat([served.predict(part) for part in (frame[:2], frame[2:2], frame[2:])])
    pd.testing.assert_frame_equal(parts, whole, rtol=1e-6)
    pd.testing.assert_frame_equal(served.predict(frame[frame.index > 3]), whole[whole.index > 3], rtol=1e-6)
    pd.testing.assert_frame_equal(served.predict(frame[::-1]), whole[::-1], rtol=1e-6)
    assert served.predict(frame[:0]).columns.equals(whole.columns)


@pytest.mark.parametrize(
    "given",
    [
        pd.Series(TEXTS, index=[5, 3, 1, 0, 2], name="text"),
        [{"text": text} for text in TEXTS],
        {"text": np.array(TEXTS)},
    ],
    ids=["series", "records", "array"],
)
def test_other_ways_in_keep_the_order(home: tuple[Path, Params], served: Any, given: Any) -> None:
    answer = served.predict(given)
    np.testing.assert_allclose(answer["probability_good"], expected(home[0])[:, 1], atol=1e-6)
    if isinstance(given, pd.Series):
        assert answer.index.equals(given.index)


@pytest.mark.parametrize(
    "content",
    [
        {"dataframe_split": {"columns": ["text"], "index": [9, 3, 9, 1, 0], "data": [[text] for text in TEXTS]}},
        {"dataframe_records": [{"text": text} for text in TEXTS]},
        {"instances": [{"text": text} for text in TEXTS]},
        {"inputs": {"text": TEXTS}},
    ],
    ids=lambda content: next(iter(content)),
)
def test_the_servers_ways_in_keep_the_order(home: tuple[Path, Params], served: Any, content: Any) -> None:
    from mlflow.pyfunc.scoring_server import invocations

    got = invocations(json.dumps(content), "application/json", served, served.metadata.get_input_schema())
    answer = [row["probability_good"] for row in json.load(io.StringIO(got.response))["predictions"]]
    np.testing.assert_allclose(answer, expected(home[0])[:, 1], atol=1e-6)


def test_a_project_in_a_folder_of_an_odd_name_works_and_writes_nothing_outside(
    home: tuple[Path, Params], tmp_path: Path
) -> None:
    project, params = home
    np.testing.assert_allclose(champion_answers(project, params, tmp_path / "x"), expected(project), atol=1e-6)
    assert [path.name for path in project.parent.iterdir()] == [ODD]
    top = {"params.yaml", "saved", "runs", "data", "scratch", "mlartifacts"}
    assert {path.name for path in project.iterdir() if not path.name.startswith("mlflow.")} == top


def test_the_champion_is_served_from_there_within_the_limits_of_the_params(
    home: tuple[Path, Params], tmp_path: Path
) -> None:
    folder, port = shutil.copytree(home[0], tmp_path / ODD), free_port()
    (folder / "params.yaml").write_text(f"{PARAMS}serving: {{max_bytes: 200}}\n", encoding="utf-8")
    command = [sys.executable, "-m", "textrnn", "serve", "--port", str(port)]
    with (tmp_path / "log").open("wb") as log:
        server = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, start_new_session=True)
    try:
        wait_for(f"http://127.0.0.1:{port}/ping", server, tmp_path / "log")
        site = f"http://127.0.0.1:{port}/invocations"
        answer = requests.post(site, json={"inputs": TEXTS}, timeout=30).json()["predictions"]
        np.testing.assert_allclose([row["probability_good"] for row in answer], expected(folder)[:, 1], atol=1e-6)
        assert requests.post(site, json={"inputs": TEXTS * 10}, timeout=30).status_code == 413
        again = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        assert again.returncode == 1
        assert f"port {port} of this machine" in again.stderr and "`textrnn serve --port 5002`" in again.stderr
    finally:
        stop(server)
    assert (tmp_path / "log").read_text() == f"the model answers at {site}\n"


def test_a_copy_leaves_the_original_alone_and_a_moved_project_works(
    home: tuple[Path, Params], project: Path, tmp_path: Path
) -> None:
    original, params = home
    before = files(original)
    for file in (project / "mlartifacts").rglob("run.json"):
        file.unlink()
    assert sync(project, params, Completed(tmp_path / "scratch")).restored == ["lstm"]
    np.testing.assert_allclose(champion_answers(project, params, tmp_path / "x"), expected(project), atol=1e-6)
    assert files(original) == before

    moved = project.rename(tmp_path / "moved")
    np.testing.assert_allclose(champion_answers(moved, params, tmp_path / "y"), expected(moved), atol=1e-6)
    assert sync(moved, params, Completed(tmp_path / "scratch")).unchanged == ["lstm"]
    store = open_store(moved, "other/snippets")
    store.client.log_text(store.client.create_run(store.experiment_id).info.run_id, "x", "x.txt")
    assert not project.exists()


@pytest.mark.parametrize("disk", ["there", "not mounted"])
def test_other_locations_stay_as_they_are(project: Path, tmp_path: Path, disk: str) -> None:
    client = open_store(project, "tiny/snippets").client
    own = tmp_path / "disk" / "mlartifacts"
    places = ["s3://b/mlartifacts", "/x/own", own.as_uri()]
    others = [client.create_experiment(place, artifact_location=place) for place in places]
    client.create_run(others[-1], tags={"dvc.fingerprint": "0"})
    if disk == "there":
        own.mkdir(parents=True)
    project = project.rename(project.with_name("moved"))
    store = open_store(project, "tiny/snippets")
    assert [store.client.get_experiment(each).artifact_location for each in others] == places
    ours = store.client.get_experiment(store.experiment_id)
    assert ours.artifact_location == ours.tags[HOME] == (project / "mlartifacts").as_uri()


@pytest.mark.parametrize(
    "lost", ["", "models/*/artifacts/artifacts", "models/*/artifacts/MLmodel", "*/artifacts/run.json"]
)
def test_lost_artifacts_are_noticed_and_restored(
    home: tuple[Path, Params], project: Path, tmp_path: Path, lost: str
) -> None:
    params, artifacts = home[1], project / "mlartifacts"
    open_store(project, "tiny/snippets")
    whole = files(artifacts)
    for path in list(artifacts.glob(lost)) if lost else [artifacts]:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    if lost in ("", "models/*/artifacts/artifacts"):
        with pytest.raises(TextrnnError, match=r"the files of textrnn-snippets, version 1, are gone from file:"):
            registry.champion_model(project, params, tmp_path / "x")
    done = sync(project, params, Completed(tmp_path / "scratch"))
    assert (done.restored, done.created) == (["lstm"], [])
    assert files(artifacts).keys() == whole.keys()
    np.testing.assert_allclose(champion_answers(project, params, tmp_path / "y"), expected(project), atol=1e-6)
    again = sync(project, params, Completed(tmp_path / "scratch"))
    assert again == Synced(unchanged=["lstm"], outdated=again.outdated)


def test_the_gate_decides_without_the_champions_run_which_sync_never_deletes(
    home: tuple[Path, Params], project: Path, tmp_path: Path
) -> None:
    params, client = home[1], open_store(project, "tiny/snippets").client
    version = client.get_model_version_by_alias("textrnn-snippets", "champion")
    child = client.get_run(version.run_id)
    client.delete_run(child.data.tags["mlflow.parentRunId"])
    sync(project, params, Completed(tmp_path / "scratch"))
    assert client.get_run(version.run_id).info.lifecycle_stage == "active"
    client.delete_run(version.run_id)
    registry.register(project, params)
    with pytest.raises(TextrnnError, match=r"nb-svm is a baseline, and only .* `textrnn predict --run nb-svm`"):
        registry.register(project, params, "nb-svm")
    better = client.create_model_version("textrnn-snippets", source=version.source, tags=version.tags)
    client.set_registered_model_alias("textrnn-snippets", "challenger", better.version)
    decision = registry.promote(project, params)
    assert decision.outcome == "kept"
    assert decision.reason.startswith("On 5 test examples lstm (version 2) reaches")
    (project / "data/corpus/test.parquet").unlink()
    with pytest.raises(TextrnnError, match="data/corpus does not hold the test split that the challenger was tested"):
        registry.promote(project, params)


@pytest.mark.parametrize("recorded", ["with the model", "with the run", "nowhere"])
def test_the_gate_compares_what_was_predicted_at_registration(
    home: tuple[Path, Params], project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recorded: str
) -> None:
    params, client = home[1], open_store(project, "tiny/snippets").client
    champion: Any = client.get_model_version_by_alias("textrnn-snippets", "champion")
    parent = client.get_run(champion.run_id).data.tags["mlflow.parentRunId"]
    right = (expected(project).argmax(axis=1) == [1, 0, 0, 1, 0]).sum()
    # The challenger was trained by other arithmetic than the present code's: all five are right.
    ids, sure = [f"test-{row}" for row in range(5)], np.eye(2)[[1, 0, 0, 1, 0]]
    predictions = dict.fromkeys(("valid", "test"), (ids, [1, 0, 0, 1, 0], sure))
    given: dict[str, Any] = {"params": params.experiments["gru"].model_dump(), "seeds": params.seeds}
    run = make_run(
        project / "runs", "gru", predictions=predictions, fingerprint="1" * 64, classes=list(CLASSES), **given
    )
    for seed in params.seeds:
        shutil.copytree(project / "saved", run.path / "model" / str(seed))
    assert sync(project, params, Completed(tmp_path / "scratch")).created == ["gru"]
    assert registry.register(project, params).is_new

    texts = pl.Series(TEXTS)
    before = Predictor(project / "saved").probabilities(texts)
    monkeypatch.setattr("textrnn.modeling.predictor.tokenize", lambda texts: pl.Series([["plot"]] * len(texts)))
    assert not np.allclose(Predictor(project / "saved").probabilities(texts), before)
    if recorded != "with the model":
        shutil.rmtree(project / "mlartifacts/models" / champion.source.rpartition("/")[2] / "artifacts/evidence")
    if recorded == "with the run":
        client.log_artifact(parent, str(project / "runs/lstm/predictions.parquet"))
    for each in (champion.run_id, parent):
        client.delete_run(each)
    if recorded == "with the model":
        gone = CliRunner().invoke(
            gc, ["--tracking-uri", client.tracking_uri, "--backend-store-uri", client.tracking_uri]
        )
        assert gone.exit_code == 0, gone.output
        with pytest.raises(MlflowException, match="not found"):
            client.get_run(champion.run_id)
    decision = registry.promote(project, params)
    lost = "The predictions of lstm (version 1) at registration are lost: the present code scored again."
    assert (lost in decision.reason) == (recorded == "nowhere")
    if recorded != "nowhere":
        assert f"gru (version 2) reaches 100.0% accuracy and lstm (version 1) {right / 5:.1%}, " in decision.reason
