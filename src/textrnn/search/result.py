"""`runs/search@<name>/`: what a search tried, how each trial ended, and which one won.

    winner.json   the settings that won
    search.json   what was searched, what it cost, and what the winner reached
    trials.csv    a row per proposed trial: its settings, outcome, value and cost
    values.csv    a row per trial and rung: the value after its share of the epochs
    curves.csv    a row per trial, seed and epoch

Nothing in it depends on how many processes worked, or how often they were interrupted.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import optuna
import pandas as pd
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

from textrnn.config.experiment import Experiment
from textrnn.config.validation import chosen
from textrnn.errors import TextrnnError, first_line
from textrnn.run_folder import HISTORY_COLUMNS
from textrnn.search.halving import Halving, Row
from textrnn.search.proposals import DIVERGED, FINISHED, Trial, distributions
from textrnn.search.winner import RESULT, WINNER, read_winner

TRIAL_COLUMNS = ("outcome", "rung", "trained_epochs", "seeds", "value", "val_accuracy", "flops", "reason")
"""Of `trials.csv`, after `trial`, `batch` and the knobs."""

FEW = 10
"""Trials without which nothing is said about the importance of knobs."""


@dataclass(frozen=True)
class SearchResult:
    """The content of a search's folder.

    Attributes:
        winner: its number.
        value, val_accuracy: of the winner, mean over `seeds`.
        space: the knobs, as params.yaml has them.
        settings: the rest of the search, as there.
        outcomes: how many trials ended in which way.
        flops: floating-point operations of all trials.
        best: `trial`, `flops` spent until then, and `value`, each time a better one finished the last rung.
        importance: share of each knob in the differences of value after the first rung (PED-ANOVA; Watanabe, Bansal &
            Hutter, IJCAI 2023); empty if too few trials tell.
    """

    name: str
    winner: int
    value: float
    val_accuracy: float
    seeds: list[int]
    experiment: Experiment
    space: dict[str, dict[str, Any]]
    settings: dict[str, Any]
    outcomes: dict[str, int]
    flops: float
    best: list[Row]
    importance: dict[str, float]
    path: Path = Path()

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Reads `search.json` in `folder`.

        Raises:
            TextrnnError: there is no finished search, or the file is damaged.
        """
        file = folder / RESULT
        if not file.is_file():
            raise TextrnnError(f"{folder} holds no finished search (no {RESULT}). Run `dvc repro`.")
        try:
            content = json.loads(file.read_bytes())
            return cls(experiment=read_winner(folder / WINNER), path=folder, **content)
        except (LookupError, ValueError, TypeError, AttributeError) as error:
            raise TextrnnError(
                f"{file} is not what the stage wrote: {first_line(error)}. Restore it with "
                f"`dvc checkout --force {folder}`, or delete {folder} and run `dvc repro`."
            ) from None

    @cached_property
    def trials(self) -> pd.DataFrame:
        """Columns `trial`, `batch`, the knobs (empty where off), and `TRIAL_COLUMNS`."""
        return pd.read_csv(self.path / "trials.csv")

    @cached_property
    def values(self) -> pd.DataFrame:
        """Columns `trial, rung, epochs, seeds, value, val_accuracy`; a rung holds all trials that reached it."""
        return pd.read_csv(self.path / "values.csv")

    @cached_property
    def curves(self) -> pd.DataFrame:
        """Columns `trial, rung` (in which the epoch was trained) and `run_folder.HISTORY_COLUMNS`."""
        return pd.read_csv(self.path / "curves.csv")


