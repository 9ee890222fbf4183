"""From run folders to a served champion: in the default store, and what a server may do otherwise on one, too.

The tests are one story, in the order in which they are written: run the file, not a single test.
"""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import polars as pl
import pytest
import requests
from mlflow import MlflowClient
from mlflow_site import free_port, mlflow_server, postgresql, stop, wait_for
from tiny_project import LIVE, TinyProject

from textrnn.config.params import load_params
from textrnn.config.plan import PROJECT
from textrnn.errors import TextrnnError
from textrnn.project.source_code import import_closure
from textrnn.run_folder import RunFolder
from textrnn.tracking import logged_model, registry
from textrnn.tracking.registry import champion_model, promote, register
from textrnn.tracking.source import models_of
from textrnn.tracking.store import open_store

MODEL = "textrnn-snippets"


SERVER, DEFAULT = pytest.param("postgresql", marks=pytest.mark.long), "sqlite"
in_the_default_store = pytest.mark.parametrize("site", [DEFAULT], indirect=True)
on_a_server = pytest.mark.parametrize("site", [SERVER], indirect=True)
in_both = pytest.mark.parametrize("site", [DEFAULT, SERVER], indirect=True)


@dataclass
class Site:
    """A finished project, and what points it to its tracking store; `synced` is what the first `sync` said."""

    project: TinyProject
    variables: dict[str, str]
    synced: str = ""

    def textrnn(self, *arguments: str, ok: bool = True):
        return self.project.textrnn(*arguments, ok=ok, **self.variables)

    def client(self) -> MlflowClient:
        return MlflowClient(self.variables.get("MLFLOW_TRACKING_URI", f"sqlite:///{self.project.folder}/mlflow.db"))


