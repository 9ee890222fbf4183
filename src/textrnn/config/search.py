"""A search: which settings of an experiment are tried, in which batches, and what decides."""

from __future__ import annotations

import math
from difflib import get_close_matches
from statistics import fmean
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from textrnn.config.experiment import Experiment
from textrnn.config.validation import Count, Name, Seed, Strict

NEVER = {
    "teacher": "no search asks a teacher",
    "held_out": "trials with other texts to train and validate on cannot be compared",
    "refit": "a trial has no second training: set it in the start, for the winner",
}
"""Settings that are not searched, and why."""


class Knob(Strict):
    """The values that a search tries of one setting of an experiment: `choices`, or those from `low` to `high`.

    `log` spreads values evenly over orders of magnitude. `optional` also tries the setting switched off.
    """

    low: float | int | None = None
    high: float | int | None = None
    log: bool = False
    optional: bool = False
    choices: list[Any] = []

    @model_validator(mode="after")
    def _is_a_range_or_choices(self) -> Self:
        if self.choices and (self.bounds or self.log or self.optional):
            raise ValueError("low, high, log and optional do not go with choices: delete them, and add null or 0")
        if not self.choices and len(self.bounds) < 2:
            raise ValueError("a range needs low and high, and nothing else has values: give both, or choices")
        if any(choice in self.choices[:place] for place, choice in enumerate(self.choices)):
            raise ValueError(f"choices {self.choices} hold a value twice: delete one")
        if self.bounds and self.bounds[0] >= self.bounds[1]:
            raise ValueError(f"low {self.low} must be below high {self.high}: exchange them, or widen the range")
        if self.log and self.bounds[0] <= 0:
            raise ValueError(f"log needs low above 0, and low is {self.low}: raise it, or delete log")
        return self

    @property
    def bounds(self) -> list[float | int]:
        """Those of `low` and `high` that are given."""
        return [bound for bound in (self.low, self.high) if bound is not None]


