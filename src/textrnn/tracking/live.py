"""Logs trainings to MLflow while they run.

The tracking server shows trainings and is no part of them: if it is unreachable, slow or refuses, training warns once
and continues. `textrnn sync` writes the complete record afterwards, from files. So a training that takes no longer than
`LIVE_AFTER` seconds logs nothing, and does not even import MLflow, which takes longer than many a baseline.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from textrnn.project.origin import Origin
from textrnn.tracking.failures import explanation
from textrnn.tracking.record import TrackedRun

if TYPE_CHECKING:
    from textrnn.tracking.store import Store

LIVE_AFTER = "TEXTRNN_LIVE_AFTER"
"""The environment variable for the seconds of a training before it appears in MLflow."""

SECONDS = 30.0
"""Its default."""


class LiveRun:
    """A parent run with a child per seed, written while the training runs.

    Until the training has run for `LIVE_AFTER` seconds, steps are only queued. Inside `dvc exp run`, whose results may
    never be synced, logging starts at once.

    Args:
        run: what is trained.
        project: the project's top folder, which has the default store.
    """

    def __init__(self, run: TrackedRun, project: Path) -> None:
        self._run = run
        self._project = project
        self._origin = Origin.of_checkout(Path.cwd())  # in DVC's queue a copy, unlike `project`
        self._began = time.monotonic()
        self._store: Store | None = None
        self._is_lost = False
        self._queue: list[Callable[[Store], object]] = []
        self._open: list[str] = []  # ids of the parent and of the child
        self._finals: list[dict[str, float]] = []
        self._log(lambda store: self._open.append(store.open(run, self._origin)))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """An exception, Ctrl-C included, marks open runs as killed."""
        if kind is not None and self._store is not None:
            self._log(self._kill)

    def start_seed(self, seed: int) -> None:
        """Opens the child run of `seed`."""
        self._log(lambda store: self._open.append(store.open(self._run, self._origin, self._open[0], seed)))

    def epoch(self, row: dict[str, Any]) -> None:
        """Logs one row of the history: a point on every curve."""
        self._log(lambda store: store.log_metrics(self._open[-1], [curve_point(row)]))

    def end_seed(self, metrics: dict[str, float], failure: str | None = None) -> None:
        """Closes the child run with its final `metrics`, or with the reason of its failure."""
        if failure is None:
            self._finals.append(metrics)
        self._log(lambda store: store.close(self._open.pop(), [(0, metrics)], failure))

    def end(self, metrics: dict[str, float], failure: str | None = None) -> None:
        """Closes the parent run with mean and standard deviation over the seeds, and `metrics`."""
        total = {**metrics, **over_seeds(self._finals)}
        self._log(lambda store: store.close(self._open.pop(), [(0, total)], failure))

    def _kill(self, store: Store) -> None:
        for run_id in self._open:
            store.client.set_terminated(run_id, "KILLED")

    def _log(self, step: Callable[[Store], object]) -> None:
        """Queues a step and, once it is time, executes the queue; the first failure is a warning, and the last."""
        if self._is_lost:
            return
        self._queue.append(step)
        try:
            wait = 0.0 if self._origin.experiment else float(os.environ.get(LIVE_AFTER, SECONDS))
            if time.monotonic() - self._began < wait:
                return
            if self._store is None:
                from textrnn.tracking.store import open_store

                self._store = open_store(self._project, f"{self._run.study}/{self._run.corpus}")
            while self._queue:
                self._queue.pop(0)(self._store)
        except Exception as error:  # of any kind: no store ends a training
            self._is_lost = True
            sys.stderr.write(f"warning: training continues without MLflow: {explanation(error)}\n")


def curve_point(row: dict[str, Any]) -> tuple[int, dict[str, float]]:
    """Returns the step and the metrics of one row of the history."""
    return int(row["epoch"]), {key: float(value) for key, value in row.items() if key not in ("seed", "epoch")}


def over_seeds(finals: list[dict[str, float]]) -> dict[str, float]:
    """Returns mean and, from two seeds on, standard deviation of each final metric, as `…_mean` and `…_std`."""
    summary = {}
    for key in finals[0] if finals else ():
        values = [final[key] for final in finals]
        summary[f"{key}_mean"] = statistics.fmean(values)
        if len(values) > 1:
            summary[f"{key}_std"] = statistics.stdev(values)
    return summary
