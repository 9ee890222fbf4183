"""The lines that a search prints: `orchestration.live_view` reads them."""

from __future__ import annotations

import sys
from statistics import fmean

from textrnn.config.experiment import Experiment
from textrnn.config.search import Search
from textrnn.search.halving import Task, Training
from textrnn.search.proposals import CUT, Trial


class Progress:
    """Counts what is done; each training that ends prints a line.

    Args:
        trials: the list that the search extends.
    """

    def __init__(self, search: Search, start: Experiment, trials: list[Trial]) -> None:
        self._total, self._trials = search.planned_epochs(start), trials
        self._epochs: dict[str, int] = {}
        self._running: list[int] = []
        self._values: dict[
            int, tuple[int, list[float]]
        ] = {}  # of each trial at its last rung: epochs, a value per seed

    def start(self, task: Task) -> None:
        """A training starts."""
        self._running.append(task.trial)

    def end(self, task: Task, training: Training, node: str | None = None) -> None:
        """A training has reached the end of its rung, on a node of a cluster if it has a name."""
        self._running.remove(task.trial)
        self.known(task, training)
        failure = training.failure_until(task.until)
        result = failure or f"{training.kept(task.experiment, task.until)['val_loss']:.4f} after epoch {task.until}"
        means = [(fmean(values), trial) for trial, (_, values) in self._values.items()]
        lowest = "lowest {:.4f} (trial {}), ".format(*min(means)) if means else ""
        cut = sum(trial.outcome == CUT for trial in self._trials)
        running = f", running: {', '.join(map(str, sorted(self._running)))}" if self._running else ""
        done = min(sum(self._epochs.values()), self._total)
        trial = f"trial {task.trial} on {node}" if node else f"trial {task.trial}"
        sys.stdout.write(f"{done}/{self._total} epochs  {trial}: {result}, {lowest}{cut} cut{running}\n")
        sys.stdout.flush()

    def known(self, task: Task, training: Training) -> None:
        """A training is done, perhaps by a process before this one."""
        self._epochs[task.key] = task.until  # also if it stopped early: nothing is left to do
        if not training.failure_until(task.until):
            until, values = self._values.get(task.trial, (0, []))
            known = values if until == task.until else []
            value = float(training.kept(task.experiment, task.until)["val_loss"])
            self._values[task.trial] = task.until, [*known, value]