@pytest.fixture(scope="module")
def site(
    request: pytest.FixtureRequest, finished: TinyProject, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    """The finished project with an empty tracking store that `textrnn sync` has filled."""
    with ExitStack() as stack, pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp(request.param)
        variables: dict[str, str] = {}
        if request.param == "postgresql":
            variables = stack.enter_context(mlflow_server(folder, stack.enter_context(postgresql())))
        for name, value in variables.items():
            patch.setenv(name, value)
        project = finished.copy(folder / "project")
        (project.folder / "mlflow.db").unlink()
        shutil.rmtree(project.folder / "mlartifacts", ignore_errors=True)
        site = Site(project, variables)
        site.synced = site.textrnn("sync").text
        yield site


def run_of(site: Site, name: str):
    client = site.client()
    experiment = client.get_experiment_by_name("tiny/snippets")
    (run,) = client.search_runs([experiment.experiment_id], f"tags.`mlflow.runName` = '{name}'")
    return run


def recorded(site: Site, name: str, seed: int, split: str) -> tuple[list[str], np.ndarray]:
    """Texts of a split and the probabilities in `predictions.parquet`."""
    ids, _, probabilities = RunFolder.load(site.project.folder / "runs" / name).probabilities(seed, split)
    frame = pl.read_parquet(site.project.folder / "data" / "corpus" / f"{split}.parquet")
    assert frame["id"].to_list() == ids
    return frame["text"].to_list(), probabilities


@in_both
def test_sync_says_what_it_did_and_does_nothing_the_second_time(site: Site) -> None:
    first, link = site.synced.splitlines()
    assert first == "MLflow: 6 runs agree with the files (6 created)"
    assert link.endswith("/runs?workflowType=machine_learning&viewStateShareKey=leaderboard")
    assert site.variables.get("MLFLOW_TRACKING_URI", "http://127.0.0.1:5000") in link
    assert site.textrnn("sync").lines == ["MLflow: 6 runs agree with the files (6 unchanged)", link]
    assert (site.project.folder / "mlflow.db").exists() == (not site.variables)


@on_a_server
def test_a_first_sync_takes_few_requests(site: Site) -> None:
    """Over a network each costs: the default study, 107 runs and 78 models, has to be there in a minute."""
    log = site.project.folder.with_name("server.log").read_text(encoding="utf-8", errors="replace")
    client = site.client()
    (experiment,) = [each.experiment_id for each in client.search_experiments() if each.name == "tiny/snippets"]
    runs, models = len(client.search_runs([experiment])), len(client.search_logged_models([experiment]))
    print(f"{log.count('HTTP/1')} requests for {runs} runs and {models} models")
    assert log.count("HTTP/1") < 15 * runs + 18 * models


@in_the_default_store
def test_a_parent_shows_pictures_mistakes_and_files(site: Site) -> None:
    client = site.client()
    shown = {
        name: sorted(item.path for item in client.list_artifacts(run_of(site, name).info.run_id))
        for name in ("lstm", "gru", "nb-svm")
    }
    common = ["accuracy_by_length.svg", "confusion.svg", "mistakes.csv", "predictions.parquet", "reliability.svg"]
    trained = [*common, "history.csv", "learning_curves.svg"]
    assert shown == {
        "lstm": sorted([*trained, "neighbours.csv", "run.json"]),
        "gru": sorted([*trained, "run.json"]),  # its embedding was frozen
        "nb-svm": sorted([*common, "run.json"]),
    }


@in_the_default_store
def test_each_seed_has_one_model_with_its_metrics(site: Site) -> None:
    client = site.client()
    child = run_of(site, "lstm seed 1")
    (output,) = child.outputs.model_outputs
    model = client.get_logged_model(output.model_id)
    assert (model.name, model.status, model.source_run_id) == ("lstm-1", "READY", child.info.run_id)
    assert {metric.key: metric.value for metric in model.metrics}.items() <= child.data.metrics.items()
    assert "valid_accuracy" in {metric.key for metric in model.metrics}
    experiment = client.get_experiment_by_name("tiny/snippets")
    assert len(client.search_logged_models([experiment.experiment_id])) == 6
    assert (model.params["cell"], model.params["seed"]) == ("lstm", "1")
    about = model.tags["mlflow.note.content"]
    assert about.startswith("`lstm`, seed 1.\n\n### Scores") and "### Confusion on test" in about


@in_the_default_store
def test_a_models_metrics_name_the_split_and_the_version_of_the_corpus(site: Site) -> None:
    child = run_of(site, "lstm seed 1")
    model = site.client().get_logged_model(child.outputs.model_outputs[0].model_id)
    corpus = site.project.lock()["prepare_corpus"]["outs"][0]["md5"]
    for split in ("valid", "test"):
        told = {metric.key: metric for metric in model.metrics if metric.key.startswith(f"{split}_")}
        assert {f"{split}_accuracy_low", f"{split}_accuracy_high", f"{split}_calibration_error"} < set(told)
        low, score, high = (told[f"{split}_accuracy{end}"].value for end in ("_low", "", "_high"))
        assert low <= score <= high
        assert {(metric.dataset_name, metric.dataset_digest) for metric in told.values()} == {
            (f"data/corpus/{split}.parquet", corpus)
        }
    used = {(each.dataset.name, each.tags[0].value) for each in child.inputs.dataset_inputs}
    assert {(f"data/corpus/{split}.parquet", "evaluation") for split in ("valid", "test")} <= used


@in_the_default_store
def test_a_model_is_code_and_safe_files_with_signature_and_requirements(site: Site, tmp_path: Path) -> None:
    import mlflow

    (output,) = run_of(site, "gru seed 0").outputs.model_outputs
    mlflow.set_tracking_uri(site.client().tracking_uri)
    folder = Path(mlflow.artifacts.download_artifacts(f"models:/{output.model_id}", dst_path=tmp_path))
    assert not [path for path in folder.rglob("*") if path.suffix in (".pkl", ".pickle", ".h5", ".pyc")]
    (archive,) = (folder / "code").iterdir()  # each file is a request
    code = {name.split("/")[1] for name in ZipFile(archive).namelist()}
    assert code == {"__init__.py", "arrays.py", "config", "errors.py", "modeling", "text", "tracking"}
    requirements = (folder / "requirements.txt").read_text().split()
    assert all(re.fullmatch(r"[a-z-]+==[0-9.]+", line) for line in requirements)
    assert {"mlflow", "polars"} < {line.split("==")[0] for line in requirements}
    info = mlflow.models.get_model_info(str(folder))
    assert info.signature.inputs.input_names() == ["text"]
    scored = ["label", "probability_bad", "probability_good", "words", "known_words", "warning"]
    assert info.signature.outputs.input_names() == scored
    assert info.run_id == run_of(site, "gru seed 0").info.run_id


@in_both
def test_a_logged_model_predicts_as_the_training_did_without_this_projects_code(site: Site, tmp_path: Path) -> None:
    """In a process of its own, in an empty folder: the code comes with the model."""
    (output,) = run_of(site, "lstm seed 0").outputs.model_outputs
    texts, expected = recorded(site, "lstm", 0, "test")
    (tmp_path / "texts.json").write_text(json.dumps(texts))
    code = (
        "import json, sys, mlflow, pandas as pd\n"
        "mlflow.set_tracking_uri(sys.argv[1])\n"
        "model = mlflow.pyfunc.load_model(sys.argv[2])\n"
        "table = model.predict(pd.DataFrame({'text': json.load(open('texts.json'))}))\n"
        "import textrnn\n"
        "assert 'code' in textrnn.__path__[0], textrnn.__path__\n"
        "json.dump({name: table[name].tolist() for name in table}, open('table.json', 'w'))\n"
    )
    environment = {**site.project.environment(), **site.variables}
    del environment["PYTHONPATH"]
    command = [sys.executable, "-c", code, site.client().tracking_uri, f"models:/{output.model_id}"]
    subprocess.run(command, cwd=tmp_path, env=environment, check=True)
    table = json.loads((tmp_path / "table.json").read_text())
    np.testing.assert_allclose(np.array([table["probability_bad"], table["probability_good"]]).T, expected, atol=1e-6)
    assert table["label"] == [("bad", "good")[index] for index in expected.argmax(axis=1)]


def test_a_model_lists_every_package_that_its_code_imports() -> None:
    """Read off the code: in this environment everything is installed, so running it would show nothing."""
    code = import_closure(PROJECT / "src" / "textrnn" / "tracking" / "model_code.py", PROJECT / "src")
    imported = {
        name.split(".")[0] for file in code for node in ast.walk(ast.parse(file.read_text())) for name in names_of(node)
    }
    others = imported - set(sys.stdlib_module_names) - {"textrnn", "__future__"}
    assert others == set(logged_model.REQUIREMENTS)


def names_of(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    return [node.module or ""] if isinstance(node, ast.ImportFrom) else []


@in_both
def test_the_gate_opens_for_the_first_and_explains_itself(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(site.project.folder)
    params = load_params()
    with pytest.raises(TextrnnError, match="the registry has no textrnn-snippets@challenger"):
        promote(site.project.folder, params)
    with pytest.raises(TextrnnError, match="the registry has no textrnn-snippets@champion"):
        champion_model(site.project.folder, params, Path())
    first = site.textrnn("register").text
    assert re.match(r"mean, seed [01], registered as version 1 of textrnn-snippets: [0-9.]+ % on validation", first)
    assert re.search(r"% on test \(95 % interval over texts \d+\.\d to \d+\.\d\)\. Alias: challenger\.", first)
    again = register(site.project.folder, params)
    assert (str(again.version.version), again.is_new) == ("1", False)
    assert promote(site.project.folder, params, dry_run=True).outcome == "promoted"
    assert "champion" not in site.client().get_registered_model(MODEL).aliases
    assert "becomes the first champion: there was none" in site.textrnn("promote").text
    assert promote(site.project.folder, params).outcome == "unchanged"
    version = site.client().get_model_version_by_alias(MODEL, "champion")
    (model,) = models_of(site.client(), site.client().get_run(version.run_id))  # its page lists versions by this tag
    assert json.loads(model.tags["mlflow.modelVersions"]) == [{"name": MODEL, "version": str(version.version)}]
    run = RunFolder.load(site.project.folder / "runs" / "mean")
    assert version.tags["dvc.fingerprint"] == run.fingerprint
    assert version.tags["corpus.dvc"] == site.project.lock()["prepare_corpus"]["outs"][0]["md5"]
    for split in ("valid", "test"):
        assert re.fullmatch(r"0\.\d{4} to (0\.\d{4}|1\.0000)", version.tags[f"{split}_accuracy_interval"])
    assert version.tags["mlflow.source.git.commit"] == site.project.run("git", "rev-parse", "HEAD").text.strip()
    about = version.description
    assert "**Promoted to champion.** mean (version 1) becomes the first champion: there was none." in about
    assert f"version `{version.tags['corpus.dvc']}`" in about
    seed = int(version.tags["seed"])
    _, labels, probabilities = run.probabilities(seed, "test")
    confused = pl.DataFrame({"actual": labels, "predicted": probabilities.argmax(axis=1)})
    for actual, name in enumerate(run.classes):
        counts = [len(confused.filter(pl.col("actual") == actual, pl.col("predicted") == each)) for each in (0, 1)]
        assert f"| {name} | {counts[0]} | {counts[1]} |" in about


@in_the_default_store
def test_a_worse_challenger_is_kept_out_with_an_exit_status(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """`lstm` is made to look best on validation; on the test examples it is not."""
    monkeypatch.chdir(site.project.folder)
    monkeypatch.setattr(registry, "_best_run", lambda project, params, name: RunFolder.load(project / "runs" / "lstm"))
    register(site.project.folder, load_params())
    kept = site.textrnn("promote", ok=False)
    assert kept.status == 3
    assert re.match(
        r"kept: On \d+ test examples of \d+ groups lstm \(version 2\) reaches [0-9.]+% accuracy and "
        r"mean \(version 1\)",
        kept.text,
    )
    assert kept.text.endswith("mean (version 1) stays champion.\n")


@in_the_default_store
def test_a_champion_of_another_corpus_version_scores_the_same_split_anew(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is the same corpus in truth, so what is scored anew must be what was recorded."""
    monkeypatch.chdir(site.project.folder)
    params = load_params()
    recorded = promote(site.project.folder, params, dry_run=True).reason
    client, champion = site.client(), site.client().get_model_version_by_alias(MODEL, "champion")
    client.set_model_version_tag(MODEL, champion.version, "corpus.dvc", "another.dir")
    anew = promote(site.project.folder, params, dry_run=True).reason
    assert anew.startswith(recorded)
    assert "mean (version 1) was trained on another version of the corpus, so it scored the test split" in anew
    corpus = site.project.folder / "data" / "corpus"
    shutil.move(corpus, corpus.with_name("moved"))
    with pytest.raises(TextrnnError, match="data/corpus does not hold the test split that the challenger was tested"):
        promote(site.project.folder, params, dry_run=True)
    shutil.move(corpus.with_name("moved"), corpus)
    client.set_model_version_tag(MODEL, champion.version, "corpus.dvc", champion.tags["corpus.dvc"])


@in_the_default_store
def test_a_served_models_run_has_each_final_score_once(site: Site) -> None:
    client, child = site.client(), run_of(site, "lstm seed 0")
    for score in ("valid_accuracy", "test_log_loss"):
        assert len(client.get_metric_history(child.info.run_id, score)) == 1


@in_both
def test_the_champion_scores_and_is_served_as_it_was_trained(site: Site, tmp_path: Path) -> None:
    version = site.client().get_model_version_by_alias(MODEL, "champion")
    texts, expected = recorded(site, version.tags["experiment"], int(version.tags["seed"]), "test")
    pl.DataFrame({"text": texts}).write_ndjson(tmp_path / "texts.jsonl")
    site.textrnn("predict", "--input", str(tmp_path / "texts.jsonl"), "--output", str(tmp_path / "scored.parquet"))
    scored = pl.read_parquet(tmp_path / "scored.parquet")
    np.testing.assert_allclose(scored.select("^probability_.*$").to_numpy(), expected, atol=1e-6)

    port = free_port()
    with (tmp_path / "log").open("wb") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "textrnn", "serve", "--port", str(port)],
            cwd=site.project.folder,
            env={**site.project.environment(), **site.variables},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        wait_for(f"http://127.0.0.1:{port}/ping", server, tmp_path / "log")

        def ask(content: object) -> requests.Response:
            return requests.post(f"http://127.0.0.1:{port}/invocations", json=content, timeout=120)

        answer = ask({"dataframe_split": {"columns": ["text"], "data": [[text] for text in texts]}}).json()
        got = [[row["probability_bad"], row["probability_good"]] for row in answer["predictions"]]
        np.testing.assert_allclose(got, expected, atol=1e-6)
        odd = ["", "  ", "good " * 100_000, "Прекрасный фильм", "素晴らしい映画", "😀👍🏽", "a\x00b\x1b[31m\ufeff"]
        answer = ask({"dataframe_records": [{"text": text} for text in odd]})
        assert answer.status_code == 200, answer.text[:2000]
        assert len(answer.json()["predictions"]) == len(odd)
        for wrong in ({"dataframe_records": [{"texts": "x"}]}, {"dataframe_records": [{"text": None}]}, {"x": 1}, [1]):
            refused = ask(wrong)
            assert refused.status_code == 400, (wrong, refused.text[:2000])
            assert "Traceback" not in refused.text
        assert "dataframe_records.0.text" in ask({"dataframe_records": [{"text": None}]}).text
        assert ask({"inputs": ["good " * 2_000_000]}).status_code == 413
    finally:
        stop(server)


@in_both
def test_a_killed_training_is_marked_and_parallel_ones_are_recorded_once(site: Site, tmp_path: Path) -> None:
    project = site.project.copy(tmp_path / "project")
    if not site.variables:  # its artifacts are under the path of the project that was copied
        (project.folder / "mlflow.db").unlink()

    def edit(params: dict) -> None:
        for name in ("mean", "gru"):
            params["experiments"][name]["learning_rate"] = 0.02
        params["experiments"]["mean"] |= {"epochs": 30, "batch_size": 1}  # so that there is time to kill it

    store = open_store(project.folder, "tiny/snippets")  # once: it holds the lock that the training waits for

    def runs() -> list[tuple[str, str]]:
        found = store.client.search_runs([store.experiment_id], "params.learning_rate = '0.02'")
        return sorted((run.info.run_name, run.info.status) for run in found)

    project.edit("params.yaml", edit)
    project.dvc("repro", "plan")
    environment = {**project.environment(), **site.variables, **LIVE}
    with (tmp_path / "said").open("w+") as said:
        killed = subprocess.Popen(
            [sys.executable, "-m", "dvc", "repro", "--single-item", "train@mean"],
            cwd=project.folder,
            env=environment,
            stdout=said,
            stderr=said,
            start_new_session=True,
        )
        # Wait for the first epoch, by which MLflow has both runs. Asking SQLite instead may take until the training
        # has ended, because a writer every few milliseconds leaves a reader little room.
        deadline = time.monotonic() + 120
        while "seed 0  epoch  1/" not in (tmp_path / "said").read_text(encoding="utf-8"):
            assert killed.poll() is None, (tmp_path / "said").read_text(encoding="utf-8")
            assert time.monotonic() < deadline
            time.sleep(0.05)
        os.killpg(killed.pid, signal.SIGKILL)
        killed.wait()
    assert runs() == [("mean", "RUNNING"), ("mean seed 0", "RUNNING")], (tmp_path / "said").read_text(encoding="utf-8")

    project.textrnn("repro", "--jobs", "2", **site.variables, **LIVE)
    once = [(f"{name}{seed}", "FINISHED") for name in ("gru", "mean") for seed in ("", " seed 0", " seed 1")]
    assert runs() == sorted([*once, ("mean", "KILLED"), ("mean seed 0", "KILLED")])


@in_the_default_store
def test_a_clone_that_pulls_shows_the_same_runs_without_training(site: Site, tmp_path: Path) -> None:
    origin = site.project
    clone = TinyProject(tmp_path / "clone", origin.home)
    for project in (origin, clone):
        if project is clone:
            origin.run("git", "clone", "--quiet", str(origin.folder), str(clone.folder))
        project.dvc("remote", "add", "--local", "--default", "shared", str(tmp_path / "remote"))
        project.dvc("push" if project is origin else "pull")
    assert clone.textrnn("sync").lines[0] == "MLflow: 6 runs agree with the files (6 created)"
    for name in ("lstm seed 1", "mean", "nb-svm"):
        ours, theirs = (run_of(Site(project, {}), name) for project in (clone, origin))
        timing = {key for key in theirs.data.metrics if "seconds" in key or "per_second" in key}
        expected = {key: value for key, value in theirs.data.metrics.items() if key not in timing}
        assert ours.data.metrics == pytest.approx(expected)
        assert ours.data.params == theirs.data.params


@on_a_server
def test_a_stranger_is_refused(site: Site) -> None:
    address = site.variables["MLFLOW_TRACKING_URI"]
    wrong = site.project.textrnn("sync", ok=False, **{**site.variables, "MLFLOW_TRACKING_PASSWORD": "wrong"})
    assert wrong.status == 1
    assert wrong.text.startswith("error: MLflow cannot be reached, or refuses: ")
    assert "Traceback" not in wrong.text
    search = f"{address}/api/2.0/mlflow/experiments/search?max_results=1"
    known = (site.variables["MLFLOW_TRACKING_USERNAME"], site.variables["MLFLOW_TRACKING_PASSWORD"])
    assert requests.get(search, auth=known, timeout=60).status_code == 200
    assert requests.get(search, auth=(known[0], "wrong"), timeout=60).status_code == 401
    assert requests.get(search, auth=known, headers={"Host": "evil.example"}, timeout=60).status_code == 403
