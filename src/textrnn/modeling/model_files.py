"""Reads `model/<seed>/` without Keras, for prediction: a network (see `saved_model.py`), or an ensemble's members.

An ensemble's model folder holds `ensemble.json`, and a copy of each of its members' model folders.
"""

import json
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from textrnn.arrays import check_numbers, read_arrays
from textrnn.config.experiment import Experiment
from textrnn.errors import TextrnnError, readable
from textrnn.text.encoder import TextEncoder

EMBEDDING = "00-embeddings"  # the first of the weights, in any model

ENSEMBLE = "ensemble.json"

_NONE = np.empty((0, 0), np.float32)

_RUN = re.compile(r"[a-z0-9][a-z0-9_-]*")


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
    """Returns the members of the ensemble in the model folder `folder`.

    Raises:
        FileNotFoundError: it is none.
        TextrnnError: its file is damaged, or leads out of the folder.
    """
    with readable(folder / ENSEMBLE):
        members = [Member(**each) for each in json.loads((folder / ENSEMBLE).read_text(encoding="utf-8"))["members"]]
        for run, weight, seeds in members:
            if not _RUN.fullmatch(run):
                raise ValueError(f"{run!r} is no name of a run")
            if not seeds or not all(type(seed) is int and seed >= 0 for seed in seeds):
                raise ValueError(f"seeds of {run}: {seeds!r} is no list of seeds")
            if not weight >= 0:
                raise ValueError(f"weight of {run}: {weight!r} is not 0 or more")
        if not math.isclose(total := sum(member.weight for member in members), 1, abs_tol=1e-6):
            raise ValueError(f"the weights sum to {total}, and not to 1")
    return members


def read_model(folder: Path) -> tuple[dict[str, np.ndarray], TextEncoder, Experiment]:
    """Returns the weights by name, in the model's order, encoder and experiment; raises as `load_model`."""
    try:
        with readable(folder / "experiment.json"):
            experiment = Experiment.model_validate_json((folder / "experiment.json").read_text(encoding="utf-8"))
        encoder = TextEncoder.load(folder)
        with readable(folder / "weights.npz"):
            weights = read_arrays(folder / "weights.npz")
            embedding = check_numbers(weights.get(EMBEDDING, _NONE), None, None, what=EMBEDDING)
    except FileNotFoundError as error:
        raise TextrnnError(f"{folder} holds no saved model: {error.filename} is missing. Run `dvc repro`.") from None
    if len(embedding) != len(encoder.vocabulary):
        raise TextrnnError(
            f"{folder}: weights.npz has {len(embedding)} embedding rows and vocabulary.txt {len(encoder.vocabulary)} "
            "words: they were not saved together. Run `dvc repro` again."
        )
    return weights, encoder, experiment


def mismatch(folder: Path) -> TextrnnError:
    """Returns the error for a `folder` whose weights have another architecture than its experiment."""
    return TextrnnError(f"{folder}: weights.npz was not saved from experiment.json. Run `dvc repro` again.")
