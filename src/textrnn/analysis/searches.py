"""What each search tried, what won, and how far the winner's figures fall when it is trained again.

A search keeps the lowest of many noisy values, so the winner's own value is optimistic: chance helped to choose it.
Training it again with seeds that the search has not seen shows by how much.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from textrnn.analysis.run_tables import DIGITS
from textrnn.analysis.significance import Estimate
from textrnn.search.result import SearchResult
from textrnn.wording import setting

OUTCOMES = ("finished", "cut", "diverged", "refused")
FIGURES = {"accuracy": "accuracy", "loss": "log_loss"}
"""What the search and the new training both measure on the validation split: its name here, and among the scores."""

ABOUT = ("", "_again", "_optimism", "_low", "_high")
SUMMARY = ("search", "trials", *OUTCOMES, "rungs", "flops", "winner", "search_seeds", "seeds")
COLUMNS = {
    "searches": (*SUMMARY, *(f"{figure}{what}" for figure in FIGURES for what in ABOUT)),
    "search_trials": ("search", "trial", "rank"),
    "search_values": ("search", "trial", "rung", "epochs", "seeds", "value", "val_accuracy"),
    "search_best": ("search", "trial", "flops", "value"),
    "search_knobs": ("search", "knob", "importance", "low", "high", "log", "optional", "choices"),
}


def searches(results: Sequence[SearchResult], scores: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Returns five tables, each with the column `search`; all are empty without `results`.

    - `searches`, a row each: how many `trials`, how many of each of `OUTCOMES`, how many `rungs`, the `flops` spent;
      the `winner` (number of the trial), in the search the mean `accuracy` and `loss` (log loss, nats) over its
      `search_seeds`, and the means over the study's `seeds` (`…_again`), all on the validation split. `…_optimism` is
      positive if the search shows the better figure; `…_low` and `…_high` limit its 95 % interval, Student's with the
      variance of the study's seeds for both means, and are NaN with fewer than two of these.
    - `search_trials`: trials.csv of every search, and the `rank` of each trial that has a value: first by its last
      rung, then by its value there.
    - `search_values`: values.csv of every search.
    - `search_best`: the lowest `value` of a trial at the last rung when `flops` operations were spent, and its `trial`.
    - `search_knobs`: each knob's range or choices, and its `importance`, a share; most important first.

    Args:
        scores: `run_tables.seed_scores(…)` of the study, with a run of each search's name.
    """
    found = {
        "searches": pd.DataFrame([_summary(each, scores) for each in results]),
        "search_trials": _together(results, [_ranked(each) for each in results]),
        "search_values": _together(results, [each.values for each in results]),
        "search_best": _together(results, [pd.DataFrame(each.best) for each in results]),
        "search_knobs": _together(results, [_knobs(each) for each in results]),
    }
    return {name: table if len(table) else pd.DataFrame(columns=COLUMNS[name]) for name, table in found.items()}


def _summary(result: SearchResult, scores: pd.DataFrame) -> dict[str, Any]:
    own = scores[(scores["experiment"] == result.name) & (scores["split"] == "valid")]
    row = {
        "search": result.name,
        "trials": len(result.trials),
        **{outcome: result.outcomes.get(outcome, 0) for outcome in OUTCOMES},
        "rungs": int(result.trials["rung"].max()),
        "flops": result.flops,
        "winner": result.winner,
        "search_seeds": len(result.seeds),
        "seeds": len(own),
    }
    in_search = {"accuracy": result.val_accuracy, "loss": result.value}
    for figure, score in FIGURES.items():
        again = own[score]
        better = 1 if figure == "accuracy" else -1
        # Without a second seed the variance is NaN, and so is the interval.
        variance = again.var(ddof=1) * (1 / len(result.seeds) + 1 / max(len(again), 1))
        optimism = Estimate(better * (in_search[figure] - again.mean()), ((variance, max(len(again) - 1, 1)),))
        values = (in_search[figure], again.mean(), optimism.value, *optimism.interval())
        row |= {f"{figure}{what}": value for what, value in zip(ABOUT, values, strict=True)}
    return row


def _ranked(result: SearchResult) -> pd.DataFrame:
    """The trials with their `rank`. Settings keep their digits, and whole numbers stay whole."""
    trials = result.trials.astype({**dict.fromkeys(result.space, object), "rung": "Int64", "trained_epochs": "Int64"})
    valued = trials[trials["value"].notna()]
    order = valued.sort_values(["rung", "value"], ascending=[False, True], kind="stable").index
    return trials.assign(rank=pd.Series(range(1, len(order) + 1), order, dtype="Int64"))


def _knobs(result: SearchResult) -> pd.DataFrame:
    rows = [
        {
            "knob": knob,
            "importance": round(result.importance[knob], DIGITS) if knob in result.importance else None,
            **{key: rule.get(key) for key in ("low", "high", "log", "optional")},
            "choices": ", ".join(map(setting, rule.get("choices") or ())),
        }
        for knob, rule in result.space.items()
    ]
    table = pd.DataFrame(rows, dtype=object)
    return table.sort_values("importance", ascending=False, kind="stable", key=lambda shares: shares.astype(float))


def _together(results: Sequence[SearchResult], tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    named = [table.assign(search=result.name) for result, table in zip(results, tables, strict=True)]
    table = pd.concat(named, ignore_index=True) if named else pd.DataFrame(columns=["search"])
    return table[["search", *table.columns.drop("search")]]
