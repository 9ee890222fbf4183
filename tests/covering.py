"""Experiments in which every pair of choices occurs, instead of all combinations."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import combinations, product
from typing import Any

from pydantic import ValidationError
from tiny_experiments import make_experiment


def covering(**choices: Iterable[Any]) -> list[dict[str, Any]]:
    """Returns settings such that any two values of two knobs occur together in at least one, if they may.

    Faults of a combination nearly always depend on one or two values (Kuhn, Wallace & Gallo, IEEE Transactions on
    Software Engineering 2004). The next setting is the first of those with the most pairs that are still missing.
    """
    settings = [dict(zip(choices, values, strict=True)) for values in product(*choices.values())]
    pairs = [(set(combinations(setting.items(), 2)), setting) for setting in settings if is_valid(setting)]
    missing = set().union(*(each for each, _ in pairs))
    chosen = []
    while missing:
        found, setting = max(pairs, key=lambda pair: len(pair[0] & missing))
        missing -= found
        chosen.append(setting)
    return chosen


def is_valid(setting: dict[str, Any]) -> bool:
    """Whether params accept `setting`."""
    try:
        make_experiment(**setting)
    except ValidationError:
        return False
    return True
