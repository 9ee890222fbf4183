"""Runs DVC, and below it the stages, so that none outlives this process.

Where that is killed (SIGKILL), DVC's processes notice it, and stop the stages: see `dvc.Worker`.
"""

import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Self

import polars  # noqa: F401, it takes over SIGINT when it is imported, so that has to be before our handlers
import psutil

from textrnn.project import dvc

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

POLL_SECONDS = 0.1


class Stopped(BaseException):
    """One of `SIGNALS` was received.

    Attributes:
        status: the exit status that shells give to a command which that signal ended.
    """

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.status = 128 + number


class Supervisor:
    """As a context: the first of `SIGNALS` raises `Stopped` in the main thread, and leaving stops what still runs.

    Only stages are signalled. DVC writes dvc.lock in place, so it is left to end by itself, which it
    does as soon as its stage has ended.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._workers: dict[int, dvc.Worker] = {}  # by thread
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
        for worker in self._workers.values():
            worker.close()
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def run(self, *arguments: str, on_line: Callable[[str], None], merge_errors: bool = False) -> int:
        """Runs DVC, and returns its exit status; see `dvc.Worker.run`.

        Call it in a thread other than the main one, which a signal may interrupt anywhere.

        Raises:
            Stopped: this context was left, or is just being left.
        """
        thread = threading.get_ident()
        with self._lock:
            self._check()
            worker = self._workers.get(thread)
            if worker is not None and not worker.is_running:  # somebody killed it
                worker.close()
                worker = None
            worker = self._workers[thread] = worker or dvc.Worker()
            worker.is_busy = True
        try:
            return worker.run(arguments, on_line, merge_errors)
        finally:
            with self._lock:
                worker.is_busy = False
                self._check()

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
        signalled: set[psutil.Process] = set()
        while True:
            with self._lock:
                busy = [worker for worker in self._workers.values() if worker.is_busy]
            stages = {stage for worker in busy for stage in dvc.stages(worker.pid)}
            for stage in stages | signalled if self._is_urgent else stages - signalled:
                with suppress(psutil.NoSuchProcess):
                    stage.send_signal(signal.SIGKILL if self._is_urgent else signal.SIGTERM)
            signalled |= stages
            if not busy and not any(map(_is_alive, signalled)):
                return
            time.sleep(POLL_SECONDS)


def _is_alive(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    return False
