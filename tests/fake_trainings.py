"""Trainings of a search whose losses are known, done at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from textrnn.config.experiment import Experiment
from textrnn.config.search import Search
from textrnn.run_folder import HISTORY_COLUMNS
from textrnn.search.halving import Task, Training

START = Experiment(embedding="any", epochs=9, units=8, dropout=0.0)
SPACE = {
    "units": {"low": 2, "high": 64, "log": True},
    "learning_rate": {"low": 0.001, "high": 0.1, "log": True},
    "dropout": {"low": 0.1, "high": 0.5, "optional": True},
    "cell": {"choices": ["lstm", "feedforward"]},
    "bidirectional": {"choices": [False, True]},
}


def loss(experiment: Experiment, seed: int, epoch: int) -> float:
    return abs(experiment.units - 20) / 100 + experiment.dropout + seed % 10 / 1000 + 1 / epoch


class Lab:
    """Trains at once, and counts the epochs of each training."""

    def __init__(self, loss: Callable[[Experiment, int, int], float] = loss) -> None:
        self.loss = loss
        self.done: dict[str, Training] = {}
        self.epochs: list[int] = []

    def train(self, tasks: list[Task]) -> dict[str, Training]:
        assert len({task.key for task in tasks}) == len(tasks)
        for task in tasks:
            self.done[task.key] = self._train(task)
        return {task.key: self.done[task.key] for task in tasks}

    def _train(self, task: Task) -> Training:
        known, experiment = self.done.get(task.key), task.experiment
        if known and known.is_over:
            return known
        rows = list(known.history) if known else []
        for epoch in range(len(rows) + 1, task.until + 1):
            value = self.loss(experiment, task.seed, epoch)
            if value > 10:
                return Training(rows, 100.0, True, f"the loss is no longer a finite number in epoch {epoch}")
            row: dict[str, Any] = dict.fromkeys(HISTORY_COLUMNS, 0.5)
            rows.append(row | {"seed": task.seed, "epoch": epoch, "val_loss": value, "val_accuracy": 1 - value / 4})
            self.epochs.append(epoch)
            losses = [row["val_loss"] for row in rows]
            waited = len(rows) - 1 - losses.index(min(losses))
            if experiment.early_stopping is not None and waited >= experiment.early_stopping:
                return Training(rows, 100.0, True)
        return Training(rows, 100.0, len(rows) == experiment.epochs)


def search(**changes: Any) -> Search:
    return Search.model_validate({"start": "lstm", "space": SPACE, "trials": 18, "batch": 9, **changes})
