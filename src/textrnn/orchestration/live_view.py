"""What runs side by side, while it runs: a row per training on a terminal, a line per finished stage anywhere."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

EPOCH = re.compile(r"seed (\d+) +epoch +(\d+)/(\d+) +loss (\S+) .*\bval_accuracy (\S+)")
"""The line that `stages/train.py` prints after each epoch."""

REFRESHES_PER_SECOND = 2

WIDE = 72
"""So many columns of a terminal hold every cell of a row; on a narrower one the name comes first."""


@dataclass
class _Running:
    """A stage that runs: since when, and what it last said."""

    since: float
    share: float = 0.0
    cells: tuple[str, str, str, str] = ("", "", "", "")


class LiveView:
    """Follows stages from their start to their end; its methods may be called from any thread.

    Args:
        work: what each stage takes, in units of which only ratios matter.
        seeds: of every training, in the order in which it takes them.
        jobs: how many stages run at once.
        clock: returns seconds.
    """

    def __init__(
        self,
        work: Mapping[str, float],
        seeds: Sequence[int],
        jobs: int,
        console: Console,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.failed: dict[str, str] = {}
        self._work, self._seeds, self._jobs, self._console, self._clock = work, seeds, jobs, console, clock
        self._lock = threading.Lock()
        self._running: dict[str, _Running] = {}
        self._ended: dict[str, float] = {}

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Shows the rows, where the console is a terminal, below what is printed."""
        if not self._console.is_terminal:
            yield
            return
        with Live(
            console=self._console,
            get_renderable=self.render,
            refresh_per_second=REFRESHES_PER_SECOND,
            transient=True,
        ):
            yield

    def start(self, stage: str) -> None:
        """`stage` starts."""
        with self._lock:
            self._running[stage] = _Running(self._clock())

    def line(self, stage: str, text: str) -> None:
        """`stage` printed a line."""
        match = EPOCH.search(text)
        if match is None or int(match[1]) not in self._seeds:  # params.yaml may have changed meanwhile
            return
        seed, epoch, epochs, loss, accuracy = match.groups()
        done = self._seeds.index(int(seed)) + int(epoch) / int(epochs)
        with self._lock:
            self._running[stage].cells = (seed, f"{epoch}/{epochs}", loss, accuracy)
            self._running[stage].share = done / len(self._seeds)

    def end(self, stage: str, failure: str | None = None, warnings: Sequence[str] = ()) -> None:
        """`stage` ended: it is printed, with what it warned of; `failure` is kept in `failed`."""
        with self._lock:
            seconds = self._clock() - self._running.pop(stage).since
            self._ended[stage] = seconds
            if failure is not None:
                self.failed[stage] = failure
            count, total, left = len(self._ended), len(self._work), self._left()
        word = "done" if failure is None else "failed"
        self._print(f"[{count:>{len(str(total))}}/{total}] {stage} {word} in {seconds:.0f} s, about {left:.0f} s left")
        for warning in warnings:
            self._print(f"    {warning}")

    def render(self) -> Group:
        """Returns a row per running stage and a line for all of them."""
        table = Table(box=None, padding=(0, 1), header_style="bold", pad_edge=False)
        headers = ("running", "seed", "epoch", "loss", "valid accuracy", "time")
        shown = headers if self._console.width >= WIDE else ("running", "epoch", "time")
        for header in shown:
            is_name = header == "running"
            table.add_column(header, justify="left" if is_name else "right", no_wrap=not is_name, overflow="fold")
        with self._lock:
            now = self._clock()
            for stage, each in self._running.items():
                cells: tuple[Text | str, ...] = (Text(stage), *each.cells, _minutes(now - each.since))
                table.add_row(*(cell for header, cell in zip(headers, cells, strict=True) if header in shown))
            waiting = len(self._work) - len(self._ended) - len(self._running)
            parts = [f"{len(self._ended) - len(self.failed)} done", f"{len(self._running)} running"]
            parts += [f"{waiting} waiting"] if waiting else []
            parts += [f"{len(self.failed)} failed"] if self.failed else []
            if self._pace():
                parts.append(f"about {_minutes(self._left())} left")
        return Group(table, Text(", ".join(parts)))

    def _pace(self) -> float:
        """Seconds for a unit of work, as measured until now, trainings under way included; 0 before anything is."""
        done = sum(self._work[stage] for stage in self._ended)
        done += sum(self._work[stage] * each.share for stage, each in self._running.items())
        now = self._clock()
        spent = sum(self._ended.values()) + sum(now - each.since for each in self._running.values() if each.share)
        return spent / done if done else 0.0

    def _left(self) -> float:
        """Seconds until all is done: what is left, spread over the jobs, but no less than the longest piece."""
        shares = {stage: each.share for stage, each in self._running.items()} | dict.fromkeys(self._ended, 1.0)
        pieces = [work * (1 - shares.get(stage, 0.0)) for stage, work in self._work.items()]
        return self._pace() * max(sum(pieces) / self._jobs, max(pieces, default=0.0))

    def _print(self, text: str) -> None:
        # Never while the lock is held: printing draws the rows again, maybe in the thread that waits for it.
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)


def _minutes(seconds: float) -> str:
    """`75.2` -> `1:15`"""
    return f"{seconds // 60:.0f}:{seconds % 60 // 1:02.0f}"
