"""Breaks the tiny study in every way of a list, and checks that the next run ends as an undisturbed one does.

    python tests/faults.py                              # all of it: an hour; writes docs/reliability.md
    python tests/faults.py --times 1 --only kill        # one fault, once; writes nothing

The same are dvc.lock, every byte of the report, and all that MLflow holds except times and ids. A stage that was in
dvc.lock when the fault struck must not run again.
"""

from __future__ import annotations

import argparse
import random
import re
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import psutil

sys.path.insert(0, str(Path(__file__).parent))

from tiny_project import PROJECT, Result, TinyProject, make_project

PAGE = PROJECT / "docs" / "reliability.md"

RUNS = re.compile(r"Running stage '(.+)':|^\[ *\d+/\d+\] (\S+) done", re.MULTILINE)

PROMPT = 60.0
"""Seconds that a command may take to end once it was signalled."""


@dataclass
class Trial:
    """One project folder that something happens to.

    Attributes:
        project: before anything has run, or where the fault needs it, after an undisturbed run.
        seconds: how long an undisturbed run takes.
        scratch: a folder for anything else.
        said: what the disturbed command printed.
    """

    project: TinyProject
    random: random.Random
    seconds: float
    scratch: Path
    said: list[str] = field(default_factory=list)

    def start(self, *arguments: str, **options: Any) -> subprocess.Popen[str]:
        """`textrnn`, in a session of its own."""
        return subprocess.Popen(
            [sys.executable, "-m", "textrnn", *arguments],
            cwd=self.project.folder,
            env=self.project.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            **options,
        )

    def end(self, process: subprocess.Popen[str], seconds: float = 600) -> int:
        """Waits for the end of `process`; a traceback is a failure, whatever happened."""
        output, _ = process.communicate(timeout=seconds)
        assert "Traceback" not in output, output
        self.said.append(output)
        return process.returncode

    def wait(self, most: float | None = None) -> None:
        """Waits up to `most` seconds, by default as long as an undisturbed run takes."""
        time.sleep(self.random.uniform(0.0, most or self.seconds))

    def processes(self) -> list[psutil.Process]:
        """All that runs in the project's folder."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if process.status() != psutil.STATUS_ZOMBIE and Path(process.cwd()) == self.project.folder:
                    found.append(process)
        return found


Inject = Callable[[Trial], None]


def kill(trial: Trial) -> None:
    """`kill -9` of all processes of `textrnn repro`, as when the machine stops"""
    running = trial.start("repro", "--jobs", "2")
    trial.wait()
    for process in trial.processes():
        with suppress(psutil.NoSuchProcess):
            process.kill()
    running.communicate()


def kill_parent(trial: Trial) -> None:
    """`kill -9` of `textrnn repro` alone, and at once a second call"""
    running = trial.start("repro", "--jobs", "2")
    trial.wait()
    running.kill()
    running.wait()


def kill_stage(trial: Trial) -> None:
    """`kill -9` of a stage, as when memory runs out"""
    running = trial.start("repro", "--jobs", "2")
    trial.wait()
    stages = [each for each in trial.processes() if any(part.startswith("stages/") for part in each.cmdline())]
    if stages:
        trial.random.choice(stages).kill()
    trial.end(running)


def interrupt(trial: Trial) -> None:
    """Ctrl-C, and half of the times once more"""
    running = trial.start("repro", "--jobs", "2")
    trial.wait()
    for _ in range(trial.random.choice((1, 2))):
        running.send_signal(signal.SIGINT)
        trial.wait(1.0)
    trial.end(running, PROMPT)
    assert not trial.processes()


def at_once(trial: Trial) -> None:
    """two calls of `textrnn repro` at once"""
    first = trial.start("repro")
    trial.wait(3.0)
    second = trial.start("repro")
    statuses = [trial.end(second), trial.end(first)]
    assert 0 in statuses and all(
        status == 0 or "another `textrnn repro` is at work" in said
        for status, said in zip(statuses, trial.said, strict=True)
    )


def kill_sync(trial: Trial) -> None:
    """`kill -9` of `textrnn sync`, which fills an empty database"""
    forget_tracking(trial.project)
    running = trial.start("sync")
    trial.wait(10.0)
    running.kill()
    running.communicate()


def database_locked(trial: Trial) -> None:
    """`mlflow.db` locked by another process, from the start to the end of a run"""
    with sqlite3.connect(trial.project.folder / "mlflow.db", isolation_level=None) as database:
        trial.project.append("src/textrnn/modeling/training.py", "CHANGED = 1\n")
        database.execute("BEGIN EXCLUSIVE")
        trial.end(trial.start("repro", "--jobs", "2"))
        database.execute("ROLLBACK")
    trial.project.run("git", "checkout", "--quiet", "src")


def database_corrupt(trial: Trial) -> None:
    """garbage in `mlflow.db`; the message names the way out, which is to delete it"""
    file = trial.project.folder / "mlflow.db"
    content = bytearray(file.read_bytes())
    for _ in range(2000):
        content[trial.random.randrange(len(content))] ^= 1 << trial.random.randrange(8)
    file.write_bytes(content)
    if trial.end(trial.start("sync")) != 0:
        assert "mlflow.db" in trial.said[-1], trial.said[-1]
    forget_tracking(trial.project)


def memory(trial: Trial) -> None:
    """no more than half a gigabyte of addresses for a process, so trainings cannot start"""
    limit = 500_000_000
    running = trial.start(
        "repro", preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_DATA, (limit, resource.RLIM_INFINITY))
    )
    output, _ = running.communicate(timeout=600)
    trial.said.append(output)


def disk_full(trial: Trial) -> None:
    """the disk full at a random moment of a run"""
    with small_disk(trial) as grow:
        trial.end(trial.start("repro", "--jobs", "2"))
        grow()


def moved(trial: Trial) -> None:
    """the project's folder moved, while MLflow has paths to where it was"""
    there = trial.scratch / "moved"
    shutil.move(trial.project.folder, there)
    trial.project = TinyProject(there, trial.project.home)


