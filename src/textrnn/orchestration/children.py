"""DVC's processes, and below them its stages: none outlives this process, unless that is killed (SIGKILL)."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import psutil

from textrnn.process import own_environment

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

POLL_SECONDS = 0.1


def dvc_command(*arguments: str) -> list[str]:
    """Returns the command line that runs DVC in this Python's environment.

    DVC lets its lock go while a stage runs, takes it again to save what the stage made, and would give up,
    and a finished training with it, when another process holds it for three seconds. So it waits.
    """
    return [sys.executable, "-m", "dvc", "--wait-for-lock", *arguments]


def environment() -> dict[str, str]:
    """Returns the environment for DVC: the stages' `python` is this Python, and nothing phones home."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    # DVC, too, prints names that a terminal's encoding may lack.
    encoding = os.environ.get("PYTHONIOENCODING", "").partition(":")[0] + ":backslashreplace"
    own = own_environment(os.environ)
    return {**own, "PATH": path, "PYTHONIOENCODING": encoding, "DVC_NO_ANALYTICS": "1"}


class Stopped(BaseException):
    """One of `SIGNALS` came.

    Attributes:
        status: the exit status that shells give to a command which that signal ended.
    """

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.status = 128 + number


class Children:
    """As a context: the first of `SIGNALS` raises `Stopped` in the main thread, and leaving stops what still runs.

    Only stages are signalled. DVC writes dvc.lock in place, so it is left to end by itself, which it
    does as soon as its stage is gone.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: list[subprocess.Popen[str]] = []
        self._number: int | None = None
        self._is_stopping = False
        self._is_urgent = False

    def __enter__(self) -> Self:
        # What is ignored stays so: `nohup` ignores the hangup.
        heeded = [number for number in SIGNALS if signal.getsignal(number) != signal.SIG_IGN]
        self._previous = {number: signal.signal(number, self._on_signal) for number in heeded}
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def run(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        on_line: Callable[[str], None],
        stderr: int | None = None,
    ) -> int:
        """Runs `command`, and returns its exit status.

        Call it in a thread other than the main one, which a signal may interrupt anywhere.

        Args:
            on_line: is called with each line of standard output, as it comes.
            stderr: as in `subprocess`.

        Raises:
            Stopped: this context was left, or is just being left.
        """
        with self._lock:
            self._check()
            child = subprocess.Popen(
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=stderr,
                encoding=getattr(sys.stdout, "encoding", None) or "utf-8",  # as the child's is
                errors="replace",
                start_new_session=True,  # a terminal's Ctrl-C comes to this process alone
            )
            self._running.append(child)
        try:
            with child:
                for line in child.stdout or ():
                    on_line(line.rstrip("\n"))
        finally:
            with self._lock:
                self._running.remove(child)
        with self._lock:
            self._check()
        return child.returncode

    def _check(self) -> None:
        if self._is_stopping:
            raise Stopped(self._number or signal.SIGTERM)

    def _on_signal(self, number: int, _: Any) -> None:
        if self._number is not None or self._is_stopping:
            self._is_urgent = True
            return
        self._number = number
        raise Stopped(number)

    def _stop(self) -> None:
        """Terminates the stages, on a second signal kills them, and waits until they and DVC have ended."""
        with self._lock:
            self._is_stopping = True
        told: set[psutil.Process] = set()
        while True:
            with self._lock:
                running = list(self._running)
            stages = {stage for child in running for stage in _below(child.pid)}
            for stage in stages | told if self._is_urgent else stages - told:
                _signal(stage, signal.SIGKILL if self._is_urgent else signal.SIGTERM)
            told |= stages
            if not running and not any(map(_is_alive, told)):
                return
            time.sleep(POLL_SECONDS)


def _below(pid: int) -> list[psutil.Process]:
    try:
        return list(psutil.Process(pid).children(recursive=True))
    except psutil.NoSuchProcess:
        return []


def _signal(process: psutil.Process, number: int) -> None:
    with suppress(psutil.NoSuchProcess):
        process.send_signal(number)


def _is_alive(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
