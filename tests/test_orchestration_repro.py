"""`textrnn repro`: what it says and does when all is well, and when not."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import psutil
import pytest
import yaml
from fake_runs import make_run
from faults.study import forget
from tiny_project import PARAMS, TinyProject

from textrnn.config.params import load_params
from textrnn.errors import TextrnnError
from textrnn.orchestration.folder import check_folder
from textrnn.orchestration.repro import diverged

STUBBORN = """\
import signal, sys, time
from pathlib import Path

signal.signal(signal.SIGTERM, signal.SIG_IGN)
Path(f"{Path(sys.argv[1]).stem}.runs").touch()
time.sleep(600)
"""


@contextmanager
def started(project: TinyProject, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """`textrnn`, at work in a session of its own: what is signalled is this process alone."""
    command = [sys.executable, "-m", "textrnn", *arguments]
    pipe = subprocess.PIPE
    environment = project.environment()
    process = subprocess.Popen(
        command, cwd=project.folder, env=environment, stdout=pipe, stderr=subprocess.STDOUT, text=True
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def wait_until(happened: Callable[[], object], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


def runs(process: psutil.Process) -> bool:
    """Where nobody waits for orphans, as in a container, those that have ended stay as zombies."""
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


def changed_stages(before, project):
    """The stages of which dvc.lock does not say what it did."""
    return {name for name, stage in project.lock().items() if stage != before.get(name)}


def hidden(folder: Path) -> list[str]:
    return [path.name for path in folder.glob(".*")]


def test_signals_stop_the_trainings_and_the_same_command_goes_on(project):
    project.edit("params.yaml", lambda params: params["experiments"]["lstm"].update(epochs=60))
    before = project.lock()
    for number, status in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
        with started(project, "repro", "--jobs", "2") as process:
            # Where a training writes until it is done. Its folder is inside of one that Python deletes from then on.
            wait_until(lambda: [*(project.folder / "runs").glob(".*/*")])
            below = psutil.Process(process.pid).children(recursive=True)
            process.send_signal(number)
            text, _ = process.communicate(timeout=120)
        assert process.returncode == status, text
        assert "the same command goes on from there" in text
        assert "Traceback" not in text
        assert "failed" not in text
        assert len(below) >= 2
        assert not [each for each in below if runs(each)]
        assert hidden(project.folder / "runs") == []
        assert changed_stages(before, project) == {"plan"}

    text = project.textrnn("repro", "--jobs", "2").text
    order = [text.index(f"{stage}@lstm done in ") for stage in ("train", "probe")]
    assert order == sorted(order)
    assert json.loads(project.read("runs/lstm/run.json"))["params"]["epochs"] == 60
    assert project.dvc("status").text.strip() == "Data and pipelines are up to date."


def test_one_call_at_a_time_and_a_second_signal_kills(project):
    before = project.lock()
    (project.folder / "stages" / "baseline.py").write_text(STUBBORN, encoding="utf-8")
    with started(project, "repro", "--jobs", "2") as process:
        wait_until(lambda: len(list(project.folder.glob("*.runs"))) == 2)
        refused = project.textrnn("repro", ok=False)
        assert refused.status == 1
        assert refused.text.startswith(f"error: another `textrnn repro` is at work in {project.folder}. Wait until")
        assert refused.text.count("\n") == 1

        below = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGINT)
        time.sleep(1)
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        text, _ = process.communicate(timeout=120)
    assert process.returncode == 130, text
    assert "stopping: what runs cleans up and ends. Once more, and it is killed." in text
    assert len(below) >= 4
    assert not [each for each in below if runs(each)]
    assert changed_stages(before, project) == {"plan"}
    project.run("git", "checkout", "--quiet", "stages")
    assert project.textrnn("repro").stages == []


def test_outside_of_the_project_the_error_is_readable(project):
    (project.folder / "dvc.yaml").unlink()
    failed = project.textrnn("repro", ok=False)
    assert failed.status == 1
    assert failed.text.startswith(f"error: dvc.yaml: not in {project.folder}. Run this in the project's top folder")
    assert failed.text.count("\n") == 1


def test_with_nothing_to_do_it_shows_the_leaderboard_and_leaves_mlflow_alone(project):
    store = (project.folder / "mlflow.db").read_bytes()
    done = project.textrnn("repro")
    assert done.stages == []
    assert "MLflow" not in done.text
    assert (project.folder / "mlflow.db").read_bytes() == store
    assert "mean ranks first of 3 experiments" in done.text
    assert done.text.count("More in reports/tiny/index.html") == 1
    assert project.git_status() == ""


def test_what_mlflow_could_not_take_the_next_call_gives_to_it(project):
    """Nothing is due any more by then."""
    project.edit("params.yaml", lambda params: params["baselines"]["nb-svm"].update(inverse_regularization=2.0))
    lost = project.textrnn("repro", MLFLOW_TRACKING_URI="http://127.0.0.1:1").text
    assert "warning: MLflow cannot be reached, or refuses: " in lost
    again = project.textrnn("repro")
    assert again.stages == []
    assert "runs agree with the files" in again.text
    assert "MLflow" not in project.textrnn("repro").text


def test_another_study_prunes_and_back_trains_nothing_again(project):
    """It lacks an embedding, and the experiment that starts from it. Edits that git does not have are not lost."""
    active = project.folder / "params.yaml"
    committed = active.read_bytes()
    active.write_bytes(committed + b"# edited\n")
    refused = project.textrnn("repro", "--study", "cells", ok=False)
    assert refused.status == 1
    assert refused.text.startswith("error: params.yaml is none of the studies in studies/")
    active.write_bytes(committed)

    study = yaml.safe_load(project.read("params.yaml"))
    (project.folder / "studies" / "tiny.yaml").write_text(project.read("params.yaml"), encoding="utf-8")
    del study["experiments"]["lstm"], study["embeddings"]["random"]
    study.update(study="less", probes=["gru"])
    (project.folder / "studies" / "less.yaml").write_text(yaml.safe_dump(study), encoding="utf-8")
    before, report = project.lock(), project.report()
    trained = {file: file.stat().st_mtime_ns for file in (project.folder / "timings").iterdir()}
    other = project.textrnn("repro", "--study", "less", "--jobs", "2").text
    pruned = " ".join(other.split()).partition("pruned, because the study does not declare it: ")[2]
    assert "train@lstm" in pruned
    assert "probe@lstm" in pruned
    assert "[1/1] probe@gru done in " in other
    assert "mean ranks first of 2 experiments" in " ".join(other.split())
    assert other.count("More in reports/less/index.html") == 1
    for folder, left in {
        "runs": {"gru", "mean", "majority", "nb-svm", "probe@gru"},
        "data/embeddings": {"glove"},
        "data/downloads/vectors": {"glove"},
    }.items():
        assert {path.name for path in (project.folder / folder).iterdir()} == left
    for trace in ("@lstm", "runs/lstm", "@random"):
        assert trace not in project.read("dvc.lock")
    assert project.dvc("status").text.strip() == "Data and pipelines are up to date."

    project.textrnn("repro", "--study", "tiny")
    assert project.lock() == before
    assert {name: content for name, content in project.report().items() if "/less/" not in name} == report
    assert {file: file.stat().st_mtime_ns for file in (project.folder / "timings").iterdir()} == trained


def test_failing_stages_are_named_and_the_others_kept(project):
    broken = 'raise SystemExit("error: no baseline today")\n'
    before = project.lock()
    script = project.folder / "stages" / "baseline.py"
    script.write_text(broken, encoding="utf-8")
    failed = project.textrnn("repro", "--jobs", "2", ok=False)
    assert failed.status == 1
    assert "error: 2 of 2 stages failed:" in failed.text
    for name in ("majority", "nb-svm"):
        assert f"baseline@{name} failed in" in failed.text
        assert f"  baseline@{name}: " in failed.text
    assert "error: no baseline today" in failed.text
    assert "Traceback" not in failed.text
    assert changed_stages(before, project) == {"plan"}
    assert project.run("git", "status", "--porcelain", "reports").text == ""
    project.run("git", "checkout", "--quiet", ".")
    assert project.textrnn("repro").stages == []
    assert project.git_status() == ""


def test_dvc_lock_is_in_the_graphs_order_where_one_stage_was_due(project):
    before = project.read("dvc.lock")
    forget(project, "download_corpus", keep_outputs=True)
    project.textrnn("repro")
    assert project.read("dvc.lock") == before


def test_a_stage_that_was_killed_may_have_run_out_of_memory(project):
    script = project.folder / "stages" / "baseline.py"
    script.write_text("import os, signal\n\nos.kill(os.getpid(), signal.SIGKILL)\n", encoding="utf-8")
    failed = project.textrnn("repro", ok=False)
    assert failed.status == 1
    assert "Memory ran out, or somebody killed it: make room, or give fewer --jobs." in failed.text


def test_a_failing_download_is_named(project):
    wrong = "0" * 64
    project.edit("catalog.yaml", lambda catalog: catalog["vectors"]["tiny-glove"].update(sha256=wrong))
    failed = project.textrnn("repro", ok=False)
    assert failed.status == 1
    assert "failed to reproduce 'download_vectors@glove'" in failed.text
    assert wrong in failed.text
    assert failed.text.splitlines()[-1].startswith("error: `dvc repro encode_corpus rehearse build_embeddings` failed")


def test_a_diverging_training_is_named_and_the_others_are_kept(project):
    """A penalty so large that it overflows: the loss is no number from the first epoch on."""
    project.edit("params.yaml", lambda params: params["experiments"]["mean"].update(l2=1e38))
    failed = project.textrnn("repro", "--jobs", "2", ok=False)
    assert failed.status == 1
    assert "error: the study is complete, but trainings failed:" in failed.text
    reason = "the loss is no longer a finite number in epoch 1"
    assert f"  mean: seed 0: {reason}; seed 1: {reason}" in failed.text
    assert "Lower learning_rate, or set gradient_clip" in failed.text
    assert "Traceback" not in failed.text

    run = json.loads(project.read("runs/mean/run.json"))
    assert (run["status"], run["failures"]) == ("failed", {"0": reason, "1": reason})
    board = project.read("reports/tiny/report.md")
    assert "`mean` failed and has no rank" in board
    assert board.index("`gru`") > 0
    # It failed, and that is the result: the next call trains nothing, and says so again.
    again = project.textrnn("repro", ok=False)
    assert (again.status, again.stages) == (1, [])
    assert f"  mean: seed 0: {reason}" in again.text


def test_diverged_names_experiment_seed_and_reason(tmp_path: Path):
    file = tmp_path / "params.yaml"
    file.write_text(PARAMS, encoding="utf-8")
    make_run(tmp_path, "lstm", seeds=[0, 1], failures={"1": "no number"})
    for name in ("gru", "mean"):
        make_run(tmp_path, name, seeds=[0, 1])
    assert diverged(load_params(file), tmp_path) == {"lstm": "seed 1: no number"}


def test_without_git_there_is_a_hint(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dvc.yaml").write_text("stages: {}\n")
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc" / "config").touch()
    with pytest.raises(TextrnnError, match=r"DVC needs git here: .*not a git repository.*`git init`.*no_scm true"):
        check_folder()
    (tmp_path / ".dvc" / "config").write_text("[core]\n    no_scm = true\n")
    check_folder()


@pytest.mark.parametrize(
    ("shared", "local", "passes"),
    [
        ("[core]\n    no_scm = false\n", "", False),
        ("# no_scm\n[core]\n    remote = no_scm%\n['remote \"no_scm\"']\n    url = /no_scm\n", "", False),
        ("[core]\n    no_scm = True\n", "", True),
        ("[core]\n    remote = x\n", "[core]\n    no_scm = true\n", True),
        ("[core]\n    no_scm = true\n", "[core]\n    no_scm = false\n", False),
        ("no section", "", False),
    ],
)
def test_only_a_true_setting_does_without_git(tmp_path, monkeypatch, shared: str, local: str, passes: bool):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dvc.yaml").write_text("stages: {}\n")
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc" / "config").write_text(shared)
    (tmp_path / ".dvc" / "config.local").write_text(local)
    with nullcontext() if passes else pytest.raises(TextrnnError, match="DVC needs git here"):
        check_folder()
