"""Logs trainings to MLflow while they run.

One MLflow experiment per study and corpus; in it one parent run per experiment, with one child run
per seed. The tracking server is a view, not a part of the training: when it is away, slow or
refuses, the training says so once and goes on. `sync` completes what is missing afterwards.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from textrnn.project.origin import Origin
from textrnn.tracking.failures import explanation
from textrnn.tracking.record import TrackedRun
from textrnn.tracking.store import Store, open_store


class LiveRun:
    """A parent run and its children, written as the training goes.

    Args:
        run: what is trained.
        project: the project's top folder, home of the default store.
    """

    def __init__(self, run: TrackedRun, project: Path) -> None:
        self._run = run
        self._project = project
        self._origin = Origin.of_checkout(Path.cwd())  # in DVC's queue a copy, unlike `project`
        self._store: Store | None = None
        self._parent_id = ""
        self._child_id = ""
        self._finals: list[dict[str, float]] = []
        self._guarded(self._start)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """An exception, Ctrl-C included, marks what is open as killed."""
        if kind is not None:
            self._guarded(self._kill)

    def start_seed(self, seed: int) -> None:
        """Opens the child run of `seed`."""

        def start(store: Store) -> None:
            self._child_id = store.open_child(self._run, self._origin, self._parent_id, seed)

        self._guarded(start)

    def epoch(self, row: dict[str, Any]) -> None:
        """Logs one row of the history: a point on every curve."""
        self._guarded(lambda store: store.log_metrics(self._child_id, [curve_point(row)]))

    def end_seed(self, metrics: dict[str, float], failure: str | None = None) -> None:
        """Closes the child run with its final `metrics`, or with why it failed."""
        if failure is None:
            self._finals.append(metrics)
        self._guarded(lambda store: store.close(self._child_id, metrics, failure))
        self._child_id = ""

    def end(self, metrics: dict[str, float], failure: str | None = None) -> None:
        """Closes the parent run with mean and standard deviation over the seeds, and `metrics`."""
        total = {**metrics, **over_seeds(self._finals)}
        self._guarded(lambda store: store.close(self._parent_id, total, failure))
        self._parent_id = ""

    def _start(self, store: Store) -> None:
        self._parent_id = store.open_parent(self._run, self._origin)

    def _kill(self, store: Store) -> None:
        for run_id in filter(None, (self._child_id, self._parent_id)):
            store.client.set_terminated(run_id, "KILLED")

    def _guarded(self, act: Callable[[Store], object]) -> None:
        """Does `act` unless MLflow was lost before; the first loss is reported, and never raised."""
        if self._store is None and act != self._start:
            return
        try:
            if self._store is None:
                self._store = open_store(self._project, f"{self._run.study}/{self._run.corpus}")
            act(self._store)
        except Exception as error:  # whatever it is: no store ends a training
            self._store = None
            sys.stderr.write(f"warning: training goes on without MLflow: {explanation(error)}\n")


def curve_point(row: dict[str, Any]) -> tuple[int, dict[str, float]]:
    """Returns the step and the metrics of one row of the history."""
    return int(row["epoch"]), {key: float(value) for key, value in row.items() if key not in ("seed", "epoch")}


def over_seeds(finals: list[dict[str, float]]) -> dict[str, float]:
    """Returns mean, and from two seeds on standard deviation, of each final metric, as `…_mean` and `…_std`."""
    summary = {}
    for key in finals[0] if finals else ():
        values = [final[key] for final in finals]
        summary[f"{key}_mean"] = statistics.fmean(values)
        if len(values) > 1:
            summary[f"{key}_std"] = statistics.stdev(values)
    return summary
