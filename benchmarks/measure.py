"""How everything here is measured: contenders in turn, each time in a process of its own.

A fresh process has no warm caches of another contender, its own imports and thread settings, and a
peak of memory of its own. Turns alternate in direction (A B, B A, …), so that a machine that slows down
slows down both.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Literal

import psutil

Figures = dict[str, float]
"""What a contender measures in one run: `seconds`, and others."""

Contender = Callable[[int], Figures]
"""Runs once; the argument counts the repeats from 0 on, and serves as seed."""


@dataclass(frozen=True)
class Claim:
    """One line of the page: two figures, their result, and the target.

    `shown` is the result as text, such as `3.2x`. A `wanted` of "no target" is always reached.
    """

    compared_with: str
    ours: float
    theirs: float
    unit: str
    shown: str
    wanted: str
    reached: bool


@dataclass(frozen=True)
class Result:
    """What a benchmark has found: its claims, and a paragraph of settings and other findings."""

    claims: list[Claim]
    notes: str


class Skipped(Exception):
    """A benchmark lacks what it measures on; the message says what to do."""


def faster(name: str, ours: float, theirs: float, factor: float, unit: str = "s") -> Claim:
    """Claims that `theirs` (seconds, or bytes) is at least `factor` times as much as `ours`."""
    return Claim(name, ours, theirs, unit, f"{theirs / ours:.2f}x", f"≥ {factor:g}x", theirs >= factor * ours)


def at_most(name: str, ours: float, theirs: float, factor: float) -> Claim:
    """Claims that `ours` takes at most `factor` times the seconds of `theirs`."""
    return Claim(name, ours, theirs, "s", f"{ours / theirs:.2f}x", f"≤ {factor:g}x", ours <= factor * theirs)


def alternate(
    contenders: Mapping[str, Contender], repeats: int, say: Callable[[str], None]
) -> dict[str, list[Figures]]:
    """Returns the figures of every repeat of every contender; `say` is called with the one that runs."""
    measured: dict[str, list[Figures]] = {name: [] for name in contenders}
    for repeat in range(repeats):
        for name in list(contenders)[:: 1 if repeat % 2 == 0 else -1]:
            say(f"{name}, {repeat + 1} of {repeats}")
            measured[name].append(contenders[name](repeat))
    return measured


def best(repeats: Sequence[Figures], figure: str = "seconds", which: Literal["least", "most"] = "least") -> float:
    """Returns the least (or most) of `figure`: other load on the machine can only make it worse."""
    return (min if which == "least" else max)(figures[figure] for figures in repeats)


def in_process(function: Callable[..., Figures], *arguments: Any) -> Figures:
    """Returns what `function` (of a module) returns in a fresh process."""
    return side_by_side([(function, *arguments)], 1)[0]


def side_by_side(calls: Sequence[tuple[Any, ...]], jobs: int) -> list[Figures]:
    """As `in_process` for each `(function, *arguments)` of `calls`, in their order, `jobs` at once."""
    with ProcessPoolExecutor(jobs, get_context("spawn"), max_tasks_per_child=1) as pool:
        futures = [pool.submit(*call) for call in calls]
        return [future.result() for future in futures]


def held_memory() -> float:
    """Returns the memory of this process now, in bytes."""
    return float(psutil.Process().memory_info().rss)


def peak_memory() -> float:
    """Returns the peak memory of this process, in bytes."""
    status = Path("/proc/self/status")
    if status.is_file():
        line = next(line for line in status.read_text(encoding="ascii").splitlines() if line.startswith("VmHWM"))
        return 1024.0 * int(line.split()[1])
    import resource  # not on Windows; on Linux it would count the parent's, too

    return float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)  # bytes on macOS


def command(*arguments: str | Path, folder: Path | None = None, **variables: str) -> Figures:
    """Runs a command line to its end and returns its `seconds`; what it prints is shown only if it fails."""
    started = time.perf_counter()
    done = subprocess.run(
        arguments,
        cwd=folder,
        env=environment(**variables),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    seconds = time.perf_counter() - started
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, arguments))} failed:\n{done.stdout}")
    return {"seconds": seconds}


def environment(**variables: str) -> dict[str, str]:
    """Returns the environment of commands: their `python` is this Python, and DVC sends no statistics."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    return {**os.environ, "PATH": path, "DVC_NO_ANALYTICS": "1", **variables}


def cores() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
