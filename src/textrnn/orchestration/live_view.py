"""Progress of stages that run side by side: a row per stage on a terminal, a line per finished stage anywhere."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence

from rich.console import Console, RenderableType
from rich.progress import Progress, ProgressColumn, Task, TaskID
from rich.table import Column
from rich.text import Text

EPOCH = re.compile(r"seed (\d+) +epoch +(\d+)/(\d+) +loss (\S+) .*\bval_accuracy (\S+)")
"""The line that `stages/train.py` prints after each epoch."""

SEARCH = re.compile(r"^(\d+)/(\d+) epochs  (.+)$")
"""The line that `stages/search.py` prints after each training: how far it is, and what happened."""

NODE = re.compile(r"^on (\S+)$")
"""The line with which a stage begins that runs on a node of a cluster."""

WIDE = 72
"""Columns of a terminal on which a whole row fits; a narrower one shows name, epoch and time."""


class _Column(ProgressColumn):
    def __init__(self, text: Callable[[Task], str]) -> None:
        super().__init__(Column(overflow="fold"))
        self._text = text

    def render(self, task: Task) -> Text:
        return Text(self._text(task))


class LiveView(Progress):
    """Follows stages from their start to their end; its methods may be called from any thread.

    As a context it shows the rows, where the console is a terminal, below what is printed.

    Args:
        work: the cost of each stage, in units of which only ratios matter; 0 for one that is not estimated.
        seeds: of every training, in the order in which they are trained.
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
        self._work, self._seeds, self._jobs = work, seeds, jobs
        self._running: dict[str, TaskID] = {}
        self._ended: dict[str, float] = {}
        shown = ("seed", "epoch", "loss", "accuracy") if console.width >= WIDE else ("epoch",)
        super().__init__(
            _Column(lambda task: task.description),
            *(_Column(lambda task, key=key: task.fields.get(key, "")) for key in shown),  # type: ignore[misc]
            _Column(lambda task: _minutes(task.elapsed or 0.0)),
            console=console,
            get_time=clock,
            refresh_per_second=2,
            transient=True,
            disable=not console.is_terminal,
        )

    def begin(self, stage: str) -> None:
        """`stage` starts."""
        task = self.add_task(stage, total=1.0)
        with self._lock:
            self._running[stage] = task

    def line(self, stage: str, text: str) -> None:
        """`stage` printed a line; one that has ended is ignored."""
        if stage not in self._running:
            return
        if search := SEARCH.match(text):
            done, total, news = search.groups()
            self.update(self._running[stage], completed=int(done) / int(total), epoch=news)
            return
        if node := NODE.match(text):
            self.update(self._running[stage], description=f"{stage} on {node[1]}")
            return
        match = EPOCH.search(text)
        if match is None or int(match[1]) not in self._seeds:  # params.yaml may have changed meanwhile
            return
        seed, epoch, epochs, loss, accuracy = match.groups()
        self.update(
            self._running[stage],
            completed=(self._seeds.index(int(seed)) + int(epoch) / int(epochs)) / len(self._seeds),
            seed=f"seed {seed}",
            epoch=f"epoch {epoch}/{epochs}",
            loss=f"loss {loss}",
            accuracy=f"valid accuracy {accuracy}",
        )

    def end(self, stage: str, failure: str | None = None, warnings: Sequence[str] = ()) -> None:
        """`stage` ended: this is printed, with its warnings; `failure` is kept in `failed`."""
        with self._lock:
            task = self._running.pop(stage)
            seconds = self._ended[stage] = self._tasks[task].elapsed or 0.0
            if failure is not None:
                self.failed[stage] = failure
            count, total = len(self._ended), len(self._work)
            left = f", about {self._left():.0f} s left" if self._left() else ""
            name = self._tasks[task].description
        self.remove_task(task)
        word = "done" if failure is None else "failed"
        line = f"[{count:>{len(str(total))}}/{total}] {name} {word} in {seconds:.0f} s{left}"
        # Never while the lock is held: printing draws the rows again, maybe in the thread that waits for it.
        for text in (line, *(f"    {warning}" for warning in warnings)):
            self.console.print(text, highlight=False, markup=False, soft_wrap=True)

    def get_renderables(self) -> Iterable[RenderableType]:
        """Yields a row per running stage and a line for all of them."""
        with self._lock:
            waiting = len(self._work) - len(self._ended) - len(self._running)
            parts = [f"{len(self._ended) - len(self.failed)} done", f"{len(self._running)} running"]
            parts += [f"{waiting} waiting"] * bool(waiting)
            parts += [f"{len(self.failed)} failed"] * bool(self.failed)
            parts += [f"about {_minutes(self._left())} left"] * bool(self._pace())
            table = self.make_tasks_table(self.tasks)
        yield table
        yield Text(", ".join(parts))

    def _pace(self) -> float:
        """Seconds for a unit of work, as measured up to now, running trainings included; 0 before any is measured."""
        tasks = [(self._work[stage], self._tasks[task]) for stage, task in self._running.items()]
        ended = [(self._work[stage], seconds) for stage, seconds in self._ended.items()]
        ended += [(work * task.completed, task.elapsed or 0.0) for work, task in tasks]
        done, spent = sum(work for work, _ in ended), sum(seconds for work, seconds in ended if work)
        return spent / done if done else 0.0

    def _left(self) -> float:
        """Seconds until all is done: what is left, divided among the jobs, but no less than the longest piece."""
        shares = {stage: self._tasks[task].completed for stage, task in self._running.items()}
        shares |= dict.fromkeys(self._ended, 1.0)
        pieces = [work * (1 - shares.get(stage, 0.0)) for stage, work in self._work.items()]
        return self._pace() * max(sum(pieces) / self._jobs, max(pieces, default=0.0))


def _minutes(seconds: float) -> str:
    """`75.2` -> `1:15`"""
    return f"{seconds // 60:.0f}:{seconds % 60 // 1:02.0f}"