def cache(trial: Trial) -> None:
    """a bit flipped in a file of DVC's cache, and all outputs deleted"""
    files = [file for file in (trial.project.folder / ".dvc" / "cache" / "files").rglob("*") if file.is_file()]
    file = trial.random.choice(sorted(file for file in files if file.stat().st_size))
    content = bytearray(file.read_bytes())
    content[trial.random.randrange(len(content))] ^= 1 << trial.random.randrange(8)
    file.chmod(0o644)
    file.write_bytes(content)
    for name in ("plan", "data", "runs"):
        shutil.rmtree(trial.project.folder / name)


FAULTS: dict[str, tuple[Inject, int, bool]] = {
    "kill": (kill, 60, False),
    "kill-parent": (kill_parent, 20, False),
    "kill-stage": (kill_stage, 20, False),
    "interrupt": (interrupt, 20, False),
    "kill-sync": (kill_sync, 20, True),
    "at-once": (at_once, 5, False),
    "memory": (memory, 2, False),
    "disk-full": (disk_full, 10, False),
    "database-locked": (database_locked, 2, True),
    "database-corrupt": (database_corrupt, 10, True),
    "moved": (moved, 2, True),
    "cache": (cache, 10, True),
}
"""What happens, how often by default, and whether to a project on which the study has run."""


@contextmanager
def small_disk(trial: Trial) -> Iterator[Callable[[], None]]:
    """Moves the project to a disk that is nearly full; yields what makes it larger."""
    disk = trial.scratch / "disk"
    disk.mkdir()
    used = sum(file.stat().st_blocks * 512 for file in trial.project.folder.rglob("*") if file.is_file())
    size = used + trial.random.randrange(200_000, 8_000_000)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", disk], check=True, capture_output=True)
    try:
        small = trial.project.copy(disk / "project")
        kept, trial.project = trial.project, small
        yield lambda: subprocess.run(["mount", "-o", "remount,size=1g", disk], check=True, capture_output=True) and None
        shutil.rmtree(kept.folder)
        trial.project = small.copy(kept.folder)
    finally:
        subprocess.run(["umount", "--lazy", disk], check=True)


def forget_tracking(project: TinyProject) -> None:
    """Deletes MLflow's database and artifacts."""
    for file in project.folder.glob("mlflow.db*"):
        file.unlink()
    shutil.rmtree(project.folder / "mlartifacts", ignore_errors=True)


