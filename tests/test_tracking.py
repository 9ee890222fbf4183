"""Runs in a real SQLite store, by one process and by several, and stores that are unreachable."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from child import environment
from mlflow import MlflowClient
from mlflow.entities import Run

from textrnn.project.dvc_lock import hashes
from textrnn.project.origin import Origin, project_folder
from textrnn.tracking import store
from textrnn.tracking.live import LIVE_AFTER, LiveRun
from textrnn.tracking.record import TrackedRun

UNREACHABLE = "http://127.0.0.1:9"
FINGERPRINT = "f" * 64


def make_run(**changes: Any) -> TrackedRun:
    plain: dict[str, Any] = {
        "study": "tiny",
        "corpus": "reviews",
        "name": "lstm-glove",
        "kind": "experiment",
        "stage": "train@lstm-glove",
        "params": {"cell": "lstm", "embedding": "glove", "ema": None, "units": 4},
        "fingerprint": FINGERPRINT,
        "datasets": {"data/tokens": "0123456789abcdef0123456789abcdef.dir", "data/embeddings/glove": "77"},
    }
    return TrackedRun(**{**plain, **changes})


def make_row(seed: int, epoch: int) -> dict[str, Any]:
    return {"seed": seed, "epoch": epoch, "loss": seed + 1 / epoch, "val_accuracy": 0.5 + epoch / 10}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One store for all tests: setting one up takes seconds."""
    return tmp_path_factory.mktemp("project")


