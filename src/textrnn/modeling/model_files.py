"""Reads `model/<seed>/` without Keras, for prediction: a network (see `saved_model.py`), or an ensemble's members.

An ensemble's model folder holds `ensemble.json`, and a copy of each of its members' model folders.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from textrnn.config.experiment import Experiment
from textrnn.errors import TextrnnError
from textrnn.text.encoder import TextEncoder

EMBEDDING = "00-embeddings"  # the first of the weights, in any model

ENSEMBLE = "ensemble.json"


class Member(NamedTuple):
    """A run in an ensemble, with its weight; the models of its seeds have equal shares of that."""

    run: str
    weight: float
    seeds: list[int]

    @property
    def folders(self) -> list[str]:
        """Where the models of its seeds are, in the ensemble's model folder; none if it has no weight."""
        return [f"members/{self.run}/{seed}" for seed in self.seeds if self.weight]


def write_ensemble(folder: Path, members: Sequence[Member]) -> None:
    """Writes `ensemble.json` into the model folder `folder`."""
    text = json.dumps({"members": [each._asdict() for each in members]}, indent=2)
    (folder / ENSEMBLE).write_text(text + "\n", encoding="utf-8")


def read_ensemble(folder: Path) -> list[Member]:
    """Returns the members of the ensemble in the model folder `folder`. Raises `FileNotFoundError` if it is none."""
    return [Member(**each) for each in json.loads((folder / ENSEMBLE).read_text(encoding="utf-8"))["members"]]


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
