"""`model/<seed>/`: what is needed to predict from raw text, in formats that hold no code and no date.

experiment.json   architecture, as the study's params define it
weights.npz       every weight, in the model's order
vocabulary.txt, encoder.json   from text to ids, as in training
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from textrnn.config.experiment import Experiment
from textrnn.modeling.backend import keras
from textrnn.modeling.classifier import build_classifier
from textrnn.modeling.layers import FIXED
from textrnn.modeling.model_files import EMBEDDING, mismatch, read_model
from textrnn.text.encoder import TextEncoder


def save_model(
    folder: Path, experiment: Experiment, encoder: TextEncoder, model: keras.Model, weights: list[np.ndarray]
) -> None:
    """Writes `weights`, in the order of `model.weights`, and everything that reads and applies them into `folder`."""
    folder.mkdir(parents=True)
    text = json.dumps(experiment.model_dump(), indent=2, sort_keys=True)
    (folder / "experiment.json").write_text(text + "\n", encoding="utf-8")
    named = _named(model, weights)
    # As it is read: whoever predicts needs no frequencies.
    named[EMBEDDING] = keras.ops.convert_to_numpy(model.get_layer("embedding").normalized(named[EMBEDDING]))
    np.savez(folder / "weights.npz", allow_pickle=False, **named)
    encoder.save(folder)


def load_model(folder: Path) -> tuple[keras.Model, TextEncoder, Experiment]:
    """Returns the Keras model, the encoder of raw texts, and the experiment, which says what the model reads of them.

    Raises `TextrnnError`: files are missing, or do not belong together.
    """
    weights, encoder, experiment = read_model(folder)
    try:
        model = build_classifier(experiment, weights[EMBEDDING], len(encoder.classes), seed=0)
    except (KeyError, ValueError):
        raise mismatch(folder) from None
    shapes = {name: weight.shape for name, weight in _named(model, model.weights).items()}
    if shapes != {name: array.shape for name, array in weights.items()}:
        raise mismatch(folder)
    model.set_weights([weights[name] for name in shapes])
    return model, encoder, experiment


def _named(model: keras.Model, weights: list[Any]) -> dict[str, Any]:
    """`00-embeddings`, `01-kernel`, …: Keras' own paths hold numbers that depend on what the process built before.

    The embedding's fixed rows join the others.
    """
    by_name = [(weight.name, value) for weight, value in zip(model.weights, weights, strict=True)]
    fixed = [value for name, value in by_name if name == FIXED]
    kept = [(name, value) for name, value in by_name if name != FIXED]
    named = {f"{index:02d}-{name}": value for index, (name, value) in enumerate(kept)}
    return {**named, EMBEDDING: np.concatenate([named[EMBEDDING], *fixed])} if fixed else named
