"""Experiments that are small enough to reckon by hand, and studies of them; nothing here imports TensorFlow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from textrnn.config.catalog import load_catalog
from textrnn.config.experiment import Experiment
from textrnn.config.params import load_params
from textrnn.config.plan import make_plan

CELLS = ("simple_rnn", "lstm", "gru", "conv1d", "feedforward")
RECURRENT_CELLS = CELLS[:3]
PLAIN: dict[str, Any] = {
    "embedding": "tiny",
    "trainable_embedding": True,
    "pretrained_layers": False,
    "max_tokens": 9,
    "keep": "both",
    "reverse": False,
    "padding": "right",
    "rare_word_dropout": 0.0,
    "cell": "lstm",
    "units": 2,
    "layers": 1,
    "bidirectional": False,
    "readout": "last",
    "embedding_dropout": 0.0,
    "spatial_dropout": 0.0,
    "recurrent_dropout": 0.0,
    "recurrent_weight_dropout": 0.0,
    "layer_dropout": 0.0,
    "dropout": 0.0,
    "l2": 0.0,
    "temporal_activation_regularization": 0.0,
    "label_smoothing": 0.0,
    "class_weights": None,
    "normalize_embedding": False,
    "perturbation": 0.0,
    "adversarial": 0.0,
    "virtual_adversarial": 0.0,
    "entropy_minimization": 0.0,
    "unlabelled_batch": 0,
    "gradient_clip": None,
    "ema": None,
    "early_stopping": None,
    "train_examples": None,
    "held_out": 0.0,
    "refit": False,
    "teacher": None,
    "hard_targets": 0.0,
    "optimizer": "adam",
    "weight_decay": 0.0,
    "learning_rate": 0.01,
    "schedule": None,
    "warm_up": 0.0,
    "layer_rate_decay": None,
    "gradual_unfreezing": None,
    "batch_size": 8,
    "epochs": 2,
}


def make_experiment(**changes: Any) -> Experiment:
    """The plainest experiment, and what `changes` say."""
    return Experiment.model_validate({**PLAIN, **changes})


STUDY: dict[str, Any] = {
    "study": "tiny",
    "corpus": "reviews",
    "seeds": [0, 1, 2],
    "prepare": {"valid": 0.2, "test": 0.3, "seed": 0, "leakage": "drop", "unlabelled": False},
    "encode": {"vocabulary_size": 9, "min_count": 1},
    "embeddings": {"tiny": {"source": "random", "dimension": 3}},
    "baselines": {},
    "comparisons": {"level": 0.05, "against": [], "pairs": []},
    "promotion": {"level": 0.05, "margin": 0.005},
    "data_check": {},
    "published": [],
    "train": PLAIN,
}
"""A study of tiny experiments, without these and the probes."""

ABOUT = {"licence": "CC0-1.0", "citation": "none"}
CATALOG: dict[str, Any] = {
    "corpora": {
        "reviews": {
            **ABOUT,
            "source": "file:reviews.csv",
            "sha256": "0" * 64,
            "format": "csv",
            "columns": {"text": "text", "label": "label"},
            "classes": ["rotten", "fresh"],
        }
    },
    "vectors": {"random": {**ABOUT, "source": "none", "sha256": None, "format": "random"}},
}


def write_study(folder: Path, experiments: dict[str, dict[str, Any]], probes: list[str], **changes: Any) -> None:
    """Writes params.yaml, catalog.yaml and the plan of a study into `folder`."""
    params = {**STUDY, "experiments": experiments, "probes": probes, **changes}
    (folder / "params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
    (folder / "catalog.yaml").write_text(yaml.safe_dump(CATALOG), encoding="utf-8")
    write_plan(folder)


def write_plan(folder: Path) -> None:
    """Does what the stage `plan` does for the study in `folder`."""
    catalog = load_catalog(folder / "catalog.yaml")
    (folder / "plan").mkdir(exist_ok=True)
    for stage, text in make_plan(load_params(folder / "params.yaml", catalog), catalog).items():
        (folder / "plan" / f"{stage}.json").write_text(text, encoding="utf-8")
