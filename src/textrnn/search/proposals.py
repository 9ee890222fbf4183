"""Which settings a search tries: batches that Optuna proposes from the values of the batches before."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass, field
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler, CmaEsSampler, QMCSampler, RandomSampler, TPESampler
from optuna.trial import TrialState

from textrnn.config.experiment import Experiment
from textrnn.config.search import Search, is_whole, off_value
from textrnn.errors import TextrnnError

FINISHED, CUT, DIVERGED, REFUSED = "finished", "cut", "diverged", "refused"

DIGITS = 3
"""Digits of proposed fractions, so that people can write them: of the value on a log scale, else of the range."""

REFUSALS = 100
"""For each setting of a batch, how many proposals in a row the experiment's rules may refuse."""

optuna.logging.set_verbosity(optuna.logging.WARNING)


@dataclass
class Trial:
    """Settings that are tried.

    Attributes:
        number: 0 is the start itself.
        batch: from 0.
        proposed: Optuna's parameters.
        knobs: the value of each.
        experiment: None if its rules refuse the knobs, which `reason` then says.
        outcome: empty until it is decided.
        values_at: the value, in nats, by epochs of each rung that it has one at.
    """

    number: int
    batch: int
    proposed: dict[str, Any]
    knobs: dict[str, Any]
    experiment: Experiment | None
    outcome: str = ""
    reason: str = ""
    values_at: dict[int, float] = field(default_factory=dict)

    @property
    def settings(self) -> Experiment:
        """The experiment of a trial that is not refused."""
        assert self.experiment is not None, self.reason
        return self.experiment

    @property
    def value(self) -> float | None:
        """The last value; None if there is none, or none that can be compared."""
        return None if self.outcome in (DIVERGED, REFUSED) else next(reversed(self.values_at.values()), None)


class Proposals:
    """Proposes the settings of `search`, always the same for the same values.

    Args:
        start: the settings of trial 0, and of everything that is not searched.
    """

    def __init__(self, search: Search, start: Experiment) -> None:
        self._search, self._start = search, start
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            self._study = optuna.create_study(sampler=_sampler(search))
        self._study.enqueue_trial(_start_values(search, start))
        self._asked: dict[int, optuna.Trial] = {}

    def batch(self, number: int) -> list[Trial]:
        """Returns the trials of a batch that can be trained, and those that the experiment's rules refuse, in order.

        Raises:
            TextrnnError: the rules refuse nearly everything in the space.
        """
        trials: list[Trial] = []
        while sum(trial.experiment is not None for trial in trials) < self._search.batch:
            trials.append(self._propose(number))
            if len(trials) >= REFUSALS and all(trial.experiment is None for trial in trials[-REFUSALS:]):
                raise TextrnnError(
                    f"the experiment's rules refuse {REFUSALS} settings of the space in a row, such as "
                    f"{trials[-1].knobs}: {trials[-1].reason}. Leave such values out of the space."
                )
        return trials

    def tell(self, trials: list[Trial]) -> None:
        """Lets the sampler learn from a batch; every trial has an outcome."""
        for trial in trials:
            asked = self._asked.pop(trial.number)
            state, value, by_rung = outcome(trial)
            for rung, at_rung in by_rung.items():
                asked.report(at_rung, rung)
            self._study.tell(asked, value, state)

    def _propose(self, batch: int) -> Trial:
        asked = self._study.ask(distributions(self._search))
        self._asked[asked.number] = asked
        knobs = {key: self._value(key, asked.params, asked.number == 0) for key in self._search.space}
        trial = Trial(asked.number, batch, asked.params, knobs, None)
        try:
            trial.experiment = self._search.settings(self._start, knobs)
        except ValueError as error:
            trial.outcome, trial.reason = REFUSED, str(error)
        return trial

    def _value(self, key: str, proposed: dict[str, Any], is_start: bool) -> Any:
        if proposed.get(_switch(key)):
            return off_value(key)
        value, knob = proposed[key], self._search.space[key]
        if is_start or not knob.bounds or not isinstance(value, float):
            return value
        low, high = knob.bounds
        scale = value if knob.log else high - low
        return min(max(round(value, DIGITS - 1 - math.floor(math.log10(scale))), low), high)


def outcome(trial: Trial) -> tuple[TrialState, float | None, dict[int, float]]:
    """Returns what Optuna learns of a trial: its state, its value, and its values by rung, from 1.

    Its samplers hold a trial that was cut later for the better one. By epochs, one with more of them would be that even
    if it was cut at the same rung. What diverged is pruned without a value, so a sampler avoids it like the worst.
    """
    by_rung = dict(enumerate(trial.values_at.values(), 1))
    if trial.outcome == FINISHED:
        return TrialState.COMPLETE, trial.value, by_rung
    state = TrialState.FAIL if trial.outcome == REFUSED else TrialState.PRUNED
    return state, None, {} if trial.outcome == DIVERGED else by_rung


def distributions(search: Search) -> dict[str, BaseDistribution]:
    """Returns what Optuna draws: one parameter for each knob, and one more for each that can be switched off."""
    drawn: dict[str, BaseDistribution] = {}
    for key, knob in search.space.items():
        if knob.choices:
            drawn[key] = CategoricalDistribution(knob.choices)
            continue
        low, high = knob.bounds
        if is_whole(key):
            drawn[key] = IntDistribution(int(low), int(high), log=knob.log)
        else:
            drawn[key] = FloatDistribution(low, high, log=knob.log)
        if knob.optional:
            drawn[_switch(key)] = CategoricalDistribution([False, True])
    return drawn


def _start_values(search: Search, start: Experiment) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key, knob in search.space.items():
        present = getattr(start, key)
        is_off = knob.optional and present == off_value(key)
        values[key] = knob.low if is_off else present  # while it is off, any value will do
        if knob.optional:
            values[_switch(key)] = is_off
    return values


def _switch(key: str) -> str:
    return f"{key}.off"


def _sampler(search: Search) -> BaseSampler:
    match search.sampler:
        case "random":
            return RandomSampler(seed=search.seed)
        case "qmc":
            return QMCSampler(seed=search.seed, scramble=True, warn_independent_sampling=False)
        case "cmaes":
            return CmaEsSampler(seed=search.seed, consider_pruned_trials=True, warn_independent_sampling=False)
    # Before anything is known it draws at random. Trials of the same batch count as bad, so that they differ.
    return TPESampler(seed=search.seed, n_startup_trials=search.batch, constant_liar=True)
