"""MLflow is made to agree with run folders: from nothing, after a live training, and after things went wrong."""

from __future__ import annotations

import io
import json
import shutil
import socket
import sqlite3
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil
import pytest
from child import environment
from fake_runs import make_run
from mlflow.entities import LoggedModelOutput, LoggedModelStatus, Run
from mlflow.exceptions import MlflowException
from rich.console import Console
from tiny_project import PARAMS

from textrnn.config.params import Params, load_params
from textrnn.config.sections import BaselineParams
from textrnn.errors import TextrnnError
from textrnn.project.origin import Origin
from textrnn.run_folder import MEASURES, RunFolder
from textrnn.tracking import runs, source
from textrnn.tracking.lineage import lineage
from textrnn.tracking.live import LIVE_AFTER, LiveRun
from textrnn.tracking.record import PARENT, TrackedRun
from textrnn.tracking.runs import history, scores, versions
from textrnn.tracking.source import ARTIFACTS, SYNCED, Recorded, read_records
from textrnn.tracking.store import PROCESS, REMOTE_SECONDS, Store, is_alive, open_store, this_process
from textrnn.tracking.sync import Synced, sync
from textrnn.tracking.view import COST, INTERVAL, SIZE, TEST, VALIDATION, VERDICT

NAN = "the loss is no longer a finite number in epoch 2"
NAMES = ["lstm", "gru", "mean", "majority", "nb-svm"]


