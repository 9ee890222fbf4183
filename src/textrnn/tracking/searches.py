"""The record of a search: a parent with one child per trial, made from `runs/search@<name>/`."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from textrnn.config.params import Params
from textrnn.run_folder import MEASURES
from textrnn.search.winner import RUNS, is_current, search_folder
from textrnn.tracking.record import PARENT, Tags, source_tags
from textrnn.tracking.source import Recorded, Source
from textrnn.tracking.store import Row, Store

if TYPE_CHECKING:
    from textrnn.search.result import SearchResult

SEARCH = "search"
"""The tag of a search's runs for its name. The tag `experiment`, by which runs are found, is for runs alone."""

FINALS = {"value": "value", "val_accuracy": "valid_accuracy", "flops": "training_flops", "rung": "rung"}
"""Final metrics of a trial by column of `trials.csv`; `val_accuracy` is a curve."""


@dataclass(frozen=True)
class SearchSource(Source):
    """A search's folder that gets a record."""

    result: SearchResult

    def is_in(self, record: Recorded) -> bool:
        """Whether `record` is of a search of this name, and no process writes it."""
        return record.tag(SEARCH) == self.result.name and record.parent.info.status != "RUNNING"

    def create(self, store: Store, same: list[Recorded]) -> str:
        """Writes the parent and a child for each trial, with a curve for each measure; returns the parent's id."""
        result, origin = self.result, self.origin
        trials = result.trials.to_dict("records")
        best = ", ".join(f"{knob} {_shown(trials[result.winner][knob])}" for knob in result.space)
        shared: Tags = {
            "study": self.params.study,
            "corpus": self.params.corpus,
            SEARCH: result.name,
            **source_tags(self.stage, origin),
        }
        tags: Tags = {
            **shared,
            "kind": "search",
            "winner": str(result.winner),
            "mlflow.runName": f"search {result.name}",
            "mlflow.note.content": f"Trial {result.winner} is the best of {len(trials)}: {best}.",
        }
        parent_id = store.create(tags, _settings(result), self.datasets, origin.patch)
        curves = _curves(result)
        for trial in trials:
            number, outcome = trial["trial"], trial["outcome"]
            tags = {
                **shared,
                "kind": "trial",
                "trial": str(number),
                **{key: _shown(trial[key]) for key in ("outcome", "batch", "seeds") if not pd.isna(trial[key])},
                PARENT: parent_id,
                "mlflow.runName": f"{result.name} trial {number}",
            }
            run_id = store.create(tags, {knob: _shown(trial[knob]) for knob in result.space})
            finals = {name: trial[key] for key, name in FINALS.items() if not pd.isna(trial[key])}
            # A trial that was cut has done what was planned for it, and its value is a result: it is no failure.
            failure = None if outcome in ("finished", "cut") else f"{outcome}: {trial['reason']}"
            store.close(run_id, [*curves.get(number, []), (0, finals)], failure)
        store.close(parent_id, _totals(result))
        return parent_id

    def complete(self, store: Store, record: Recorded) -> None:
        """Adds the search's files and pictures to the parent."""
        from textrnn.report.plots import draw  # deferred: slow imports, and mostly nothing to complete

        with tempfile.TemporaryDirectory() as scratch:
            shutil.copytree(self.path, scratch, dirs_exist_ok=True)
            draw.search(Path(scratch), self.result)
            store.client.log_artifacts(record.parent.info.run_id, scratch)


def find_search(project: Path, params: Params, name: str) -> SearchSource | None:
    """Returns the search `name` if it is in files that were made with the study's present params."""
    from textrnn.search.result import SearchResult  # deferred: a study without searches needs no Optuna

    folder, search = search_folder(project / RUNS, name), params.searches[name]
    if not is_current(folder, search, params.experiments[search.start]):
        return None
    result = SearchResult.load(folder)
    return SearchSource(project, params, folder, f"search@{name}", result.trials["trial"].tolist(), result)


def _settings(result: SearchResult) -> dict[str, str]:
    """Returns the params of a search: its settings, and `space.<knob>` with what was tried."""
    space = {}
    for knob, values in result.space.items():
        tried = values.get("choices") or [f"{values['low']} to {values['high']}"]
        flags = [flag for flag, value in values.items() if value is True]
        space[f"space.{knob}"] = ", ".join(map(str, [*tried, *flags]))
    return {**{key: _shown(value) for key, value in result.settings.items()}, **space}


def _totals(result: SearchResult) -> Iterator[Row]:
    """Yields the metrics of a search; the best value so far has operations as its step."""
    yield from ((int(best["flops"]), {"best_value": best["value"]}) for best in result.best)
    outcomes = {f"trials_{outcome}": count for outcome, count in result.outcomes.items()}
    importance = {f"importance.{knob}": share for knob, share in result.importance.items()}
    final = {"value": result.value, "valid_accuracy": result.val_accuracy, "training_flops": result.flops}
    yield 0, {**final, "trials": len(result.trials), **outcomes, **importance}


def _curves(result: SearchResult) -> dict[int, list[Row]]:
    """Returns each trial's curves: at every epoch the mean over the seeds that were trained in it."""
    means = result.curves.groupby(["trial", "epoch"])[list(MEASURES)].mean()
    curves: dict[int, list[Row]] = {}
    for (trial, epoch), row in zip(means.index, means.to_dict("records"), strict=True):
        curves.setdefault(int(trial), []).append((int(epoch), {str(key): value for key, value in row.items()}))
    return curves


def _shown(value: Any) -> str:
    """Returns a value of a table as text; whole numbers of a column with gaps as such."""
    if isinstance(value, float):
        return "None" if pd.isna(value) else f"{value:.12g}"
    return str(value)
