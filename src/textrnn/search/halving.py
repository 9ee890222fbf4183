"""Synchronous successive halving: a batch is trained rung by rung, and its best part goes on.

Jamieson & Talwalkar, AISTATS 2016. What is proposed and cut depends on values alone, never on what ended first.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

from textrnn.config.experiment import Experiment
from textrnn.config.search import Search
from textrnn.errors import TextrnnError
from textrnn.run_folder import kept_epoch
from textrnn.search.proposals import CUT, DIVERGED, FINISHED, Proposals, Trial

Row = dict[str, Any]


@dataclass(frozen=True)
class Task:
    """A training of a trial up to the end of the epoch `until`. Trials with equal settings share it."""

    trial: int
    batch: int
    experiment: Experiment
    seed: int
    until: int

    @property
    def key(self) -> str:
        """A digest of settings and seed."""
        settings = json.dumps([self.experiment.model_dump(), self.seed], sort_keys=True)
        return hashlib.sha256(settings.encode()).hexdigest()[:32]


@dataclass(frozen=True)
class Training:
    """What is known of a training.

    Attributes:
        history: a row for each epoch, with `run_folder.HISTORY_COLUMNS`.
        flops: floating-point operations of an epoch.
        is_over: more epochs would add nothing: it failed, stopped early, or had all its epochs.
        failure: why the epoch after `history` failed.
    """

    history: list[Row]
    flops: float
    is_over: bool
    failure: str | None = None

    def is_enough(self, task: Task) -> bool:
        """Whether nothing is left to do for `task`."""
        return self.is_over or len(self.history) >= task.until

    def failure_until(self, until: int) -> str | None:
        """Returns why it failed up to the end of the epoch `until`, None if it did not."""
        return self.failure if len(self.history) < until else None

    def kept(self, experiment: Experiment, until: int) -> Row:
        """Returns the row of the epoch whose weights would be kept after the epoch `until`."""
        rows = self.history[:until]
        return rows[kept_epoch(rows, experiment) - 1]


Train = Callable[[list[Task]], dict[str, Training]]
"""Does tasks, no two with the same key, and returns the trainings by key."""


@dataclass(frozen=True)
class Rung:
    """What a trial had reached at the end of a rung, counted from 1: means over so many seeds."""

    trial: int
    rung: int
    epochs: int
    seeds: int
    value: float
    val_accuracy: float


@dataclass
class Halving:
    """A search from its first batch to its winner.

    Attributes:
        trials: in the order in which they were proposed.
        tasks: of each trial, those of its last rung.
        rungs: what trials reached, in the order of the work.
        trainings: by key.
    """

    search: Search
    start: Experiment
    train: Train
    on_batch: Callable[[list[Trial]], None] = lambda trials: None
    trials: list[Trial] = field(default_factory=list)
    tasks: dict[int, list[Task]] = field(default_factory=dict)
    rungs: list[Rung] = field(default_factory=list)
    trainings: dict[str, Training] = field(default_factory=dict)

    def run(self) -> Trial:
        """Returns the winner: the lowest value of those that finished the last rung, of equal ones the first.

        Raises:
            TextrnnError: no trial finished the last rung.
        """
        proposals = Proposals(self.search, self.start)
        for batch in range(self.search.trials // self.search.batch):
            trials = proposals.batch(batch)
            self.trials += trials
            self._halve([trial for trial in trials if not trial.outcome])
            proposals.tell(trials)
            self.on_batch(trials)
        finished = [trial for trial in self.trials if trial.outcome == FINISHED]
        if not finished:
            raise TextrnnError(
                f"none of {len(self.trials)} trials reached the end; the first: {self.trials[0].reason}. Lower the "
                "range of learning_rate, or set gradient_clip in the start, and run this again."
            )
        return min(finished, key=_rank)

    def _halve(self, trials: list[Trial]) -> None:
        for rung, stays in enumerate(self.search.survivors):
            for trial in trials:
                until = self.search.epochs(trial.settings)[rung]
                seeds = self.search.seeds_in(rung)
                self.tasks[trial.number] = [
                    Task(trial.number, trial.batch, trial.settings, seed, until) for seed in seeds
                ]
            tasks = {task.key: task for trial in trials for task in self.tasks[trial.number]}
            self.trainings |= self.train([*tasks.values()])
            for trial in trials:
                self._judge(trial, rung + 1)
            trials = sorted((trial for trial in trials if not trial.outcome), key=_rank)
            for trial in trials[stays:]:
                trial.outcome = CUT if stays else FINISHED
            trials = trials[:stays]

    def _judge(self, trial: Trial, rung: int) -> None:
        tasks = self.tasks[trial.number]
        done = [self.trainings[task.key] for task in tasks]
        until = tasks[0].until
        failures = {task.seed: each.failure_until(until) for task, each in zip(tasks, done, strict=True)}
        if any(failures.values()):
            trial.outcome = DIVERGED
            trial.reason = "; ".join(f"seed {seed}: {failure}" for seed, failure in failures.items() if failure)
            return
        kept = [each.kept(trial.settings, until) for each in done]
        value, accuracy = (fmean(float(row[key]) for row in kept) for key in ("val_loss", "val_accuracy"))
        trial.values_at[until] = value
        self.rungs.append(Rung(trial.number, rung, until, len(tasks), value, accuracy))


def _rank(trial: Trial) -> tuple[float, int]:
    return next(reversed(trial.values_at.values())), trial.number