@pytest.fixture(autouse=True)
def default_store(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MLFLOW_TRACKING_URI", "DVC_EXP_NAME", "DVC_EXP_BASELINE_REV", "DVC_ROOT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(LIVE_AFTER, "0")


@pytest.fixture
def params(tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch) -> Params:
    """A study of three experiments and two baselines, with the run folders of all of them."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(empty_store, tmp_path)
    (tmp_path / "params.yaml").write_text(PARAMS, encoding="utf-8")
    params = load_params(tmp_path / "params.yaml")
    for name, experiment in params.experiments.items():
        failures = {"1": NAN} if name == "gru" else {}
        given = {"params": experiment.model_dump(), "seeds": [0, 1], "epochs": 3, "failures": failures}
        make_run(tmp_path / "runs", name, fingerprint=name.ljust(64, "0"), **given)
    for name, baseline in params.baselines.items():
        settings = baseline.model_dump(exclude_none=True)
        make_run(tmp_path / "runs", name, kind="baseline", params=settings, fingerprint=name.ljust(64, "0"))
    return params


class Completed:
    """In place of pictures and models: remembers the names of runs, and logs models without files."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def __call__(self, store: Store, run: RunFolder, recorded: Recorded) -> None:
        assert set(recorded.ids) == set(run.seeds)
        self.names.append(run.name)
        for seed in run.finished_seeds if run.kind == "experiment" else ():
            child_id = recorded.ids[seed]
            model = store.client.create_logged_model(store.experiment_id, source_run_id=child_id)
            store.client.log_outputs(child_id, [LoggedModelOutput(model.model_id, step=0)])
            store.client.finalize_logged_model(model.model_id, LoggedModelStatus.READY)


ROW = (VALIDATION, TEST, INTERVAL, VERDICT, SIZE, COST)


def all_runs(folder: Path) -> list[Run]:
    store = open_store(folder, "tiny/snippets")
    return list(store.client.search_runs([store.experiment_id]))


def snapshot(folder: Path) -> dict[str, Any]:
    """Everything except when, where and under which id it was written, and what only `sync` adds."""
    client = open_store(folder, "tiny/snippets").client
    shown = {}
    added = (PROCESS, PARENT, SYNCED, ARTIFACTS, *ROW)
    for run in all_runs(folder):
        means = () if PARENT in run.data.tags else MEASURES
        keys = [key for key in run.data.metrics if key not in means]
        points = {key: client.get_metric_history(run.info.run_id, key) for key in keys}
        shown[run.info.run_name] = {
            "status": run.info.status,
            "params": run.data.params,
            "tags": {key: tag for key, tag in run.data.tags.items() if key not in added},
            "curves": {key: {(point.step, point.value) for point in curve} for key, curve in points.items()},
        }
    return shown


def train_live(folder: Path, params: Params, name: str, *, epochs: int = 3, lost: bool = False) -> None:
    """Logs what a training logs whose run folder is there already; `lost` stops after `epochs` of the first seed."""
    run = RunFolder.load(folder / "runs" / name)
    tracked = TrackedRun(
        study=params.study,
        corpus=params.corpus,
        name=name,
        kind="experiment",
        stage=f"train@{name}",
        params=params.experiments[name].model_dump(),
        fingerprint=run.fingerprint,
        datasets={},
        defaults=params.train,
    )
    live = LiveRun(tracked, folder)
    finals = []
    for seed in run.seeds:
        live.start_seed(seed)
        for row in history(run, seed)[:epochs]:
            live.epoch(row)
        if lost:
            return
        timing = {"seconds": 1.5 + seed}
        live.end_seed({**scores(run, seed), **timing}, run.failures.get(str(seed)))
        finals.append(timing)
    live.end(run.cost, run.failure)
    seeds = {str(seed): timing for seed, timing in zip(run.seeds, finals, strict=True)}
    (folder / "timings").mkdir(exist_ok=True)
    (folder / "timings" / f"{name}.json").write_text(json.dumps({"fingerprint": run.fingerprint, "seeds": seeds}))


def test_from_nothing_every_run_is_made_whole_and_again_nothing_changes(tmp_path: Path, params: Params) -> None:
    completed = Completed()
    assert sync(tmp_path, params, completed) == Synced(created=NAMES)
    assert completed.names == NAMES
    first = snapshot(tmp_path)
    ids = {run.info.run_id for run in all_runs(tmp_path)}
    assert sorted(first) == sorted(
        [*NAMES, *(f"{name} seed {seed}" for name in NAMES[:3] for seed in (0, 1)), *(f"{b} seed 0" for b in NAMES[3:])]
    )
    assert {name: run["status"] for name, run in first.items() if run["status"] != "FINISHED"} == {
        "gru": "FAILED",
        "gru seed 1": "FAILED",
    }
    files = RunFolder.load(tmp_path / "runs" / "lstm")
    child = first["lstm seed 1"]
    assert child["curves"]["val_loss"] == {(row["epoch"], row["val_loss"]) for row in history(files, 1)}
    assert child["curves"]["valid_accuracy"] == {(0, 0.75)}
    assert first["lstm"]["curves"]["valid_accuracy_mean"] == {(0, 0.75)}
    assert first["lstm"]["curves"]["parameters"] == {(0, 640_129)}
    assert first["gru"]["tags"]["failure"] == f"seed 1: {NAN}"
    assert first["mean"]["tags"]["mlflow.note.content"] == (
        "Starts from the embedding glove and differs from the study's defaults in "
        'cell "feedforward", readout "mean", epochs 1.'
    )
    assert first["nb-svm"]["tags"]["mlflow.note.content"].startswith("Baseline nb_svm with ngrams 2, min_count 1")

    assert sync(tmp_path, params, completed) == Synced(unchanged=NAMES)
    assert completed.names == NAMES
    assert snapshot(tmp_path) == first
    assert {run.info.run_id for run in all_runs(tmp_path)} == ids


def test_live_runs_are_replaced_by_complete_ones_with_the_same_content(
    tmp_path: Path, params: Params, empty_store: Path
) -> None:
    for name in params.experiments:
        train_live(tmp_path, params, name)
    live, ids = snapshot(tmp_path), {run.info.run_id for run in all_runs(tmp_path)}
    assert live["lstm seed 1"]["curves"]["seconds"] == {(0, 2.5)}
    assert sync(tmp_path, params, Completed()) == Synced(created=NAMES)
    assert ids.isdisjoint(run.info.run_id for run in all_runs(tmp_path))
    before = snapshot(tmp_path)
    assert live.items() <= before.items()
    took = {run.info.run_name: run.info.end_time - run.info.start_time for run in all_runs(tmp_path)}
    assert (took["lstm seed 0"], took["lstm seed 1"], took["lstm"]) == pytest.approx((1500, 2500, 4000), abs=900)
    bare = tmp_path / "without the store"
    for folder in ("runs", "timings"):
        shutil.copytree(tmp_path / folder, bare / folder)
    shutil.copy(empty_store, bare)
    assert sync(bare, params, Completed()) == Synced(created=NAMES)
    assert snapshot(bare) == before


def test_a_live_runs_origin_outlasts_it(tmp_path: Path, params: Params, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of an experiment of DVC's queue nothing else says which changes it was made with."""
    changed = Origin("c" * 40, "a patch of the training\n", "wide-hope")
    with monkeypatch.context() as queue:
        queue.setattr(Origin, "of_checkout", lambda folder: changed)
        train_live(tmp_path, params, "lstm")
    assert "lstm" in sync(tmp_path, params, Completed()).created
    (parent,) = [run for run in all_runs(tmp_path) if run.info.run_name == "lstm"]
    tags = parent.data.tags
    assert (tags["mlflow.source.git.commit"], tags["dvc.exp_name"]) == ("c" * 40, "wide-hope")
    assert (tags["git.dirty"], tags["dvc.restore"]) == ("true", "dvc exp apply wide-hope")
    client = open_store(tmp_path, "tiny/snippets").client
    patch = client.download_artifacts(parent.info.run_id, "uncommitted.patch", str(tmp_path))
    assert Path(patch).read_text(encoding="utf-8") == changed.patch


def test_a_run_that_lost_the_server_is_replaced(tmp_path: Path, params: Params) -> None:
    train_live(tmp_path, params, "lstm", epochs=2)
    assert sync(tmp_path, params, Completed()) == Synced(created=NAMES)
    assert [run.info.run_name for run in all_runs(tmp_path)].count("lstm") == 1
    assert len(snapshot(tmp_path)["lstm seed 0"]["curves"]["loss"]) == 3


def test_the_same_training_recorded_again_is_kept_once(tmp_path: Path, params: Params) -> None:
    train_live(tmp_path, params, "lstm")
    train_live(tmp_path, params, "lstm")
    assert sync(tmp_path, params, Completed()) == Synced(created=NAMES)
    train_live(tmp_path, params, "lstm")
    assert sync(tmp_path, params, Completed()) == Synced(unchanged=NAMES, removed=["lstm"])
    assert sorted(run.info.run_name for run in all_runs(tmp_path) if run.data.tags["experiment"] == "lstm") == [
        "lstm",
        "lstm seed 0",
        "lstm seed 1",
    ]


def test_what_a_killed_process_left_open_is_marked_and_what_still_runs_is_not(tmp_path: Path, params: Params) -> None:
    train_live(tmp_path, params, "gru", lost=True)  # by this very process, so it may go on
    code = (
        "import os, sys; from pathlib import Path\n"
        f"from {__name__} import load_params, train_live\n"
        "folder = Path(sys.argv[1])\n"
        "train_live(folder, load_params(folder / 'params.yaml'), 'lstm', lost=True)\n"
        "os.kill(os.getpid(), 9)"
    )
    killed = subprocess.run([sys.executable, "-c", code, str(tmp_path)], env=environment())
    assert killed.returncode == -9
    assert sync(tmp_path, params, Completed()) == Synced(
        created=NAMES, abandoned=["lstm seed 0", "lstm"], running=["gru seed 0", "gru"]
    )
    found = sorted((run.info.run_name, run.info.status) for run in all_runs(tmp_path))
    assert [status for name, status in found if name == "lstm"] == ["FINISHED", "KILLED"]
    assert [status for name, status in found if name == "gru"] == ["FAILED", "RUNNING"]


def test_models_that_a_kill_left_half_made_are_deleted(tmp_path: Path, params: Params) -> None:
    class Killed(Completed):
        def __call__(self, store: Store, run: RunFolder, recorded: Recorded) -> None:
            store.client.create_logged_model(store.experiment_id, source_run_id=recorded.ids[run.seeds[0]])
            raise KeyboardInterrupt

    def models() -> list[tuple[str, str]]:
        names = {run.info.run_id: run.info.run_name for run in all_runs(tmp_path)}
        found = store.client.search_logged_models([store.experiment_id])
        return sorted((names.get(model.source_run_id, "deleted"), model.status) for model in found)

    with pytest.raises(KeyboardInterrupt):
        sync(tmp_path, params, Killed())
    sync(tmp_path, params, Completed())
    store = open_store(tmp_path, "tiny/snippets")
    complete = models()
    assert {status for _, status in complete} == {"READY"}
    assert "deleted" not in dict(complete)
    for record in read_records(store):  # as if some of their files were gone
        store.client.set_tag(record.parent.info.run_id, ARTIFACTS, "other")
    with pytest.raises(KeyboardInterrupt):
        sync(tmp_path, params, Killed())
    assert models() != complete
    sync(tmp_path, params, lambda *_: None)
    assert models() == complete


def test_another_machines_training_is_given_a_day(
    tmp_path: Path, params: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr("socket.gethostname", lambda: "another")
        train_live(tmp_path, params, "lstm", epochs=2, lost=True)
    done = sync(tmp_path, params, Completed())
    assert (done.abandoned, done.running) == ([], ["lstm seed 0", "lstm"])
    now = time.time()
    monkeypatch.setattr("time.time", lambda: now + REMOTE_SECONDS + 1)
    assert sync(tmp_path, params, Completed()).abandoned == ["lstm seed 0", "lstm"]


def test_two_that_sync_at_once_leave_what_one_would(tmp_path: Path, params: Params) -> None:
    open_store(tmp_path, "tiny/snippets")
    with ThreadPoolExecutor() as both:
        done = list(both.map(lambda _: sync(tmp_path, params, Completed()), range(2)))
    assert sorted(done, key=str) == [Synced(created=NAMES), Synced(unchanged=NAMES)]
    assert len(all_runs(tmp_path)) == len(NAMES) + 8


def test_other_content_of_a_run_is_another_record(tmp_path: Path, params: Params) -> None:
    sync(tmp_path, params, Completed())
    file = tmp_path / "runs" / "lstm" / "run.json"
    file.write_text(file.read_text().replace("lstm".ljust(64, "0"), "f" * 64))
    done = sync(tmp_path, params, Completed())
    assert (done.created, done.removed) == (["lstm"], [])
    parents = [run for run in all_runs(tmp_path) if run.info.run_name == "lstm"]
    assert {run.data.tags["dvc.fingerprint"][:4] for run in parents} == {"lstm", "ffff"}
    assert all(SYNCED in run.data.tags for run in parents)


def test_what_somebody_deleted_in_the_dashboard_comes_back(tmp_path: Path, params: Params) -> None:
    sync(tmp_path, params, Completed())
    before = snapshot(tmp_path)
    by_name = {run.info.run_name: run.info.run_id for run in all_runs(tmp_path)}
    client = open_store(tmp_path, "tiny/snippets").client
    for name in ("lstm seed 1", "gru"):  # of one a seed, of the other the parent
        client.delete_run(by_name[name])
    done = sync(tmp_path, params, Completed())
    assert (done.created, done.unchanged) == (["lstm", "gru"], NAMES[2:])
    assert sorted(done.removed) == ["gru seed 0", "gru seed 1"]
    assert snapshot(tmp_path) == before
    assert len(all_runs(tmp_path)) == len(by_name)


def test_runs_of_other_params_or_without_files_are_not_shown_as_the_studys(tmp_path: Path, params: Params) -> None:
    shutil.rmtree(tmp_path / "runs" / "mean")
    text = PARAMS.replace("gru: {embedding: glove, cell: gru, epochs: 1}", "gru: {embedding: glove, units: 9}")
    (tmp_path / "params.yaml").write_text(text, encoding="utf-8")
    done = sync(tmp_path, load_params(tmp_path / "params.yaml"), Completed())
    assert done == Synced(created=["lstm", "majority", "nb-svm"], outdated=["gru", "mean"])
    assert str(done) == "3 runs agree with the files (3 created, 2 outdated)"


def test_a_setting_that_is_newer_than_a_baseline_is_off(
    tmp_path: Path, params: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Newer(BaselineParams):
        lower: bool = False

    def is_current(lower: bool) -> bool:
        newer = Newer(**params.baselines["nb-svm"].model_dump(), lower=lower)
        study = params.model_copy(update={"baselines": {"nb-svm": newer}})
        return runs.current_run(tmp_path, study, "nb-svm") is not None

    monkeypatch.setattr(runs, "BaselineParams", Newer)
    assert is_current(lower=False)
    assert not is_current(lower=True)


def test_a_sync_that_was_interrupted_goes_on(tmp_path: Path, params: Params) -> None:
    def interrupt(store: Store, run: RunFolder, recorded: Recorded) -> None:
        if run.name == "gru":
            raise KeyboardInterrupt
        Completed()(store, run, recorded)

    with pytest.raises(KeyboardInterrupt):
        sync(tmp_path, params, interrupt)
    done = sync(tmp_path, params, Completed())
    assert (done.unchanged, done.created) == (["lstm"], NAMES[1:])
    assert [run.info.run_name for run in all_runs(tmp_path)].count("gru") == 1


def test_artifacts_are_digested_once_each_sync(tmp_path: Path, params: Params, monkeypatch: pytest.MonkeyPatch) -> None:
    sync(tmp_path, params, Completed())
    asked: list[str] = []

    def contents(store: Store, record: Recorded) -> str:
        asked.append(record.parent.info.run_name)
        return source.contents(store, record)

    monkeypatch.setattr("textrnn.tracking.sync.contents", contents)
    assert sync(tmp_path, params, Completed()) == Synced(unchanged=NAMES)
    assert asked == NAMES


def test_every_registered_version_counts_not_one_page_of_them(
    tmp_path: Path, params: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("textrnn.tracking.store.PAGE", 2)
    client = open_store(tmp_path, "tiny/snippets").client
    client.create_registered_model("textrnn-snippets")
    for number in range(5):
        client.create_model_version("textrnn-snippets", source=tmp_path.as_uri(), run_id=None, tags={"n": str(number)})
    found = versions(client, "textrnn-snippets")
    assert sorted(each.tags["n"] for each in found) == ["0", "1", "2", "3", "4"]


def test_lineage_lists_parents_and_seeds(tmp_path: Path, params: Params) -> None:
    with pytest.raises(TextrnnError, match=r"MLflow has no run of lstm. Run `textrnn sync`"):
        lineage(tmp_path, params, "lstm", 80)
    with pytest.raises(TextrnnError, match=r"the study has no run 'rnn'. Known: lstm, gru, mean, majority, nb-svm"):
        lineage(tmp_path, params, "rnn", 80)
    sync(tmp_path, params, Completed())
    ids = {run.info.run_name: run.info.run_id for run in all_runs(tmp_path)}
    wide = shown(tmp_path, params, 80)
    assert wide[0].split() == ["run", "id", "seed", "status", "valid", "test", "fingerprint", "commit"]
    assert [line.split() for line in wide[1:4]] == [
        [ids["gru"], "all", "failed", "75.0", "60.0", "gru0000*"],
        [ids["gru seed 0"], "0", "finished", "75.0", "60.0", "gru0000*"],
        [ids["gru seed 1"], "1", "failed", "gru0000*"],
    ]
    narrow = shown(tmp_path, params, 40)
    assert narrow[:7] == [
        *(f"run id {ids['gru']}", "seed all", "status failed", "valid 75.0", "test 60.0", "fingerprint gru0000*"),
        "",
    ]
    assert narrow[14:18] == [f"run id {ids['gru seed 1']}", "seed 1", "status failed", "fingerprint gru0000*"]


def shown(folder: Path, params: Params, width: int) -> list[str]:
    """The lines that `textrnn runs show gru` prints on a terminal of so many columns."""
    shown = io.StringIO()
    Console(width=width, file=shown).print(lineage(folder, params, "gru", width))
    lines = [line.rstrip() for line in shown.getvalue().splitlines()]
    assert max(map(len, lines)) <= width
    assert "…" not in "".join(lines)
    return lines


def test_a_process_that_ended_and_was_not_waited_for_is_no_more() -> None:
    child = subprocess.Popen(["sleep", "60"])
    known = psutil.Process(child.pid)
    name = f"{socket.gethostname()}:{child.pid}:{known.create_time():.0f}"
    assert is_alive(name, opened=0)
    child.kill()
    while known.status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.01)
    assert not is_alive(name, opened=0)
    child.wait()
    assert not is_alive(name, opened=0)


def test_a_process_is_known_by_more_than_its_number() -> None:
    assert this_process().count(":") == 2


@pytest.mark.parametrize("statement", ["", "CREATE TABLE issues (id INTEGER)"])
def test_a_database_whose_tables_a_kill_left_half_made_is_made_anew(
    params: Params, tmp_path: Path, statement: str
) -> None:
    """MLflow itself cannot go on there."""
    file = tmp_path / "mlflow.db"
    file.unlink()
    with closing(sqlite3.connect(file)) as database, database:
        database.execute(statement)
    assert sync(tmp_path, params, Completed()).created == NAMES
    with closing(sqlite3.connect(file)) as database, database:
        database.execute("DROP TABLE tags")
    with pytest.raises(MlflowException, match="no such table: tags"):
        sync(tmp_path, params, Completed())
    assert file.is_file(), "it holds runs"
