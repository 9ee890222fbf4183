"""Names, tags, params and description of a run in MLflow, whether it is logged live or made from files."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from textrnn.project.origin import Origin

REGULARIZATION = (
    "embedding_dropout",
    "spatial_dropout",
    "recurrent_dropout",
    "dropout",
    "l2",
    "label_smoothing",
    "gradient_clip",
    "ema",
    "early_stopping",
)
"""The params of an experiment that only regularize it; each is off when it is 0 or null."""


@dataclass(frozen=True)
class TrackedRun:
    """One experiment or baseline of a study.

    Attributes:
        kind: `experiment` or `baseline`.
        params: complete, defaults merged in.
        fingerprint: a digest of params, inputs and code together.
        datasets: DVC's hash by data folder.
        defaults: the study's `train` section; empty for a baseline.
    """

    study: str
    corpus: str
    name: str
    kind: str
    params: dict[str, Any]
    fingerprint: str
    datasets: dict[str, str]
    defaults: dict[str, Any] = field(default_factory=dict)

    @property
    def stage(self) -> str:
        """DVC's name of the stage that makes it."""
        return f"{'train' if self.kind == 'experiment' else 'baseline'}@{self.name}"

    @property
    def description(self) -> str:
        """One sentence about the difference between this run and its study's defaults."""
        if self.kind == "baseline":
            settings = _listed({key: value for key, value in self.params.items() if key != "kind"})
            return f"Baseline {self.params['kind']}" + (f" with {settings}." if settings else ".")
        changes = {key: value for key, value in self.params.items() if self.defaults.get(key, value) != value}
        differs = f"differs from the study's defaults in {_listed(changes)}" if changes else "has the study's defaults"
        return f"Starts from the embedding {self.params['embedding']} and {differs}."


def parent_tags(run: TrackedRun, origin: Origin) -> dict[str, str]:
    """Returns the tags of the run for all seeds."""
    return {**_tags(run, origin), "mlflow.runName": run.name, "mlflow.note.content": run.description}


def child_tags(run: TrackedRun, origin: Origin, parent_id: str, seed: int) -> dict[str, str]:
    """Returns the tags of the run for one seed."""
    return {
        **_tags(run, origin),
        "mlflow.runName": f"{run.name} seed {seed}",
        "mlflow.parentRunId": parent_id,
        "seed": str(seed),
    }


def _tags(run: TrackedRun, origin: Origin) -> dict[str, str]:
    regularization = [knob for knob in REGULARIZATION if run.params.get(knob)]
    tags = {
        "study": run.study,
        "corpus": run.corpus,
        "experiment": run.name,
        "kind": run.kind,
        "cell": run.params.get("cell"),
        "embedding": run.params.get("embedding"),
        "regularization": ", ".join(regularization) or "none",
        "dvc.stage": run.stage,
        "dvc.fingerprint": run.fingerprint,
        "dvc.exp_name": origin.experiment,
        "dvc.restore": origin.restore(run.stage),
        "git.dirty": str(bool(origin.patch)).lower() if origin.commit else None,
        "mlflow.source.git.commit": origin.commit,
        "mlflow.source.name": f"dvc repro {run.stage}",
        "mlflow.source.type": "LOCAL",
    }
    return {key: str(value) for key, value in tags.items() if value}


def _listed(settings: dict[str, Any]) -> str:
    return ", ".join(f"{key} {json.dumps(value)}" for key, value in settings.items())
