"""Processes that are killed, interrupted, started twice or out of memory, and a clock that goes backwards."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil

from faults.study import REPRO, forget, untrack
from faults.trial import EARLIEST, LONGEST, PROMPT, Call, Fault, Trial, Unavailable


def kill_all(trial: Trial) -> None:
    """`kill -9` of all processes of a run, as when the machine stops"""
    trial.chain(lambda trial, call: _kill(trial.processes()))


def kill_parent(trial: Trial) -> None:
    """`kill -9` of `textrnn repro` alone, and at once the next call"""
    trial.chain(lambda trial, call: call.process.kill(), _corpus_done)


def kill_below(trial: Trial) -> None:
    """`kill -9` of one process below it: DVC, a shell, a stage, a search's training"""

    def act(trial: Trial, call: Call) -> None:
        below = [process for process in trial.processes() if process.pid != call.process.pid]
        if below:
            _kill([trial.random.choice(sorted(below, key=lambda process: process.pid))])

    trial.chain(act, _corpus_done)


def kill_sync(trial: Trial) -> None:
    """`kill -9` of `textrnn sync` while it fills an empty database"""

    def begin(trial: Trial) -> None:
        trial.renew(finished=True)
        untrack(trial.project)

    trial.chain(lambda trial, call: call.process.kill(), begin, ("sync",))


def interrupt(trial: Trial) -> None:
    """Ctrl-C, half of the times twice"""

    def act(trial: Trial, call: Call) -> None:
        for _ in range(trial.random.choice((1, 2))):
            with suppress(ProcessLookupError):
                os.killpg(call.process.pid, signal.SIGINT)
            time.sleep(trial.random.uniform(0.0, 1.0))
        try:
            call.process.wait(PROMPT)
        except subprocess.TimeoutExpired:
            trial.check(False, "it did not end once it was interrupted; the last call has where it was")
            call.process.send_signal(signal.SIGABRT)
            call.process.wait(PROMPT)
        trial.check(not trial.processes(), f"processes are left: {trial.processes()}")

    # A shell's job in the background ignores Ctrl-C, and so would all that it starts.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    trial.variables |= {"PYTHONFAULTHANDLER": "1"}
    trial.chain(act)


def at_once(trial: Trial) -> None:
    """a second `textrnn repro`, or a `textrnn sync`, during the first"""

    def act(trial: Trial, call: Call) -> None:
        second = trial.call(*trial.random.choice([REPRO, ("sync",)]))
        refused = "another `textrnn repro` is at work" in second.text
        trial.check(second.status == 0 or refused, second.text)

    while trial.struck < trial.times:
        trial.renew(finished=True)
        forget(trial.project, "train@lstm", "probe@lstm")
        call = trial.call(*REPRO, act=act, moment=trial.random.uniform(EARLIEST, LONGEST / 2))
        trial.check(call.status == 0, call.text)
        trial.compare()


def memory(trial: Trial) -> None:
    """a training gets no more memory from a random moment on, or is killed for it, as by the kernel"""

    def act(trial: Trial, call: Call) -> None:
        for pid in trial.stages():
            with suppress(psutil.NoSuchProcess):
                process = psutil.Process(pid)
                limit = process.memory_info().data + trial.random.randrange(1 << 25)
                process.rlimit(psutil.RLIMIT_DATA, (limit, limit))

    def kill(trial: Trial, call: Call) -> None:
        _kill([psutil.Process(pid) for pid in trial.stages()])

    for number in range(trial.times):
        trial.renew(finished=True)
        forget(trial.project, "train@lstm")
        since = trial.random.uniform(0.2, 4.0)
        call = trial.call(*REPRO, act=(kill, act)[number % 2], when=_after("train@lstm", since))
        if call.status != 0:
            trial.says(call, ("fewer --jobs", "train@lstm: ")[number % 2])
        trial.recover()


def clock(trial: Trial) -> None:
    """the clock goes back by an hour"""
    if sys.platform != "linux" or shutil.which("cc") is None:
        raise Unavailable("it needs Linux and a C compiler")
    library, went_back = trial.scratch / "clock.so", trial.scratch / "went back"
    source = Path(__file__).with_name("clock.c")
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    trial.variables |= {"LD_PRELOAD": str(library), "CLOCK_WENT_BACK": str(went_back)}
    for _ in range(trial.times):
        went_back.unlink(missing_ok=True)
        trial.renew(finished=True)
        forget(trial.project, "train@lstm", "probe@lstm")
        moment = trial.random.uniform(EARLIEST, LONGEST)
        trial.judge(trial.call(*REPRO, act=lambda trial, call: went_back.touch(), moment=moment))


def _corpus_done(trial: Trial) -> None:
    """Takes a copy of the study in which all from language models and trainings on is due, and MLflow is empty."""
    trial.renew(finished=True)
    kinds = ("pretrain", "baseline", "train", "search", "winner", "member", "ensemble", "teach", "student", "probe")
    due = (*kinds, "explain", "compare")
    forget(trial.project, *(stage for stage in trial.project.lock() if stage.partition("@")[0] in due))
    untrack(trial.project)


def _kill(processes: list[psutil.Process]) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()


def _after(stage: str, seconds: float) -> Callable[[Call], bool]:
    """Whether `stage` is at work since so many seconds."""
    began: list[float] = []

    def when(call: Call) -> bool:
        if stage in call.stages and not began:
            began.append(time.monotonic())
        return bool(began) and time.monotonic() - began[0] >= seconds

    return when


FAULTS = (
    Fault(kill_all, 45),
    Fault(kill_parent, 20),
    Fault(kill_below, 20),
    Fault(kill_sync, 15),
    Fault(interrupt, 20),
    Fault(at_once, 4),
    Fault(memory, 3),
    Fault(clock, 2),
)
