"""Experiments that are small enough to reckon by hand; nothing here imports TensorFlow."""

from __future__ import annotations

from typing import Any

from textrnn.params import Experiment

CELLS = ("simple_rnn", "lstm", "gru", "conv1d", "feedforward")
RECURRENT_CELLS = CELLS[:3]
PLAIN: dict[str, Any] = {
    "embedding": "tiny",
    "trainable_embedding": True,
    "max_tokens": 9,
    "keep": "both",
    "reverse": False,
    "padding": "right",
    "cell": "lstm",
    "units": 2,
    "layers": 1,
    "bidirectional": False,
    "readout": "last",
    "embedding_dropout": 0.0,
    "spatial_dropout": 0.0,
    "recurrent_dropout": 0.0,
    "dropout": 0.0,
    "l2": 0.0,
    "label_smoothing": 0.0,
    "gradient_clip": None,
    "ema": None,
    "early_stopping": None,
    "train_examples": None,
    "held_out": 0.0,
    "optimizer": "adam",
    "learning_rate": 0.01,
    "batch_size": 8,
    "epochs": 2,
}


def make_experiment(**changes: Any) -> Experiment:
    """The plainest experiment, and what `changes` say."""
    return Experiment.model_validate({**PLAIN, **changes})
