"""Ensembles: runs whose probabilities are averaged; and `members.yaml`, by which DVC knows who is in which, or teaches.

A stage of dvc.yaml cannot have a list of dependencies that differs from item to item: DVC interpolates no lists there.
So each member is an item of its own, and its stage copies the run to where the ensemble reads it. DVC can iterate over
items of one section only, and in params.yaml members are in lists: `members.yaml` has them one by one. It also names
each teacher once, however many students it has.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal, Self

import yaml
from pydantic import Field, model_validator

from textrnn.config.validation import Name, Strict

MEMBERS = "members.yaml"

HEADER = """\
# Written by `textrnn repro`, or the stage `plan`, from `ensembles` and `students`: see src/textrnn/config/ensemble.py.
"""


class Ensemble(Strict):
    """The average of the probabilities of the runs `of`, each of which is the mean over its finished seeds.

    `weights` are `equal`, or `fitted`: at least 0, with the sum 1, and such that the log loss on the validation split
    is the lowest (stacking: Breiman, Machine Learning 1996).
    """

    of: Annotated[list[Name], Field(min_length=1)]
    weights: Literal["equal", "fitted"] = "equal"

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        if twice := sorted({name for name in self.of if self.of.count(name) > 1}):
            raise ValueError(f"of names {', '.join(twice)} twice, and weights say how much a run counts: delete one")
        return self


def member(ensemble: str, run: str) -> str:
    """Returns the name of a member, which no run can have."""
    return f"{ensemble}+{run}"


def write_members(project: Path, ensembles: Mapping[str, Ensemble], teachers: Sequence[str]) -> bool:
    """Brings `members.yaml` in the folder `project` up to date; returns whether it was not."""
    members = {
        member(name, run): {"ensemble": name, "run": run} for name, ensemble in ensembles.items() for run in ensemble.of
    }
    content, file = {"members": members, "teachers": [*teachers]}, project / MEMBERS
    if file.is_file() and yaml.safe_load(file.read_text(encoding="utf-8")) == content:
        return False
    file.write_text(HEADER + yaml.safe_dump(content, sort_keys=False), encoding="utf-8", newline="\n")
    return True
