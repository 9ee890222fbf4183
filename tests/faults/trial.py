"""A project that something happens to, and what comes of it."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Set
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import IO

import psutil
import yaml
from tiny_project import LIVE, TinyProject

from faults.outcome import differences, outcome
from faults.study import REPRO, Reference

EARLIEST = 1.0
"""Seconds from which on a fault strikes: before, Python itself starts."""
LONGEST = 8.0
"""Seconds up to which a fault strikes, or later, once some stages are through."""
PATIENCE = 600.0
"""Seconds that any call may take."""
PROMPT = 60.0
"""Seconds in which a call has to end once it was interrupted."""
GRACE = 5.0
"""Seconds that a process may outlive the call that started it."""


class Unavailable(Exception):
    """This machine cannot do that; the message says what it lacks."""


@dataclass
class Call:
    """A command at work.

    Attributes:
        struck: whether something was done to it.
        stages: those that were at work when it was struck, or at its end.
        seen: all stages that were seen at work.
        went_on: seconds until the first of them was, or until the end.
        text: what it printed, once it has ended.
    """

    process: subprocess.Popen[bytes]
    struck: bool = False
    stages: list[str] = field(default_factory=list)
    seen: set[str] = field(default_factory=set)
    went_on: float = 0.0
    text: str = ""

    @property
    def status(self) -> int:
        """The exit status."""
        return self.process.wait()


Act = Callable[["Trial", Call], None]
"""What is done to a call at work."""


@dataclass
class Trial:
    """One fault, which strikes `times` times.

    Attributes:
        project: what it happens to, at first a copy of the study before it has run.
        scratch: an empty folder.
        undo: what is called in the end.
        variables: environment variables of all calls.
        struck: how often it struck.
        where: which stages were at work then; with two jobs, two may be.
        waits: seconds until the next call went on.
        repeats: whether finished stages have to run again, because their results were damaged.
        again: those that did.
        lost, doubled: lines of `outcome` that the recovered study lacks, or has more.
        findings: what else went wrong.
    """

    reference: Reference
    name: str
    times: int
    scratch: Path
    undo: ExitStack
    project: TinyProject = field(init=False)
    variables: dict[str, str] = field(init=False)
    store: tuple[Path, Path] | None = None
    struck: int = 0
    where: Counter[str] = field(default_factory=Counter)
    waits: list[float] = field(default_factory=list)
    repeats: bool = False
    again: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    findings: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.random = random.Random(self.name)
        archive = self.reference.archive
        self.variables = {**LIVE, **(archive.variables if archive else {})}
        self._copies = 0
        self._finished: set[str] = set()
        self._was_struck = False
        self.renew()

    # What a fault does

    def renew(self, finished: bool = False) -> None:
        """Takes another copy of the study, before it has run or when it is `finished`."""
        if self._copies:
            shutil.rmtree(self.project.folder)
        self._copies += 1
        base = self.reference.after if finished else self.reference.before
        self.project = base.copy(self.scratch / f"project {self._copies}")
        self._finished = set()

    def note(self, *stages: str) -> None:
        """Counts a fault that struck these stages, or where none was at work."""
        self.struck += 1
        self.where.update(stages or ["no stage"])
        self._was_struck = True

    def chain(self, act: Act, begin: Callable[[Trial], None] | None = None, command: tuple[str, ...] = REPRO) -> None:
        """Starts `command` again and again, and does `act` to it at a random moment, until it is through.

        Then it compares, and begins anew, until `act` was done `times` times. `begin` takes another copy of the study.
        """
        begin = begin or Trial.renew
        begin(self)
        while self.struck < self.times:
            # So that every stage is met: a moment alone would seldom be late enough for more than the next one.
            through = self.random.randrange(3) if command == REPRO else 0
            call = self.call(
                *command,
                act=act,
                moment=self.random.uniform(EARLIEST, LONGEST),
                when=lambda call, through=through: len(call.seen.difference(call.stages)) >= through,
            )
            if not call.struck:
                self.judge(call)
                begin(self)
        self.recover(*command)

    def recover(self, *command: str) -> None:
        """The next run; compares what it leaves. It ends well, or that is a finding."""
        self.judge(self.call(*(command or REPRO)))

    def judge(self, call: Call) -> None:
        """The call has to have ended well, and to leave what an undisturbed one does."""
        self.check(call.status == 0, f"the next call failed:\n{call.text}")
        if call.status == 0:
            self.compare()

    def call(
        self,
        *arguments: str,
        act: Act | None = None,
        moment: float = 0.0,
        when: Callable[[Call], bool] = lambda call: True,
        prefix: tuple[str, ...] = (),
    ) -> Call:
        """Calls `textrnn`, does `act` to it once it is `moment` seconds old and it is `when`, and waits for its end."""
        self._finished |= self._locked()
        orphans, after_fault, self._was_struck = self.stages().keys(), self._was_struck, False
        with tempfile.TemporaryFile() as output:
            call = Call(self.start(*arguments, output=output, prefix=prefix))
            began = time.monotonic()
            while call.process.poll() is None:
                seconds = time.monotonic() - began
                self._watch(call, seconds, orphans)
                if act is not None and not call.struck and seconds >= moment and when(call):
                    self.note(*call.stages)
                    call.struck = True
                    act(self, call)
                if seconds > PATIENCE:
                    call.process.kill()
                    self.findings.append(f"`textrnn {' '.join(arguments)}` did not end")
                time.sleep(0.1)
            call.went_on = call.went_on or time.monotonic() - began
            output.seek(0)
            call.text = output.read().decode(errors="replace")
        if after_fault:
            self.waits.append(call.went_on)
        self.check("Traceback" not in call.text and "Fatal Python error" not in call.text, call.text)
        self.again += sorted(call.seen & self._finished - {"plan", "compare"})
        return call

    def start(
        self, *arguments: str, output: int | IO[bytes] = subprocess.DEVNULL, prefix: tuple[str, ...] = ()
    ) -> subprocess.Popen[bytes]:
        """Starts `textrnn`, in a process group of its own as a shell does."""
        return subprocess.Popen(
            [*prefix, sys.executable, "-m", "textrnn", *arguments],
            cwd=self.project.folder,
            env={**self.project.environment(), **self.variables},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def says(self, call: Call, *words: str) -> None:
        """A call that failed says what to do: its message has one of `words`."""
        self.check(call.status != 0, f"the call did not fail:\n{call.text}")
        self.check(any(word in call.text for word in words), f"none of {words} in:\n{call.text}")

    def check(self, holds: bool, finding: str) -> None:
        """Notes what should hold and does not."""
        if not holds:
            self.findings.append(finding)

    def compare(self) -> None:
        """Compares the project with the undisturbed one, and checks that no process is left."""
        deadline = time.monotonic() + GRACE
        while (left := self.processes()) and time.monotonic() < deadline:
            time.sleep(0.1)
        self.check(not left, f"processes are left: {left}")
        lost, doubled = differences(self.reference.holds, outcome(self.project, *(self.store or ())))
        self.lost += lost
        self.doubled += doubled

    def processes(self) -> list[psutil.Process]:
        """All that runs in the project's folder."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error, OSError):
                if process.status() != psutil.STATUS_ZOMBIE and Path(process.cwd()) == self.project.folder:
                    found.append(process)
        return found

    def stages(self) -> dict[int, str]:
        """The stages at work, by the id of the process; those that it has forked are not stages of their own."""
        found, parents = {}, {}
        for process in self.processes():
            with suppress(psutil.Error):
                line = process.cmdline()
                if len(line) > 2 and line[1].startswith("stages/"):
                    found[process.pid], parents[process.pid] = Path(line[2]).stem, process.ppid()
        return {pid: stage for pid, stage in found.items() if parents[pid] not in found}

    # What it notes

    def _watch(self, call: Call, seconds: float, orphans: Set[int]) -> None:
        """Notes which stages are at work, other than `orphans` of the last call."""
        running = self.stages()
        twice = {stage for stage, count in Counter(running.values()).items() if count > 1}
        self.check(not twice, f"two processes at once for {twice}")
        call.stages = sorted(stage for pid, stage in running.items() if pid not in orphans)
        call.seen.update(call.stages)
        if call.stages and not call.went_on:
            call.went_on = seconds

    def _locked(self) -> set[str]:
        """The stages in dvc.lock; none where it is cut off."""
        with suppress(OSError, yaml.YAMLError, TypeError, KeyError):
            return set(self.project.lock())
        return set()


