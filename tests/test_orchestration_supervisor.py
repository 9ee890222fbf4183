"""DVC's processes, of which several commands share one. tests/test_orchestration_repro.py stops them."""

from __future__ import annotations

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

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
"""


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A DVC project of two stages."""
    for key, value in TinyProject(tmp_path, tmp_path / "home").environment().items():
        monkeypatch.setenv(key, value)
    monkeypatch.setenv("PYTHONPATH", str(Path(dvc.__file__).parents[2]))
    monkeypatch.chdir(tmp_path)
    dvc.call("init", "--quiet", "--no-scm")
    Path("dvc.yaml").write_text(PIPELINE, encoding="utf-8")


def test_commands_share_a_process_and_each_has_its_own_lines_and_status(capfd: pytest.CaptureFixture[str]) -> None:
    """A stage must not read the commands that follow, which the process has in its standard input."""
    first: list[str] = []
    second: list[str] = []
    with ThreadPoolExecutor(1) as pool, Supervisor() as supervisor:

        def run(stage: str, lines: list[str], **options: bool) -> int:
            return pool.submit(supervisor.run, "repro", stage, on_line=lines.append, **options).result(timeout=120)

        assert (run("fails", first, merge_errors=True), run("reads", second)) == (255, 0)
        (worker,) = supervisor._idle
        os.kill(worker.pid, signal.SIGKILL)
        assert run("reads", []) != 0  # it was killed
        assert run("reads", []) == 0  # and there is another one
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