def recover(project: TinyProject) -> tuple[Result, float]:
    """The next run, and how long it takes."""
    began = time.monotonic()
    result = project.run(sys.executable, "-m", "textrnn", "repro", "--jobs", "2")
    project.run(sys.executable, "-m", "textrnn", "sync")
    return result, time.monotonic() - began


def tracked(project: TinyProject) -> list[Any]:
    """What MLflow holds, except times, ids, and what differs between equal trainings."""
    script = (
        "import json, sys\n"
        "from pathlib import Path\n"
        "from textrnn.tracking.source import search_runs\n"
        "from textrnn.tracking.store import open_store\n"
        "store = open_store(Path.cwd(), 'tiny/snippets')\n"
        "print(json.dumps(sorted([run.info.run_name, run.info.status, sorted(run.data.params.items()),\n"
        "    sorted((key, value) for key, value in run.data.metrics.items() if 'second' not in key),\n"
        "    len(run.outputs.model_outputs if run.outputs else ())] for run in search_runs(store))))\n"
    )
    done = project.run(sys.executable, "-W", "ignore", "-c", script)
    return [done.lines[-1]]


@dataclass(frozen=True)
class Undisturbed:
    """What every trial has to end as."""

    before: TinyProject
    after: TinyProject
    seconds: float
    lock: dict[str, Any]
    report: dict[str, bytes]
    tracked: list[Any]


def undisturbed(folder: Path) -> Undisturbed:
    """Runs the study without a fault."""
    before = make_project(folder / "before", folder / "home")
    after = before.copy(folder / "after")
    _, seconds = recover(after)
    after.commit()
    return Undisturbed(before, after, seconds, after.lock(), after.report(), tracked(after))


def attempt(name: str, number: int, reference: Undisturbed, folder: Path) -> tuple[float, int]:
    """Injects a fault; returns how long the next run took, and how many finished stages it repeated."""
    inject, _, is_late = FAULTS[name]
    project = (reference.after if is_late else reference.before).copy(folder / "project")
    trial = Trial(project, random.Random(f"{name} {number}"), reference.seconds, folder)
    inject(trial)
    text = (trial.project.folder / "dvc.lock").read_text() if (trial.project.folder / "dvc.lock").exists() else ""
    known = set(trial.project.lock()) if text.strip() else set()
    result, seconds = recover(trial.project)
    ran = {stage for match in RUNS.findall(result.text) for stage in match if stage}
    assert trial.project.lock() == reference.lock
    assert trial.project.report() == reference.report
    assert tracked(trial.project) == reference.tracked
    assert not trial.processes()
    return seconds, len((known & ran) - {"plan", "compare"})


def main() -> None:
    """Runs what the command line asks for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--times", type=int, help="how often each fault is injected")
    parser.add_argument("--only", action="append", choices=FAULTS, help="a fault; more than once for more of them")
    asked = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        reference = undisturbed(Path(scratch))
        for name in asked.only or FAULTS:
            times = asked.times or FAULTS[name][1]
            took, repeated = [], 0
            for number in range(times):
                sys.stderr.write(f"{name} {number + 1}/{times}\n")
                with tempfile.TemporaryDirectory() as folder:
                    seconds, again = attempt(name, number, reference, Path(folder))
                took.append(seconds)
                repeated += again
            rows.append((FAULTS[name][0].__doc__, times, repeated, median(took)))
            sys.stderr.write(f"{name}: {times} times, {repeated} finished stages repeated, {median(took):.0f} s\n")
    if not asked.only:
        PAGE.write_text(page(rows, reference.seconds), encoding="utf-8", newline="\n")


def page(rows: list[tuple[str | None, int, int, float]], seconds: float) -> str:
    """Returns the document."""
    table = [f"| {what} | {times} | {repeated} | {median:.0f} |" for what, times, repeated, median in rows]
    return f"""# Reliability

What breaks, and what is lost. `make faults` writes this page: it breaks a study of three networks on 60 texts, with
real DVC, git, MLflow and SQLite, at moments drawn at random, and runs `textrnn repro` and `textrnn sync` again. After
every one of these faults `dvc.lock`, each byte of the report and all that MLflow holds (except times and ids) were
those of an undisturbed study, which takes {seconds:.0f} s here.

| fault | times | finished stages that ran again | median of the next run, s |
| --- | ---: | ---: | ---: |
{chr(10).join(table)}
"""


if __name__ == "__main__":
    main()
