"""Reads `model/<seed>/` (see `saved_model.py`) without Keras, for prediction."""

from pathlib import Path

import numpy as np

from textrnn.config.experiment import Experiment
from textrnn.errors import TextrnnError
from textrnn.text.encoder import TextEncoder

EMBEDDING = "00-embeddings"  # the first of the weights, in any model


def read_model(folder: Path) -> tuple[dict[str, np.ndarray], TextEncoder, Experiment]:
    """Returns the weights by name, in the model's order, encoder and experiment; raises as `load_model`."""
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
