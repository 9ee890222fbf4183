"""`runs/<name>/`: where training, analysis and MLflow meet. Baselines, experiments and ensembles write the same files:

run.json             what was trained, on what, at what cost; no clock times
history.csv          a row per seed and epoch (experiments only)
predictions.parquet  a row per seed, split and example: the probability of each class
model/<seed>/        what is needed to predict from raw text
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from pydantic import TypeAdapter

from textrnn.config.experiment import OFF, Experiment
from textrnn.errors import TextrnnError, readable
from textrnn.parquet_file import read_parquet

if TYPE_CHECKING:
    import pandas as pd

MEASURES = ("loss", "accuracy", "val_loss", "val_accuracy", "learning_rate", "gradient_norm")
HISTORY_COLUMNS = ("seed", "epoch", *MEASURES)
HELD_OUT = "held_out_accuracy"
"""One more column, if a part of the train split is held out."""

PREDICTION_SCHEMA: dict[str, type[pl.DataType] | pl.DataType] = {
    "seed": pl.Int32,
    "split": pl.String,
    "id": pl.String,
    "label": pl.Int32,
    "probability": pl.List(pl.Float32),
}


@dataclass(frozen=True)
class Run:
    """The content of `run.json`.

    Attributes:
        inputs: a digest per input.
        fingerprint: one of inputs, params and code together.
        flops: floating-point operations: of a `training`, the mean over seeds, and of the `prediction` of a mean
            validation text.
        failures: by seed (as text, for JSON), why it has no predictions.
        truncated: by split, how many `texts` the network reads cut short, and how many `tokens` are cut off.
        unknown: by split, how many `tokens` it reads, how many of them are `unknown`, and in how many `texts` all are.
    """

    name: str
    kind: str
    params: dict[str, Any]
    seeds: list[int]
    classes: list[str]
    inputs: dict[str, str]
    fingerprint: str
    parameters: dict[str, int]
    flops: dict[str, float]
    failures: dict[str, str] = field(default_factory=dict)
    truncated: dict[str, dict[str, int]] = field(default_factory=dict)
    unknown: dict[str, dict[str, int]] = field(default_factory=dict)

    @property
    def model(self) -> str:
        """An experiment's cell, a baseline's kind, or `ensemble`."""
        key = {"experiment": "cell", "baseline": "kind"}.get(self.kind)
        return str(self.params[key]) if key else self.kind

    @property
    def status(self) -> str:
        """`failed` if any seed failed, else `finished`."""
        return "failed" if self.failures else "finished"

    @property
    def failure(self) -> str | None:
        """Which seeds failed and why, in one line; None if none did."""
        reasons = [f"seed {seed}: {self.failures[str(seed)]}" for seed in self.seeds if str(seed) in self.failures]
        return "; ".join(reasons) or None

    @property
    def cost(self) -> dict[str, float]:
        """The metrics `parameters` (all of them), `training_flops` and `prediction_flops`."""
        operations = {f"{what}_flops": count for what, count in self.flops.items()}
        return {"parameters": float(self.parameters["total"]), **operations}

    @property
    def finished_seeds(self) -> list[int]:
        """The seeds that have predictions, in the study's order."""
        return [seed for seed in self.seeds if str(seed) not in self.failures]


