"""DVC's processes: several commands share one, and a signal ends the stages below them."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
from tiny_project import TinyProject

from textrnn.orchestration.supervisor import Supervisor
from textrnn.project import dvc

PIPELINE = """\
stages:
  reads:
    cmd: cat && printf 'no newline' && echo error >&2
    always_changed: true
  fails:
    cmd: exit 3
    always_changed: true
  sleeps:
    cmd: python sleeps.py && true
    outs: [slept]
  after:
    cmd: echo after
    deps: [slept]
  writes:
    cmd: mkdir -p written && echo 1234 > written/one && echo 5678 > written/two && echo x >> count
    deps: [sleeps.py]
    outs: [written]
"""

SLEEPS = """\
import signal, sys, time
from pathlib import Path

if Path("stubborn").exists():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
else:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
Path("started").touch()
try:
    time.sleep(600)
finally:
    Path("cleaned").touch()
"""

SUPERVISES = """\
import sys
from concurrent.futures import ThreadPoolExecutor
from textrnn.orchestration.supervisor import Stopped, Supervisor

try:
    with ThreadPoolExecutor(1) as pool, Supervisor() as supervisor:
        pool.submit(supervisor.run, "repro", "after", on_line=print).result()
except Stopped as stop:
    sys.exit(stop.status)
"""


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A DVC project of some stages."""
    for key, value in TinyProject(tmp_path, tmp_path / "home").environment().items():
        monkeypatch.setenv(key, value)
    monkeypatch.setenv("PYTHONPATH", str(Path(dvc.__file__).parents[2]))
    monkeypatch.chdir(tmp_path)
    dvc.call("init", "--quiet", "--no-scm")
    Path("dvc.yaml").write_text(PIPELINE, encoding="utf-8")
    Path("sleeps.py").write_text(SLEEPS, encoding="utf-8")


def test_commands_share_a_process_and_each_has_its_own_lines_and_status(capfd: pytest.CaptureFixture[str]) -> None:
    """A stage must not read the commands that follow, which the process has in its standard input."""
    first: list[str] = []
    second: list[str] = []
    with ThreadPoolExecutor(1) as pool, Supervisor() as supervisor:

        def run(stage: str, lines: list[str], **options: bool) -> int:
            return pool.submit(supervisor.run, "repro", stage, on_line=lines.append, **options).result(timeout=120)

        assert (run("fails", first, merge_errors=True), run("reads", second)) == (255, 0)
        (worker,) = supervisor._workers.values()
        os.kill(worker.pid, signal.SIGSTOP)  # so that it has not answered when it is killed
        killed = pool.submit(supervisor.run, "repro", "reads", on_line=first.append)
        while not worker.is_busy:
            time.sleep(0.01)
        os.kill(worker.pid, signal.SIGKILL)
        assert killed.result(timeout=120) != 0
        assert run("reads", []) == 0  # by another one
    assert "Running stage 'fails':" in first and any("failed to run: exit 3" in line for line in first)
    assert "Running stage 'reads':" in second and any("no newline" in line for line in second)
    assert "error" in capfd.readouterr().err and "error" not in second


def test_a_handler_that_raises_stops_nothing_for_ever() -> None:
    """What reads DVC's lines may fail: then leaving must not wait for a command that has ended."""

    def fail(line: str) -> None:
        raise ValueError(line)

    with ThreadPoolExecutor(1) as pool, Supervisor() as supervisor:
        running = pool.submit(supervisor.run, "--version", on_line=fail)
        with pytest.raises(ValueError, match="3"):
            running.result(timeout=60)


@pytest.mark.parametrize(
    ("number", "status", "is_stubborn"),
    [(signal.SIGINT, 130, False), (signal.SIGTERM, 143, False), (signal.SIGHUP, 129, True)],
)
def test_a_signal_ends_the_stage_and_what_would_come_after(number: int, status: int, is_stubborn: bool) -> None:
    """A stage that does not heed it is killed by a second signal; DVC itself ends by itself."""
    if is_stubborn:
        Path("stubborn").touch()
    with subprocess.Popen([sys.executable, "-c", SUPERVISES], stdout=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 120
        while not Path("started").exists():
            assert time.monotonic() < deadline and process.poll() is None
            time.sleep(0.05)
        below = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(number)
        if is_stubborn:
            time.sleep(1)
            assert process.poll() is None
            process.send_signal(signal.SIGINT)
        text, _ = process.communicate(timeout=120)
    assert process.returncode == status
    assert len(below) >= 2
    assert not [each for each in below if each.is_running() and each.status() != psutil.STATUS_ZOMBIE]
    assert Path("cleaned").exists() != is_stubborn
    assert "Running stage 'sleeps':" in text and "Running stage 'after':" not in text


def test_a_stage_ends_with_the_process_that_ran_it() -> None:
    """Else a second call would collide with it."""
    with subprocess.Popen([sys.executable, "-c", SUPERVISES], stdout=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 120
        while not Path("started").exists():
            assert time.monotonic() < deadline and process.poll() is None
            time.sleep(0.05)
        below = psutil.Process(process.pid).children(recursive=True)
        process.kill()
        _, running = psutil.wait_procs(below, timeout=60)
    assert len(below) >= 2
    assert not [each for each in running if each.status() != psutil.STATUS_ZOMBIE]
    assert Path("cleaned").exists()


@pytest.mark.parametrize("victim", ["DVC", "shell"])
def test_a_stage_ends_where_what_ran_it_was_killed(victim: str) -> None:
    """Else the next call, which runs the stage again, would collide with it."""
    with ThreadPoolExecutor(1) as pool, Supervisor() as supervisor:
        running = pool.submit(supervisor.run, "repro", "sleeps", on_line=lambda line: None)
        deadline = time.monotonic() + 120
        while not Path("started").exists():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        (worker,) = supervisor._workers.values()
        stage = dvc.stages(worker.pid)[-1]
        killed = psutil.Process(worker.pid) if victim == "DVC" else stage.parent()
        assert killed is not None
        killed.kill()
        assert running.result(timeout=60) != 0
        assert not stage.is_running() or stage.status() == psutil.STATUS_ZOMBIE
    assert Path("cleaned").exists()


@pytest.mark.parametrize("content", [b"1235\n", b"123\n", b""])
def test_a_damaged_file_of_the_cache_is_made_again(content: bytes) -> None:
    """DVC by itself restores it as it is."""
    lines: list[str] = []
    with ThreadPoolExecutor(1) as pool, Supervisor() as supervisor:

        def repro() -> int:
            return pool.submit(supervisor.run, "repro", "writes", on_line=lines.append).result(timeout=120)

        assert repro() == 0
        (cached,) = [
            file for file in Path(".dvc/cache/files").rglob("*") if file.is_file() and file.read_bytes() == b"1234\n"
        ]
        shutil.rmtree("written")
        assert repro() == 0
        assert (Path("count").read_text(), Path("written/one").read_text()) == ("x\n", "1234\n")
        shutil.rmtree("written")
        cached.chmod(0o644)
        cached.write_bytes(content)
        cached.chmod(0o444)
        assert repro() == 0
    assert (Path("count").read_text(), Path("written/one").read_text()) == ("x\nx\n", "1234\n")
    assert cached.read_bytes() == b"1234\n"
