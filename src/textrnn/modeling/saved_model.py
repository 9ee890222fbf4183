"""`model/<seed>/`: what is needed to predict from raw text, in formats that hold no code and no date.

experiment.json   architecture, as the study's params define it
weights.npz       every weight, in the model's order
vocabulary.txt, encoder.json   from text to ids, as in training
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from textrnn.config.params import Experiment
from textrnn.errors import TextrnnError
from textrnn.text.encoder import TextEncoder

if TYPE_CHECKING:
    import keras

EMBEDDING = "00-embeddings"
"""The first of the weights, in any model."""


def save_model(
    folder: Path, experiment: Experiment, encoder: TextEncoder, model: keras.Model, weights: list[np.ndarray]
) -> None:
    """Writes `weights`, in the order of `model.weights`, and everything that reads and applies them into `folder`."""
    folder.mkdir(parents=True)
    text = json.dumps(experiment.model_dump(), indent=2, sort_keys=True)
    (folder / "experiment.json").write_text(text + "\n", encoding="utf-8")
    np.savez(folder / "weights.npz", allow_pickle=False, **_named(model, weights))
    encoder.save(folder)


def load_model(folder: Path) -> tuple[keras.Model, TextEncoder, Experiment]:
    """Returns the Keras model, the encoder of raw texts, and the experiment, which says what the model reads of them.

    Raises:
        TextrnnError: files are missing, or do not belong together.
    """
    from textrnn.modeling.classifier import build_classifier  # prediction needs no Keras

    weights, encoder, experiment = read_model(folder)
    model = build_classifier(experiment, weights[EMBEDDING], len(encoder.classes), seed=0)
    shapes = {name: weight.shape for name, weight in _named(model, model.weights).items()}
    if shapes != {name: array.shape for name, array in weights.items()}:
        raise mismatch(folder)
    model.set_weights([weights[name] for name in shapes])
    return model, encoder, experiment


def read_model(folder: Path) -> tuple[dict[str, np.ndarray], TextEncoder, Experiment]:
    """Returns the weights by name, in the model's order, the encoder and the experiment; raises as `load_model`."""
    try:
        experiment = Experiment.model_validate_json((folder / "experiment.json").read_text(encoding="utf-8"))
        encoder = TextEncoder.load(folder)
        with np.load(folder / "weights.npz", allow_pickle=False) as file:
            weights = dict(file)
    except FileNotFoundError as error:
        raise TextrnnError(f"{folder} holds no saved model: {error.filename} is missing. Run `dvc repro`.") from None
    embedding = weights.setdefault(EMBEDDING, np.empty((0, 0), np.float32))
    if len(embedding) != len(encoder.vocabulary):
        raise TextrnnError(
            f"{folder}: weights.npz has {len(embedding)} embedding rows and vocabulary.txt {len(encoder.vocabulary)} "
            "words: they were not saved together. Run `dvc repro` again."
        )
    return weights, encoder, experiment


def mismatch(folder: Path) -> TextrnnError:
    """Returns the error for a `folder` whose weights have another architecture than its experiment."""
    return TextrnnError(f"{folder}: weights.npz was not saved from experiment.json. Run `dvc repro` again.")


def _named(model: keras.Model, weights: list[Any]) -> dict[str, Any]:
    """`00-embeddings`, `01-kernel`, …: Keras' own paths hold numbers that depend on what the process built before.

    The embedding's fixed rows join the others.
    """
    from textrnn.modeling.layers import FIXED

    by_name = [(weight.name, value) for weight, value in zip(model.weights, weights, strict=True)]
    fixed = [value for name, value in by_name if name == FIXED]
    kept = [(name, value) for name, value in by_name if name != FIXED]
    named = {f"{index:02d}-{name}": value for index, (name, value) in enumerate(kept)}
    return {**named, EMBEDDING: np.concatenate([named[EMBEDDING], *fixed])} if fixed else named