class Search(Strict):
    """Which settings are tried for an experiment, and how. `start` names the experiment that trial 0 is.

    `space` has the settings that are searched; the others keep the value that they have in `start`.

    `trials` settings are proposed in batches of `batch`, so a `sampler` learns from whole batches, and proposes the
    same for any number of processes. A batch is cut by synchronous successive halving (Jamieson & Talwalkar, AISTATS
    2016): it has `rungs`; the best 1 / `reduction` of each rung go on to the next, which has `reduction` times the
    epochs, up to the experiment's own `epochs` in the last. A trial's value is its validation loss, the mean over so
    many `seeds`: a list with one number for all rungs, or one for each.

    `seed` is the first of these seeds. They are others than the study's, so the winner is trained again with fresh
    ones. Samplers are Optuna's: `tpe` (Bergstra et al., NeurIPS 2011), `random`, `qmc` (Sobol sequences; Bergstra &
    Bengio, JMLR 2012), `cmaes` (Hansen & Ostermeier, Evolutionary Computation 2001; it draws choices at random).
    """

    start: Name
    space: Annotated[dict[str, Knob], Field(min_length=1)]
    trials: Count = 64
    batch: Count = 16
    rungs: Count = 3
    reduction: Annotated[int, Field(ge=2)] = 3
    seeds: Annotated[list[Count], Field(min_length=1)] = [1]
    sampler: Literal["tpe", "random", "qmc", "cmaes"] = "tpe"
    seed: Seed = 1000

    @model_validator(mode="after")
    def _seeds_fit_the_rungs(self) -> Self:
        if len(self.seeds) not in (1, self.rungs):
            raise ValueError(f"seeds {self.seeds} must be one number, or one for each of the {self.rungs} rungs")
        if self.trials % self.batch:
            raise ValueError(f"trials {self.trials} must be a multiple of batch {self.batch}: change one of them")
        if self.seeds != sorted(self.seeds):
            raise ValueError(f"seeds {self.seeds} must not fall from rung to rung: sort them")
        return self

    def epochs(self, experiment: Experiment) -> list[int]:
        """Returns after how many epochs each rung of `experiment` ends."""
        return [math.ceil(experiment.epochs / self.reduction**left) for left in reversed(range(self.rungs))]

    @property
    def survivors(self) -> list[int]:
        """For each rung, how many trials of a batch go on; none after the last."""
        return [*(max(self.batch // self.reduction**rung, 1) for rung in range(1, self.rungs)), 0]

    def planned_epochs(self, start: Experiment) -> int:
        """Returns the epochs of all trials, if each has the mean of those searched, and all that it was given."""
        knob = self.space.get("epochs", Knob(choices=[start.epochs]))
        mean = start.model_copy(update={"epochs": round(fmean(knob.choices or knob.bounds))})
        ends, total, trained = self.epochs(mean), 0, dict[int, int]()
        for rung, trials in enumerate([self.batch, *self.survivors][: self.rungs]):
            total += trials * sum(ends[rung] - trained.get(seed, 0) for seed in self.seeds_in(rung))
            trained |= dict.fromkeys(self.seeds_in(rung), ends[rung])
        return total * (self.trials // self.batch)

    def seeds_in(self, rung: int) -> list[int]:
        """Returns the seeds of each trial in a rung, counted from 0."""
        return [self.seed + number for number in range(self.seeds[rung if len(self.seeds) > 1 else 0])]

    def settings(self, start: Experiment, values: dict[str, Any]) -> Experiment:
        """Returns `start` with `values`. Raises a `ValueError` with the rule that they break, if any."""
        try:
            return Experiment.model_validate({**start.model_dump(), **values})
        except ValidationError as error:
            raise ValueError(error.errors()[0]["msg"].removeprefix("Value error, ")) from None

    def check(self, where: str, start: Experiment) -> None:
        """Raises a `ValueError`, which opens with `where`, if the space or the rungs do not fit `start`."""
        for key, knob in self.space.items():
            _check_knob(f"{where}.space.{key}", key, knob)
            present = getattr(start, key)
            is_in_range = bool(knob.bounds) and present is not None and knob.bounds[0] <= present <= knob.bounds[1]
            if not (is_in_range or present in knob.choices or (knob.optional and present == off_value(key))):
                raise ValueError(
                    f"{where}.space.{key}: {self.start}, which is trial 0, has {present!r}, and the space does not "
                    "hold it: widen the space (optional: true lets it be off), or start from another experiment"
                )
        knob = self.space.get("epochs", Knob(choices=[start.epochs]))
        fewest = start.model_copy(update={"epochs": min(knob.choices or knob.bounds)})
        ends = self.epochs(fewest)
        if len(set(ends)) < len(ends):
            raise ValueError(
                f"{where}.rungs: {self.rungs} rungs with reduction {self.reduction} are too many for {fewest.epochs} "
                f"epochs: they would end after {', '.join(map(str, ends))}. Lower rungs or reduction, or raise epochs"
            )


def is_whole(key: str) -> bool:
    """Returns whether an experiment's setting is a whole number."""
    return breaks_rule(key, 0.5) is not None and breaks_rule(key, 1) is None


def off_value(key: str) -> Any:
    """Returns the value that switches an experiment's setting off.

    Raises:
        LookupError: none does.
    """
    default = Experiment.model_fields[key].default
    for value in (default, None, 0):
        if not value and breaks_rule(key, value) is None:
            return value
    raise LookupError(key)


def breaks_rule(key: str, value: Any) -> str | None:
    """Returns what a setting's own rule says against `value`, None if nothing."""
    try:
        Experiment.model_validate({"embedding": "any", key: value})
    except ValidationError as error:
        return next((each["msg"] for each in error.errors() if each["loc"] == (key,)), None)
    return None


def _check_knob(where: str, key: str, knob: Knob) -> None:
    if key not in Experiment.model_fields:
        close = get_close_matches(key, Experiment.model_fields, 1)
        hint = f"Did you mean {close[0]!r}?" if close else f"Known: {', '.join(Experiment.model_fields)}"
        raise ValueError(f"{where}: an experiment has no such setting. {hint}")
    if key in NEVER:
        raise ValueError(f"{where}: {NEVER[key]}: delete it")
    for value in (*knob.choices, *knob.bounds):
        if reason := breaks_rule(key, value):
            raise ValueError(f"{where}: {value!r} breaks the setting's own rule: {reason}")
    if knob.optional:
        try:
            off_value(key)
        except LookupError:
            raise ValueError(f"{where}: nothing switches this setting off: delete optional") from None


def epoch_work(experiment: Experiment) -> int:
    """Returns the relative work of an epoch: the units of all layers and directions, by which time grows."""
    return max(experiment.layers, 1) * (1 + experiment.bidirectional) * experiment.units