@pytest.fixture(autouse=True)
def default_store(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MLFLOW_TRACKING_URI", "DVC_EXP_NAME", "DVC_EXP_BASELINE_REV", "DVC_ROOT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(LIVE_AFTER, "0")


def test_the_description_says_which_training_the_models_are_of() -> None:
    params = make_run().params
    once, again = (make_run(params={**params, "refit": refit}).description for refit in (False, True))
    assert "second training" not in once
    assert again.endswith(" Models and test figures are of a second training, with the validation texts.")


def runs_of(project: Path, study: str) -> dict[str, Run]:
    client = MlflowClient(tracking_uri=f"sqlite:///{project / 'mlflow.db'}")
    experiment = client.get_experiment_by_name(f"{study}/reviews")
    assert experiment is not None
    return {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}


def test_a_training_is_a_parent_and_a_child_for_each_seed(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DVC_EXP_NAME", "wide-hope")
    live = LiveRun(make_run(study="whole"), project)
    for seed, accuracy in ((0, 0.7), (3, 0.9)):
        live.start_seed(seed)
        for epoch in (1, 2):
            live.epoch(make_row(seed, epoch))
        live.end_seed({"valid_accuracy": accuracy})
    live.end({"parameters": 35.0})

    runs = runs_of(project, "whole")
    assert sorted(runs) == ["lstm-glove", "lstm-glove seed 0", "lstm-glove seed 3"]
    parent, child = runs["lstm-glove"], runs["lstm-glove seed 3"]
    assert {run.info.status for run in runs.values()} == {"FINISHED"}
    assert child.data.tags["mlflow.parentRunId"] == parent.info.run_id
    assert child.data.tags["seed"] == "3"
    assert "mlflow.parentRunId" not in parent.data.tags
    for run in runs.values():
        tags = {
            "study": "whole",
            "corpus": "reviews",
            "experiment": "lstm-glove",
            "cell": "lstm",
            "embedding": "glove",
            "dvc.stage": "train@lstm-glove",
            "dvc.fingerprint": FINGERPRINT,
            "dvc.exp_name": "wide-hope",
        }
        assert tags.items() <= run.data.tags.items()
        inputs = {(item.dataset.name, item.dataset.digest) for item in run.inputs.dataset_inputs}
        assert inputs == set(make_run().datasets.items())

    assert parent.data.params == {"cell": "lstm", "embedding": "glove", "ema": "None", "units": "4"}
    assert child.data.params == {**parent.data.params, "seed": "3"}
    assert child.data.metrics == {"loss": 3.5, "val_accuracy": 0.7, "valid_accuracy": 0.9}
    assert parent.data.metrics == {
        "parameters": 35.0,
        "valid_accuracy_mean": pytest.approx(0.8),
        "valid_accuracy_std": pytest.approx(0.141421, rel=1e-5),  # sqrt(0.02), of two seeds
    }
    client = MlflowClient(tracking_uri=f"sqlite:///{project / 'mlflow.db'}")
    curve = client.get_metric_history(child.info.run_id, "loss")
    assert [(point.step, point.value) for point in curve] == [(1, 4.0), (2, 3.5)]


def test_one_seed_has_no_spread(project: Path) -> None:
    live = LiveRun(make_run(study="single"), project)
    live.start_seed(0)
    live.end_seed({"valid_accuracy": 0.7})
    live.end({})
    assert runs_of(project, "single")["lstm-glove"].data.metrics == {"valid_accuracy_mean": 0.7}


def test_a_run_says_from_which_commit_and_changes_it_comes(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    params = tmp_path / "params.yaml"

    def git(*arguments: str) -> str:
        who = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
        return subprocess.run(["git", *who, *arguments], check=True, capture_output=True, text=True).stdout.strip()

    def logged(study: str) -> Run:
        LiveRun(make_run(study=study), project).end({})
        return runs_of(project, study)["lstm-glove"]

    params.write_text("units: 32\n")
    (tmp_path / "dvc.lock").write_text("old")
    git("init", "-q")
    git("add", ".")
    git("commit", "-q", "-m", "first")
    head = git("rev-parse", "HEAD")
    (tmp_path / "dvc.lock").write_text("new")  # by the stage before
    clean = logged("clean").data.tags
    assert (clean["mlflow.source.git.commit"], clean["git.dirty"]) == (head, "false")
    assert clean["dvc.restore"] == f"git checkout {head} && dvc repro --pull train@lstm-glove"

    params.write_text("units: 64\n")
    dirty = logged("dirty")
    assert dirty.data.tags["git.dirty"] == "true"
    assert dirty.data.tags["dvc.restore"] == (
        f"git checkout {head} && git apply uncommitted.patch && dvc repro --pull train@lstm-glove"
    )
    client = MlflowClient(tracking_uri=f"sqlite:///{project / 'mlflow.db'}")
    patch = client.download_artifacts(dirty.info.run_id, "uncommitted.patch", str(tmp_path))
    git("checkout", "--quiet", ".")
    git("apply", patch)
    assert params.read_text() == "units: 64\n"

    monkeypatch.setenv("DVC_EXP_BASELINE_REV", head)
    monkeypatch.setenv("DVC_EXP_NAME", "wide-hope")
    git("commit", "-q", "--all", "-m", "what DVC makes of an experiment")
    queued = logged("queued").data.tags
    assert (queued["mlflow.source.git.commit"], queued["git.dirty"]) == (head, "true")
    assert queued["dvc.restore"] == "dvc exp apply wide-hope"


def test_a_result_is_traced_to_the_commit_that_first_had_it(tmp_path: Path) -> None:
    def git(*arguments: str) -> str:
        who = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
        done = subprocess.run(["git", *who, *arguments], check=True, capture_output=True, text=True, cwd=tmp_path)
        return done.stdout.strip()

    git("init", "-q")
    commits = []
    for content in ("md5: aa.dir", "md5: bb.dir", "md5: bb.dir\nmd5: cc.dir"):
        (tmp_path / "dvc.lock").write_text(content)
        git("add", ".")
        git("commit", "-q", "-m", content)
        commits.append(git("rev-parse", "HEAD"))
    (tmp_path / "dvc.lock").write_text("md5: dd.dir")
    for output, commit in (("aa.dir", commits[0]), ("bb.dir", commits[1]), ("cc.dir", commits[2])):
        assert Origin.of_result(tmp_path, output) == Origin(commit)
    assert Origin.of_result(tmp_path, "dd.dir") == Origin(commits[2])  # not committed: the checkout's
    assert Origin.of_result(tmp_path / "..", "dd.dir") == Origin(None)


def test_a_users_own_sqlite_store_is_found_from_anywhere_and_waits_for_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its path is relative to the project, and so are its artifacts: DVC's queue works in another folder."""
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///mine.db")
    opened = store.open_store(tmp_path, "tiny/reviews")
    assert opened.uri == f"sqlite+pysqlite:///{tmp_path}/mine.db?timeout={store.LOCK_SECONDS}"
    experiment = opened.client.get_experiment(opened.experiment_id)
    assert experiment.artifact_location == f"{(tmp_path / 'mlartifacts').as_uri()}"
    assert [path.name for path in (tmp_path / "elsewhere").iterdir()] == []


def test_a_failed_seed_marks_its_run_and_the_parent(project: Path) -> None:
    live = LiveRun(make_run(study="diverged"), project)
    live.start_seed(0)
    live.epoch({"seed": 0, "epoch": 1, "gradient_norm": float("inf")})
    live.end_seed({}, "the loss is no longer a finite number in epoch 2")
    live.start_seed(1)
    live.end_seed({"valid_accuracy": 0.7})
    live.end({"parameters": 35.0}, "the loss is no longer a finite number in epoch 2")
    runs = runs_of(project, "diverged")
    assert {name: run.info.status for name, run in runs.items()} == {
        "lstm-glove": "FAILED",
        "lstm-glove seed 0": "FAILED",
        "lstm-glove seed 1": "FINISHED",
    }
    for name in ("lstm-glove", "lstm-glove seed 0"):
        assert runs[name].data.tags["failure"] == "the loss is no longer a finite number in epoch 2"
    assert runs["lstm-glove"].data.metrics == {"parameters": 35.0, "valid_accuracy_mean": 0.7}


def test_an_interrupted_training_is_killed_and_what_was_finished_stays_so(project: Path) -> None:
    with suppress(KeyboardInterrupt), LiveRun(make_run(study="interrupted"), project) as live:
        live.start_seed(0)
        live.end_seed({"valid_accuracy": 0.7})
        live.start_seed(1)
        raise KeyboardInterrupt
    with suppress(KeyboardInterrupt), LiveRun(make_run(study="interrupted", name="gru"), project) as between:
        between.start_seed(0)
        between.end_seed({"valid_accuracy": 0.7})
        raise KeyboardInterrupt
    assert {name: run.info.status for name, run in runs_of(project, "interrupted").items()} == {
        "lstm-glove": "KILLED",
        "lstm-glove seed 0": "FINISHED",
        "lstm-glove seed 1": "KILLED",
        "gru": "KILLED",
        "gru seed 0": "FINISHED",
    }


def test_a_short_training_neither_logs_nor_imports_mlflow(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path\n"
        "from textrnn.tracking.live import LiveRun\n"
        "from textrnn.tracking.record import TrackedRun\n"
        "live = LiveRun(TrackedRun('tiny', 'reviews', 'lstm', 'experiment', 'train@lstm', {}, '0', {}), Path())\n"
        "live.start_seed(0); live.epoch({'epoch': 1, 'loss': 1.0}); live.end_seed({'loss': 1.0}); live.end({})\n"
        "live.__exit__(KeyboardInterrupt)\n"
        "assert 'mlflow' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], env=environment(**{LIVE_AFTER: "60"}), cwd=tmp_path, check=True)
    assert list(tmp_path.iterdir()) == []


def test_a_training_appears_when_it_has_run_long_enough(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    monkeypatch.setenv(LIVE_AFTER, "60")
    live = LiveRun(make_run(study="long"), project)
    live.start_seed(0)
    live.epoch(make_row(0, 1))
    clock[0] += 61
    live.epoch(make_row(0, 2))
    runs = runs_of(project, "long")
    assert {name: run.info.status for name, run in runs.items()} == dict.fromkeys(
        ("lstm-glove", "lstm-glove seed 0"), "RUNNING"
    )
    client = MlflowClient(tracking_uri=f"sqlite:///{project / 'mlflow.db'}")
    curve = client.get_metric_history(runs["lstm-glove seed 0"].info.run_id, "loss")
    assert [(point.step, point.value) for point in curve] == [(1, 1.0), (2, 0.5)]


def test_an_experiment_of_dvc_is_logged_however_short(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may never be applied, and so never be synced."""
    monkeypatch.setenv(LIVE_AFTER, "60")
    monkeypatch.setenv("DVC_EXP_NAME", "wide-hope")
    LiveRun(make_run(study="short"), project).end({})
    assert runs_of(project, "short")["lstm-glove"].data.tags["dvc.exp_name"] == "wide-hope"


def go_through(live: LiveRun) -> None:
    for seed in (0, 1):
        live.start_seed(seed)
        live.epoch(make_row(seed, 1))
        live.end_seed({"valid_accuracy": 0.7})
    live.end({})
    live.__exit__(KeyboardInterrupt)


@pytest.mark.parametrize(
    "uri",
    [
        UNREACHABLE,
        "sqlite:///{folder}/broken.db",
        "nowhere://at/all",
        "http://[::1",
        "postgresql://h:port/x",
        "sqlite+a+b://x",
    ],
)
def test_an_unreachable_store_is_one_warning_and_soon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], uri: str
) -> None:
    (tmp_path / "broken.db").write_bytes(b"this is no database, however long one reads on in it")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri.format(folder=tmp_path))
    started = time.monotonic()
    go_through(LiveRun(make_run(), tmp_path))
    assert time.monotonic() - started < 20
    printed = capsys.readouterr().err
    assert printed.startswith("warning: training continues without MLflow: ")
    assert printed.count("\n") == 1
    assert not (tmp_path / "mlflow.db").exists()


def test_a_store_that_takes_a_request_and_never_answers_is_one_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{mute.getsockname()[1]}")
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
        started = time.monotonic()
        go_through(LiveRun(make_run(), tmp_path))
    assert time.monotonic() - started < 20
    printed = capsys.readouterr().err
    assert printed.startswith("warning: training continues without MLflow: ")
    assert printed.count("\n") == 1


def test_a_store_that_becomes_unreachable_causes_one_warning(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    live = LiveRun(make_run(study="lost"), project)

    def refuse(*args: Any, **kwargs: Any) -> None:
        raise ConnectionError  # it has no text of its own

    monkeypatch.setattr(store.MlflowClient, "log_batch", refuse)
    go_through(live)
    assert capsys.readouterr().err == "warning: training continues without MLflow: ConnectionError.\n"


def test_four_processes_that_start_at_once_on_an_empty_store(tmp_path: Path) -> None:
    """Two that migrate an empty SQLite file at once would break it, and a writer waits for the others."""
    code = (
        f"import sys; from pathlib import Path; from {__name__} import LiveRun, go_through, make_run\n"
        "go_through(LiveRun(make_run(name=sys.argv[1]), Path(sys.argv[2])))"
    )
    names = list("abcd")
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code, name, str(tmp_path)],
            env=environment(),
            cwd=tmp_path,
            stderr=subprocess.PIPE,
            text=True,
        )
        for name in names
    ]
    assert [process.communicate()[1] for process in processes] == [""] * len(names)
    runs = runs_of(tmp_path, "tiny")
    assert sorted(runs) == sorted(name + seed for name in names for seed in ("", " seed 0", " seed 1"))


@pytest.mark.parametrize("within", ["", "part"])
@pytest.mark.parametrize("copies", ["tmpab12", "standalone/tmpab12"])
def test_the_store_of_a_queued_experiment_is_the_projects(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, within: str, copies: str
) -> None:
    """DVC runs it in a temporary copy of the repository, and `DVC_ROOT` names the real folder."""
    project = tmp_path / "repository" / within
    copy = project / ".dvc/tmp/exps" / copies
    for git in (tmp_path / "repository" / ".git", copy / ".git", copy / within):
        git.mkdir(parents=True, exist_ok=True)
    monkeypatch.setenv("DVC_ROOT", str(project))
    for folder in (copy / within, project):
        monkeypatch.chdir(folder)
        assert project_folder() == project.resolve()


@pytest.mark.parametrize("where", ["outer/inner", "sibling"])
def test_a_stage_of_another_dvc_project_is_known_by_its_own_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """There `DVC_ROOT`, the experiment and its commit are the other project's."""
    (tmp_path / "outer").mkdir()
    (tmp_path / where).mkdir(exist_ok=True)
    monkeypatch.chdir(tmp_path / where)
    who = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    for arguments in (["init", "-q"], [*who, "commit", "-q", "--allow-empty", "-m", "first"]):
        subprocess.run(["git", *arguments], check=True)
    head = subprocess.run(["git", "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    monkeypatch.setenv("DVC_ROOT", str(tmp_path / "outer"))
    monkeypatch.setenv("DVC_EXP_NAME", "outer-exp")
    monkeypatch.setenv("DVC_EXP_BASELINE_REV", "1" * 40)
    assert project_folder() == tmp_path / where
    assert Origin.of_checkout(Path.cwd()) == Origin(head, "", None)
    # In a copy of the outer project's queue, it is that part of the outer project.
    inner = tmp_path / "outer/.dvc/tmp/exps/tmp1/inner"
    for folder in (tmp_path / "outer/.git", inner.parent / ".git", inner):
        folder.mkdir(parents=True)
    monkeypatch.chdir(inner)
    assert project_folder() == tmp_path / "outer/inner"


def test_hashes_wait_for_another_process_that_writes_dvc_lock(tmp_path: Path) -> None:
    """DVC writes in place: for a moment the file is empty, or ends in the middle."""
    lock, tokens = tmp_path / "dvc.lock", Path("data/tokens")
    whole = "stages:\n  encode_corpus:\n    outs:\n    - {path: data/tokens, md5: ab.dir}\n"

    def write() -> None:
        for part in (whole[:30], whole[:-3], whole):
            time.sleep(0.3)
            lock.write_text(part)

    lock.write_text("")
    with ThreadPoolExecutor() as other:
        other.submit(write)
        assert hashes(lock, [tokens]) == {"data/tokens": "ab.dir"}


def test_hashes_are_those_of_dvc_lock(tmp_path: Path) -> None:
    lock = tmp_path / "dvc.lock"
    assert hashes(lock, [Path("data/tokens")]) == {}
    lock.write_text(
        "schema: '2.0'\nstages:\n"
        "  encode_corpus:\n    cmd: python\n    outs:\n    - {path: data/tokens, hash: md5, md5: ab.dir}\n"
        "  compare:\n    cmd: python\n    outs:\n    - {path: reports/cells, hash: md5, md5: cd.dir}\n"
        "  nothing:\n    cmd: python\n"
    )
    assert hashes(lock, [Path("data/tokens"), Path("data/other")]) == {"data/tokens": "ab.dir"}