@dataclass(frozen=True)
class Fault:
    """What does it, and how often in the whole matrix."""

    inject: Callable[[Trial], None]
    times: int

    @property
    def name(self) -> str:
        """As the command line knows it."""
        return self.inject.__name__.replace("_", "-")

    @property
    def what(self) -> str:
        """What happens."""
        return (self.inject.__doc__ or "").partition("\n")[0]


@dataclass(frozen=True)
class Verdict:
    """What came of a fault: see `Trial`."""

    times: int
    where: Counter[str]
    seconds: float
    repeats: bool
    again: list[str]
    lost: list[str]
    doubled: list[str]
    findings: list[str]

    @property
    def is_good(self) -> bool:
        """Whether nothing was lost or doubled, and nothing else went wrong."""
        return not ((self.again and not self.repeats) or self.lost or self.doubled or self.findings)

    def __str__(self) -> str:
        parts = {"ran again": self.again, "lost": self.lost, "doubled": self.doubled, "found": self.findings}
        shown = [f"{what}: {each[:2000]}" for what, items in parts.items() for each in items]
        return "\n".join([f"{self.times} times ({dict(self.where)}), went on after {self.seconds:.1f} s", *shown])


def attempt(fault: Fault, reference: Reference, times: int | None = None) -> Verdict:
    """Lets `fault` strike, and runs the study to its end.

    Raises:
        Unavailable: this machine cannot do that.
    """
    with tempfile.TemporaryDirectory(prefix="textrnn-faults-") as scratch, ExitStack() as undo:
        trial = Trial(reference, fault.name, times or fault.times, Path(scratch), undo)
        try:
            fault.inject(trial)
        finally:
            for process in trial.processes():
                with suppress(psutil.NoSuchProcess):
                    process.kill()
    seconds = median(trial.waits) if trial.waits else 0.0
    return Verdict(
        trial.struck, trial.where, seconds, trial.repeats, trial.again, trial.lost, trial.doubled, trial.findings
    )


def needs(program: str) -> None:
    """Raises `Unavailable` unless this is Linux with `program`, where we may mount, as root may."""
    allowed = ["unshare", "--mount", "true"]
    if shutil.which(program) is None or subprocess.run(allowed, capture_output=True).returncode != 0:
        raise Unavailable(f"it needs Linux, `{program}`, and the right to mount")
