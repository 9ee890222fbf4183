"""`checkpoints/<experiment>/<seed>.npz`: where a killed training continues from.

The folder is no output of the stage, because DVC deletes outputs before it runs a stage again. A training that ends
deletes it, and a short one never writes it.
"""

from __future__ import annotations

import copy
import json
import math
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from textrnn.arrays import read_arrays
from textrnn.errors import TextrnnError, readable
from textrnn.modeling.backend import keras

EPOCH_SECONDS = 30.0
"""How old the last checkpoint must be for one at the end of an epoch or of a seed."""
STEP_SECONDS = 300.0
"""The same within an epoch."""

State = dict[str, Any]
"""What JSON can hold, and NumPy arrays."""


class Checkpoints:
    """The checkpoints of one experiment, a file per seed.

    Args:
        folder: created when the first one is written.
        fingerprint: of the training, from `run_folder.fingerprint`. A checkpoint with another fingerprint, precision or
            version of the computing libraries is not used: it would lead to other bytes than an uninterrupted training.
    """

    def __init__(
        self, folder: Path, fingerprint: str, epoch_seconds: float = EPOCH_SECONDS, step_seconds: float = STEP_SECONDS
    ) -> None:
        self._folder = folder
        libraries = {name: sys.modules[name].__version__ for name in ("numpy", "keras", keras.config.backend())}
        self._key = {"fingerprint": fingerprint, "precision": keras.config.dtype_policy().name, **libraries}
        self._epoch_seconds = epoch_seconds
        self._step_seconds = step_seconds
        self._waiting: dict[int, State] = {}
        self._written = time.monotonic()

    def inside(self, name: str) -> Checkpoints:
        """Returns the checkpoints of a part of the training, in a folder that is deleted with this one."""
        part = copy.copy(self)
        part._folder, part._waiting = self._folder / name, {}
        return part

    def load(self, seed: int) -> State | None:
        """Returns the last state saved for `seed`, or None.

        It deletes a file that is damaged or of another training, with a warning on standard error.
        """
        file = self._file(seed)
        if not file.exists():
            return None
        try:
            with readable(file):
                key, state = _read(file)
        except (TextrnnError, OSError):
            reason = "is damaged"
        else:
            if key == self._key:
                return state
            reason = "was made with other params, inputs, code, precision or libraries"
        file.unlink()
        sys.stderr.write(f"warning: {file} {reason}: deleted, seed {seed} starts from the beginning\n")
        return None

    def due(self, within_epoch: bool = False) -> bool:
        """Whether the last checkpoint is old enough for a new one."""
        return time.monotonic() - self._written >= (self._step_seconds if within_epoch else self._epoch_seconds)

    def save(self, seed: int, state: State) -> None:
        """Writes the state of `seed`, and the results of finished seeds that are not written yet."""
        self._waiting[seed] = state
        self._write()

    def finish(self, seed: int, state: State) -> None:
        """Writes the final state of `seed` if due, else with the next checkpoint."""
        self._waiting[seed] = state
        if self.due():
            self._write()

    def delete(self) -> None:
        """Deletes all checkpoints: the training's own output is complete."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _file(self, seed: int) -> Path:
        return self._folder / f"{seed}.npz"

    def _write(self) -> None:
        """Writes each file under another name first: a kill leaves the old one or the new one whole."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            for seed, state in self._waiting.items():
                unfinished = self._file(seed).with_suffix(".tmp")
                _save(unfinished, self._key, state)
                unfinished.replace(self._file(seed))
            self._written = time.monotonic()
        except OSError as error:
            self._written = math.inf  # none is ever due again
            sys.stderr.write(f"warning: no checkpoint can be written, training continues without: {error}\n")
        self._waiting.clear()


def _save(file: Path, key: dict[str, str], state: State) -> None:
    """Writes an archive of the arrays in `state` and a JSON text, in which `{"array": n}` refers to the n-th."""
    arrays: dict[str, np.ndarray] = {}

    def reference(value: object) -> dict[str, int]:
        if not isinstance(value, np.ndarray):
            raise TypeError(f"a checkpoint holds what JSON can hold, and arrays. Received: {value!r}")
        number = len(arrays)
        arrays[str(number)] = value
        return {"array": number}

    text = json.dumps({"key": key, "state": state}, default=reference)
    with file.open("wb") as stream:
        np.savez(stream, allow_pickle=False, json=np.frombuffer(text.encode(), np.uint8), **arrays)


def _read(file: Path) -> tuple[dict[str, str], State]:
    """Returns the key and the state that `_save` wrote."""
    arrays = read_arrays(file)

    def resolve(value: dict[str, Any]) -> Any:
        return arrays[str(value["array"])] if value.keys() == {"array"} else value

    content = json.loads(arrays["json"].tobytes(), object_hook=resolve)
    return content["key"], content["state"]