@dataclass(frozen=True)
class RunFolder(Run):
    """A run on disk: `run.json` and the tables, which are read when first used."""

    path: Path = Path()

    @classmethod
    def load(cls, path: Path) -> RunFolder:
        """Reads `path/run.json`.

        Raises:
            TextrnnError: there is no run in `path`, or its `run.json` is damaged or of another version.
        """
        file = path / "run.json"
        if not file.is_file():
            raise TextrnnError(f"{path} holds no finished run (no run.json). Run `dvc repro`.")
        with readable(file, _restore(path)):
            data = file.read_bytes()
            content = json.loads(data)
            content.pop("status", None)
            TypeAdapter(Run).validate_json(data, strict=True)
            if content["kind"] == "experiment":  # a setting that is newer than the run was off
                content["params"] = {**OFF, **content["params"]}
            run = cls(**content, path=path)
            run.model, run.cost, run.flops["training"], run.failure
            return run

    @cached_property
    def history(self) -> pd.DataFrame:
        """Columns `HISTORY_COLUMNS`, and `HELD_OUT` if anything was; empty where nothing was trained in epochs."""
        import pandas as pd

        file = self.path / "history.csv"
        with readable(file, _restore(self.path)):
            table = pd.read_csv(file) if file.is_file() else pd.DataFrame(columns=list(HISTORY_COLUMNS))
            return table.astype({**dict.fromkeys(MEASURES, float), "seed": int, "epoch": int})

    @cached_property
    def predictions(self) -> pl.DataFrame:
        """Columns `seed, split, id, label, probability (list<float32> [classes])`."""
        file = self.path / "predictions.parquet"
        with readable(file, _restore(self.path)):
            table = read_parquet(file.read_bytes())
            if dict(table.schema) != PREDICTION_SCHEMA:
                raise ValueError(f"its columns are {dict(table.schema)}")
            each = table["probability"]
            if sum(table.null_count().row(0)) or not (each.list.len() == len(self.classes)).all():
                raise ValueError(f"a row lacks a value, or one of {len(self.classes)} probabilities")
            if not table["label"].is_between(0, len(self.classes) - 1).all():
                raise ValueError("a label is none of the classes")
            if each.explode(empty_as_null=False).has_nulls():
                raise ValueError("a probability is missing")
            return table

    def probabilities(self, seed: int, split: str) -> tuple[list[str], np.ndarray, np.ndarray]:
        """Returns ids, labels `int32 [examples]` and probabilities `float32 [examples, classes]`."""
        rows = self.predictions.filter((pl.col("seed") == seed) & (pl.col("split") == split))
        stacked = rows["probability"].explode().to_numpy().reshape(len(rows), len(self.classes))
        return rows["id"].to_list(), rows["label"].to_numpy(), stacked

    def correct(self, split: str) -> np.ndarray:
        """Returns bool [finished seeds, examples]: which seed classifies which example correctly."""
        each = [self.probabilities(seed, split) for seed in self.finished_seeds]
        return np.array([probabilities.argmax(axis=1) == labels for _, labels, probabilities in each])


def _restore(folder: Path) -> str:
    way = f"Restore it with `dvc checkout --force {folder}`"
    return f"{way}; if DVC's cache lacks it, delete {folder} and run `dvc repro`."


def write_run(folder: Path, run: Run, predictions: Sequence[pl.DataFrame], history: Sequence[dict[str, Any]]) -> None:
    """Writes `run.json`, `predictions.parquet` and, unless empty, `history.csv` into `folder`.

    `predictions` has one frame per seed and split, from `prediction_rows`; `history` one row per seed and epoch, with
    `HISTORY_COLUMNS`, and maybe `HELD_OUT`.
    """
    text = json.dumps({**asdict(run), "status": run.status}, indent=2, sort_keys=True, allow_nan=False)
    (folder / "run.json").write_text(text + "\n", encoding="utf-8")
    pl.concat([pl.DataFrame(schema=PREDICTION_SCHEMA), *predictions]).write_parquet(folder / "predictions.parquet")
    if history:
        optional = [HELD_OUT] if HELD_OUT in history[0] else []
        pl.DataFrame(history).select(*HISTORY_COLUMNS, *optional).write_csv(folder / "history.csv")


def prediction_rows(
    seed: int, split: str, ids: Sequence[str], labels: np.ndarray, probabilities: np.ndarray
) -> pl.DataFrame:
    """Returns the rows of `predictions.parquet` for one seed and split.

    `labels` are int32 [examples], and `probabilities` float32 [examples, classes].
    """
    columns = {
        "seed": np.full(len(labels), seed, np.int32),
        "split": [split] * len(labels),
        "id": list(ids),
        "label": labels.astype(np.int32),
        "probability": list(probabilities.astype(np.float32)),
    }
    return pl.DataFrame(columns, PREDICTION_SCHEMA)


def kept_epoch(history: Sequence[dict[str, Any]], experiment: Experiment) -> int:
    """Returns the epoch, from 1, whose weights a training keeps.

    With early stopping it is that of the lowest validation loss, of equal ones the first; without, the last.
    """
    if experiment.early_stopping is None:
        return len(history)
    losses = [float(row["val_loss"]) for row in history]
    return 1 + losses.index(min(losses))


def digest(folder: Path) -> str:
    """Returns one SHA-256 over the names and bytes of the files in `folder`, wherever it is."""
    files = [file for file in folder.rglob("*") if file.is_file()]
    named = sorted((file.relative_to(folder).as_posix(), _sha256(file)) for file in files)
    return hashlib.sha256(json.dumps(named).encode()).hexdigest()


def fingerprint(plan: Path, inputs: dict[str, str]) -> str:
    """Returns the SHA-256 that identifies a training before it has run.

    It covers the file that the stage `plan` wrote for it (settings and code), and a digest per input.
    """
    content = {"plan": _sha256(plan), "inputs": inputs}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
