"""The folder of a language model: an embedding like any other (`matrix.py`), and beside it

language_model.json   what was trained, on what, at what cost; no clock times
history.csv           a row per epoch
layers.npz            the weights of the recurrent layers, in the order in which a classifier makes these
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import polars as pl
from pydantic import TypeAdapter

from textrnn.arrays import check_numbers, read_arrays
from textrnn.errors import TextrnnError, readable

ABOUT, HISTORY, LAYERS = "language_model.json", "history.csv", "layers.npz"

COLUMNS = ("epoch", "loss", "val_loss", "perplexity", "learning_rate", "gradient_norm")
"""Of `history.csv`: `loss` and `val_loss` are nats per word, and `loss` is an estimate where words are sampled."""

_HISTORY = {"epoch": pl.Int64, **dict.fromkeys(COLUMNS[1:], pl.Float64)}


@dataclass(frozen=True)
class Pretrained:
    """The content of `language_model.json`.

    Attributes:
        params: its settings, complete.
        inputs: a digest per input.
        fingerprint: one of inputs, params and code together.
        parameters: the number of weights.
        flops: floating-point operations of the training.
        texts: how many it learned from, whether labelled or not.
        tokens: the words that it read in an epoch, in all directions.
        valid_tokens: the validation words whose loss is measured.
        truncated: how many `texts` it reads cut short, and how many `tokens` are cut off.
    """

    name: str
    params: dict[str, Any]
    inputs: dict[str, str]
    fingerprint: str
    parameters: int
    flops: float
    texts: int
    tokens: int
    valid_tokens: int
    truncated: dict[str, int]

    @property
    def cost(self) -> dict[str, float]:
        """The metrics `parameters` and `training_flops`."""
        return {"parameters": float(self.parameters), "training_flops": self.flops}


@dataclass(frozen=True)
class PretrainedFolder(Pretrained):
    """A language model on disk, with its history: `COLUMNS`."""

    path: Path = Path()
    history: tuple[dict[str, float], ...] = ()

    @classmethod
    def load(cls, path: Path) -> Self:
        """Reads `path`. Raises `TextrnnError`: it holds no language model, or a damaged one."""
        file = path / ABOUT
        if not file.is_file():
            raise TextrnnError(f"{path} holds no language model (no {ABOUT}). Run `dvc repro pretrain@{path.name}`.")
        with readable(path):
            # As bytes: of a path that is missing polars raises an error of its own.
            history = pl.read_csv((path / HISTORY).read_bytes(), schema_overrides=_HISTORY).select(COLUMNS).to_dicts()
            content = file.read_bytes()
            TypeAdapter(Pretrained).validate_json(content, strict=True)
            return cls(**json.loads(content), path=path, history=tuple(history))


def write_pretrained(
    folder: Path, about: Pretrained, history: Sequence[dict[str, Any]], layers: Sequence[np.ndarray]
) -> None:
    """Writes what makes a language model of the embedding in `folder`."""
    text = json.dumps(asdict(about), indent=2, sort_keys=True, allow_nan=False)
    (folder / ABOUT).write_text(text + "\n", encoding="utf-8")
    pl.DataFrame(list(history)).select(COLUMNS).write_csv(folder / HISTORY)
    np.savez(folder / LAYERS, allow_pickle=False, **{f"{place:02d}": each for place, each in enumerate(layers)})


def read_layers(folder: Path) -> list[np.ndarray]:
    """Returns the weights of the recurrent layers. Raises `TextrnnError` if the embedding in `folder` has none."""
    file = folder / LAYERS
    if not file.is_file():
        raise TextrnnError(f"{folder} holds no recurrent layers (no {LAYERS}). Run `dvc repro pretrain@{folder.name}`.")
    with readable(file):
        arrays = read_arrays(file)
        if sorted(arrays) != [f"{place:02d}" for place in range(len(arrays))]:
            raise ValueError(f"its arrays have the names {', '.join(sorted(arrays))[:80]}, and not 00, 01, …")
        return [check_numbers(arrays[name], *[None] * arrays[name].ndim, what=name) for name in sorted(arrays)]
