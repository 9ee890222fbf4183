"""A search on the tiny corpus with real processes: the same bytes for any number of them, and after any kill."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
import pytest
from tiny_project import TinyProject

SPACE = {
    "units": {"low": 2, "high": 8, "log": True},
    "learning_rate": {"low": 0.001, "high": 0.1, "log": True},
    "dropout": {"low": 0.1, "high": 0.5, "optional": True},
    "bidirectional": {"choices": [False, True]},
    "embedding": {"choices": ["random", "glove"]},
}
TUNED = {"start": "lstm", "space": SPACE, "trials": 6, "batch": 3, "rungs": 2, "reduction": 2, "seeds": [1, 2]}
TRAININGS = 2 * (3 + 2)
"""Of each batch all three trials with one seed, and of the best the rest of the first seed and all of the second."""

PLAN = "plan/search@tuned.json"


def planned(project: TinyProject, **changes: Any) -> None:
    """Adds the search to the study, and brings up to date what it reads."""
    project.edit("params.yaml", lambda params: params.update(searches={"tuned": {**TUNED, **changes}}))
    project.dvc("repro", "build_embeddings@random", "build_embeddings@glove")


def command(
    project: TinyProject, result: str = "runs/search@tuned", checkpoints: str = "checkpoints/tuned"
) -> list[str]:
    return [sys.executable, "stages/search.py", PLAN, "data/tokens", "data/embeddings", result, checkpoints]


@contextmanager
def at_work(project: TinyProject, jobs: int, **variables: str) -> Iterator[subprocess.Popen[str]]:
    """The stage in a process group of its own, so that a signal reaches all its processes."""
    process = subprocess.Popen(
        command(project),
        cwd=project.folder,
        env={**project.environment(), "TEXTRNN_JOBS": str(jobs), **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in sorted(folder.iterdir())}


@pytest.mark.long
def test_any_number_of_processes_and_any_kill_give_the_same_bytes(project: TinyProject) -> None:
    planned(project)
    found = {}
    for jobs in (1, 2, 8):
        with at_work(project, jobs) as process:
            text, _ = process.communicate(timeout=900)
        assert process.returncode == 0, text
        assert [line for line in text.splitlines() if " epochs  trial " not in line] == []
        assert len(text.splitlines()) == TRAININGS
        found[jobs] = bytes_of(project.folder / "runs/search@tuned")
        shutil.rmtree(project.folder / "checkpoints/tuned")
    assert found[1] == found[2] == found[8]

    shutil.rmtree(project.folder / "runs/search@tuned")
    record = project.folder / "checkpoints/tuned/trainings.jsonl"
    for trainings in (0, 1, 4):  # at another moment each time
        with at_work(project, 2) as process:
            while _trainings(record) < trainings or not _children(process.pid):
                time.sleep(0.02)
            os.killpg(process.pid, signal.SIGKILL)
            assert process.wait() == -signal.SIGKILL
    assert _trainings(record) < TRAININGS
    with at_work(project, 2) as process:
        while not _children(process.pid):
            time.sleep(0.02)
        second = project.run(*command(project), ok=False)
        assert second.status == 1
        assert "error: another process is at work on the search in checkpoints/tuned" in second.text
        text, _ = process.communicate(timeout=900)
    assert process.returncode == 0, text
    assert bytes_of(project.folder / "runs/search@tuned") == found[1]
    done = Counter((line["training"], len(line["is"]["history"])) for line in map(json.loads, _lines(record)[1:]))
    assert set(done.values()) == {1}, "a training that was finished is not repeated"
    assert not [folder for folder in record.parent.iterdir() if folder.is_dir()], "no checkpoint is left"


@pytest.mark.long
def test_dvc_lock_is_the_same_for_any_number_of_processes_and_after_a_kill(project: TinyProject) -> None:
    planned(project)
    locks = {}
    for jobs in ("1", "2", "8"):
        own = project.copy(project.folder.with_name(f"with {jobs}"))
        if jobs == "2":
            with at_work(own, 2) as process:
                while not _children(process.pid):
                    time.sleep(0.02)
        own.run("dvc", "repro", "--quiet", "winner@tuned", TEXTRNN_JOBS=jobs)
        locks[jobs] = own.read("dvc.lock")
    assert locks["1"] == locks["2"] == locks["8"]
    assert "search@tuned" in locks["1"] and "winner@tuned" in locks["1"]


@pytest.mark.long
def test_repro_runs_the_search_and_then_its_winner_as_a_run_like_any_other(project: TinyProject) -> None:
    project.edit("params.yaml", lambda params: params.update(searches={"tuned": TUNED}))
    project.edit("params.yaml", lambda params: params["comparisons"].update(pairs=[["lstm", "tuned"]]))

    shown = project.textrnn("search", "tuned", "--jobs", "2")
    assert "tuned: 6 settings tried (4 cut, 2 finished)" in shown.text
    assert not (project.folder / "runs/tuned").exists()

    done = project.textrnn("repro", "--jobs", "2")
    assert "search@tuned" not in done.text, "it was up to date"
    assert "winner@tuned done" in done.text
    winner = json.loads(project.read("runs/search@tuned/winner.json"))
    run = json.loads(project.read("runs/tuned/run.json"))
    assert run["params"] == winner
    assert run["seeds"] == [0, 1]
    assert "`lstm` → `tuned`" in project.read("reports/tiny/report.md")
    assert "`tuned` tried 6 settings" in project.read("reports/tiny/report.md")
    assert project.dvc("status", "--quiet", ok=False).status == 0
    assert "unchanged" in project.textrnn("sync").text
    assert project.textrnn("register", "tuned").text.startswith("tuned, seed ")
    assert project.textrnn("promote").text.startswith("promoted: tuned (version 1) becomes the first champion")

    # A refit of the start is one of the winner, and no other search.
    project.edit("params.yaml", lambda params: params["experiments"]["lstm"].update(refit=True))
    project.edit("params.yaml", lambda params: params.update(probes=["gru"]))
    assert "winner@tuned done" in (again := project.textrnn("repro")).text
    assert "search@tuned" not in again.text
    assert json.loads(project.read("runs/search@tuned/winner.json")) == winner
    assert json.loads(project.read("runs/tuned/run.json"))["params"] == {**winner, "refit": True}
    assert "test figures of `lstm`, `tuned`" in project.read("reports/tiny/report.md").replace(
        "`tuned`, `lstm`", "`lstm`, `tuned`"
    )
    project.edit("params.yaml", lambda params: params["experiments"]["lstm"].pop("refit"))

    # More trials continue the search: what was trained is not trained again.
    record = project.folder / "checkpoints/searches/tiny/tuned/trainings.jsonl"
    before = _lines(record)
    project.edit("params.yaml", lambda params: params["searches"]["tuned"].update(trials=9))
    project.textrnn("search", "tuned")
    assert _lines(record)[: len(before)] == before
    assert len(_lines(record)) == len(before) + TRAININGS // 2

    # Without the search everything of it goes.
    project.edit("params.yaml", lambda params: (params.pop("searches"), params["comparisons"].update(pairs=[])))
    assert "search@tuned" in project.textrnn("repro").text
    assert not (project.folder / "runs/search@tuned").exists()
    assert not (project.folder / "runs/tuned").exists()


@pytest.mark.long
def test_what_goes_wrong_is_named_and_what_was_trained_is_kept(project: TinyProject) -> None:
    assert "the study has no search 'tuned'. Known: none" in project.textrnn("search", "tuned", ok=False).text
    planned(project)
    unreachable = {"OPTUNA_STORAGE": "postgresql://user:secret@127.0.0.1:1/none"}
    failed = project.run(*command(project), ok=False, **unreachable)
    assert failed.status == 1
    assert "error: postgresql://user:***@127.0.0.1:1/none, Optuna's storage, cannot be used:" in failed.text
    assert "secret" not in failed.text
    assert (
        "OPTUNA_STORAGE: not the address of a database"
        in project.run(*command(project), ok=False, OPTUNA_STORAGE="x").text
    )
    assert "TEXTRNN_JOBS is a number of processes" in project.run(*command(project), ok=False, TEXTRNN_JOBS="0").text

    record = project.folder / "checkpoints/tuned/trainings.jsonl"
    with at_work(project, 1) as process:
        while _trainings(record) < 2:
            time.sleep(0.05)
        [worker] = [child for child in _children(process.pid) if "spawn_main" in " ".join(child.cmdline())]
        worker.kill()
        text, _ = process.communicate(timeout=300)
    assert process.returncode == 1
    assert "a process was killed while it trained trial" in text
    assert "run this again, with fewer --jobs" in text
    kept = _lines(record)
    full = record.with_name("aside")
    record.rename(full)
    record.symlink_to("/dev/full")  # as a disk that is full
    failed = project.run(*command(project), ok=False)
    assert f"error: checkpoints/tuned/{record.name}: No space left on device. Make room there" in failed.text
    full.replace(record)

    # In a database, unlike in the project's own file, another search of the name is left alone.
    shared = {"OPTUNA_STORAGE": f"sqlite:///{project.folder}/shared.db"}
    project.run(*command(project), **shared)
    assert _lines(record)[: len(kept)] == kept
    study = optuna.load_study(study_name="tiny/tuned", storage=shared["OPTUNA_STORAGE"])
    assert Counter(trial.state.name for trial in study.trials) == {"COMPLETE": 2, "PRUNED": 4}
    result = json.loads(project.read("runs/search@tuned/search.json"))
    assert study.best_trial.number == result["winner"] and study.best_value == result["value"]
    project.run(*command(project), **shared)  # the same again adds nothing
    assert len(optuna.load_study(study_name="tiny/tuned", storage=shared["OPTUNA_STORAGE"]).trials) == 6
    planned(project, reduction=3)
    another = project.run(*command(project), ok=False, **shared)
    assert "holds another search under the name tiny/tuned. Rename the search, or delete that one" in another.text
    project.run(*command(project))

    planned(project, space={"learning_rate": {"low": 0.01, "high": 1.0}})
    project.edit("params.yaml", lambda params: params["experiments"]["lstm"].update(learning_rate=0.01))
    damaged = _lines(record)
    record.write_text("\n".join([damaged[0], damaged[1], damaged[2][:40]]), encoding="utf-8")  # as a kill leaves it
    project.run(*command(project))


def _lines(file: Path) -> list[str]:
    return file.read_text(encoding="utf-8").splitlines() if file.is_file() else []


def _trainings(record: Path) -> int:
    return max(len(_lines(record)) - 1, 0)


def _children(pid: int) -> list[Any]:
    import psutil

    return list(psutil.Process(pid).children(recursive=True))