def write(folder: Path, name: str, halving: Halving, best: Trial) -> None:
    """Writes the result of a search that has run into `folder`."""
    tables = {
        "trials": [_trial(halving, trial) for trial in halving.trials],
        "values": [asdict(rung) for rung in halving.rungs],
        "curves": _curves(halving),
    }
    for table, rows in tables.items():
        text = pd.DataFrame(rows, dtype=object).to_csv(index=False, lineterminator="\n")
        (folder / f"{table}.csv").write_text(text, encoding="utf-8")
    search = halving.search
    reached = next(rung for rung in reversed(halving.rungs) if rung.trial == best.number)
    content = {
        "name": name,
        "winner": best.number,
        "value": reached.value,
        "val_accuracy": reached.val_accuracy,
        "seeds": [task.seed for task in halving.tasks[best.number]],
        "space": {key: chosen(knob) for key, knob in search.space.items()},
        "settings": search.model_dump(exclude={"space"}),
        "outcomes": dict(sorted(Counter(trial.outcome for trial in halving.trials).items())),
        "flops": sum(row["flops"] for row in tables["trials"]),
        "best": _best(halving),
        "importance": _importance(halving),
    }
    for file, described in ((RESULT, content), (WINNER, best.settings.model_dump())):
        text = json.dumps(described, indent=2, allow_nan=False) + "\n"
        (folder / file).write_text(text, encoding="utf-8")


def _trial(halving: Halving, trial: Trial) -> Row:
    tasks = halving.tasks.get(trial.number, [])
    rungs = [rung for rung in halving.rungs if rung.trial == trial.number]
    trained = [halving.trainings[task.key] for task in tasks]
    epochs = [len(each.history[: task.until]) for each, task in zip(trained, tasks, strict=True)]
    failed = [each.failure_until(task.until) is not None for each, task in zip(trained, tasks, strict=True)]
    spent = zip(trained, epochs, failed, strict=True)
    reached = None if trial.value is None else rungs[-1]
    return {
        "trial": trial.number,
        "batch": trial.batch,
        **trial.knobs,
        "outcome": trial.outcome,
        "rung": len(rungs) + (trial.outcome == DIVERGED) or None,
        "trained_epochs": max(epochs, default=None),
        "seeds": " ".join(str(task.seed) for task in tasks),
        "value": reached and reached.value,
        "val_accuracy": reached and reached.val_accuracy,
        "flops": sum(each.flops * (count + has_failed) for each, count, has_failed in spent),
        "reason": trial.reason,
    }


def _curves(halving: Halving) -> list[Row]:
    ends = {(rung.trial, rung.rung): rung.epochs for rung in halving.rungs}
    rows = []
    for trial in halving.trials:
        own = {rung: epochs for (number, rung), epochs in ends.items() if number == trial.number}
        for task in halving.tasks.get(trial.number, []):
            for row in halving.trainings[task.key].history[: task.until]:
                rung = next((rung for rung, epochs in own.items() if row["epoch"] <= epochs), len(own) + 1)
                rows.append({"trial": trial.number, "rung": rung, **{key: row[key] for key in HISTORY_COLUMNS}})
    return rows


def _best(halving: Halving) -> list[Row]:
    """Each time a batch brought a better value, with the operations of all batches up to it."""
    found: list[Row] = []
    spent = 0.0
    for batch in dict.fromkeys(trial.batch for trial in halving.trials):
        own = [trial for trial in halving.trials if trial.batch == batch]
        spent += sum(_trial(halving, trial)["flops"] for trial in own)
        ends = [(trial.value, trial.number) for trial in own if trial.outcome == FINISHED and trial.value is not None]
        value, number = min(ends, default=(None, None))
        if value is not None and (not found or value < found[-1]["value"]):
            found.append({"trial": number, "flops": spent, "value": value})
    return found


def _importance(halving: Halving) -> dict[str, float]:
    """Of values after the first rung, which all trials have."""
    study = optuna.create_study()
    drawn = distributions(halving.search)
    for trial in halving.trials:
        if trial.values_at:
            value = next(iter(trial.values_at.values()))
            study.add_trial(optuna.create_trial(params=trial.proposed, distributions=drawn, value=value))
    if len(study.trials) < FEW or len({trial.value for trial in study.trials}) == 1:
        return {}
    shares = get_param_importances(study, evaluator=PedAnovaImportanceEvaluator())
    knobs = {key: shares.get(key, 0.0) + shares.get(f"{key}.off", 0.0) for key in halving.search.space}
    return dict(sorted(knobs.items(), key=lambda item: -item[1]))
