"""Names, tags, params and description of a run in MLflow, whether it is logged live or made from files."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from textrnn.project.origin import Origin

STAGE = "dvc.stage"
"""The tag that every run of this project has."""

PARENT = "mlflow.parentRunId"

PRETRAINING = "pretraining"
"""The kind of a language model's run, and its tag for the model's name."""

Tags = dict[str, str | None]
"""Those that are None are left out."""

REGULARIZATION = (
    "embedding_dropout",
    "spatial_dropout",
    "recurrent_dropout",
    "recurrent_weight_dropout",
    "layer_dropout",
    "dropout",
    "l2",
    "weight_decay",
    "temporal_activation_regularization",
    "label_smoothing",
    "adversarial",
    "virtual_adversarial",
    "entropy_minimization",
    "gradient_clip",
    "ema",
    "early_stopping",
)
"""The params of an experiment that only regularize it; each is off when it is 0 or null."""


@dataclass(frozen=True)
class TrackedRun:
    """One experiment, baseline or ensemble of a study.

    Attributes:
        kind: `experiment`, `baseline` or `ensemble`.
        stage: DVC's name of the stage that makes it.
        params: complete, defaults merged in.
        fingerprint: a digest of params, inputs and code together.
        datasets: DVC's hash by data folder.
        defaults: the study's `train` section; empty for a baseline or an ensemble.
    """

    study: str
    corpus: str
    name: str
    kind: str
    stage: str
    params: dict[str, Any]
    fingerprint: str
    datasets: dict[str, str]
    defaults: dict[str, Any] = field(default_factory=dict)

    @property
    def description(self) -> str:
        """One sentence about the difference between this run and its study's defaults."""
        if self.kind == "baseline":
            settings = _listed({key: value for key, value in self.params.items() if key != "kind"})
            return f"Baseline {self.params['kind']}" + (f" with {settings}." if settings else ".")
        if self.kind == "ensemble":
            return f"The average of {', '.join(self.params['of'])}, with {self.params['weights']} weights."
        changes = {key: value for key, value in self.params.items() if self.defaults.get(key, value) != value}
        differs = f"differs from the study's defaults in {_listed(changes)}" if changes else "has the study's defaults"
        about = f"Starts from the embedding {self.params['embedding']} and {differs}."
        if self.params.get("refit"):
            about += " Models and test figures are of a second training, with the validation texts."
        return about

    def tags(self, origin: Origin, parent_id: str | None = None, seed: int | None = None) -> Tags:
        """Returns the tags of the run for all seeds; with `parent_id` and `seed`, of that for one."""
        return {
            "study": self.study,
            "corpus": self.corpus,
            "experiment": self.name,
            "kind": self.kind,
            "cell": self.params.get("cell"),
            "embedding": self.params.get("embedding"),
            "regularization": ", ".join(knob for knob in REGULARIZATION if self.params.get(knob)) or "none",
            "seed": None if seed is None else str(seed),
            "dvc.fingerprint": self.fingerprint,
            "mlflow.runName": self.name if seed is None else f"{self.name} seed {seed}",
            PARENT: parent_id,
            "mlflow.note.content": self.description if seed is None else None,
            **source_tags(self.stage, origin),
        }


@dataclass(frozen=True)
class TrackedPretraining(TrackedRun):
    """One language model of a study. The tag `experiment`, by which runs are found, is for runs alone."""

    @property
    def description(self) -> str:
        """One sentence about what it starts from and learns."""
        params = self.params
        ways = "in both directions" if params["bidirectional"] else "backwards" if params["reverse"] else "forwards"
        return f"Language model, {ways}, target {params['target']}; it starts from the embedding {params['embedding']}."

    def tags(self, origin: Origin, parent_id: str | None = None, seed: int | None = None) -> Tags:
        """Returns the tags of the run, which has no children."""
        own = {PRETRAINING: self.name, "experiment": None, "regularization": None}
        return {**super().tags(origin, parent_id, seed), **own, "mlflow.runName": f"{PRETRAINING} {self.name}"}


def source_tags(stage: str, origin: Origin) -> Tags:
    """Returns the tags for the stage that makes a result, where it comes from, and how to restore it."""
    return {
        STAGE: stage,
        "dvc.exp_name": origin.experiment,
        "dvc.restore": origin.restore(stage),
        "git.dirty": str(bool(origin.patch)).lower() if origin.commit else None,
        "mlflow.source.git.commit": origin.commit,
        "mlflow.source.name": f"dvc repro {stage}",
        "mlflow.source.type": "LOCAL",
    }


def _listed(settings: dict[str, Any]) -> str:
    return ", ".join(f"{key} {json.dumps(value)}" for key, value in settings.items())
