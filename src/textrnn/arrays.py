"""What saved files hold (arrays, names), checked. Reading it runs no code.

Arrays take no more memory than their file has bytes.
"""

from pathlib import Path
from typing import Any

import numpy as np


def read_array(file: Path) -> np.ndarray:
    """Returns the array in an npy file. Raises what `errors.readable` reports."""
    array = np.load(file, allow_pickle=False)
    if not isinstance(array, np.ndarray):
        array.close()
        raise ValueError("it holds several arrays, and one is wanted")
    return array


def read_arrays(file: Path) -> dict[str, np.ndarray]:
    """Returns the arrays in an npz file by name, in the file's order. Raises what `errors.readable` reports."""
    with file.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
        # `np.savez` does not compress. What is larger than its file is a decompression bomb.
        if sum(item.file_size for item in archive.zip.infolist()) > file.stat().st_size:
            raise ValueError("its arrays are compressed, and are wanted as `np.savez` writes them")
        arrays = dict(archive)
    if not all(isinstance(array, np.ndarray) for array in arrays.values()):
        raise ValueError("it holds what is no array")
    return arrays


def check_numbers(array: np.ndarray, *shape: int | None, what: str) -> np.ndarray:
    """Returns `array`, which messages call `what`. Raises `ValueError`: no finite floats, or not of `shape`.

    An axis of `shape` that is None has any length.
    """
    fits = len(shape) == array.ndim and all(
        wanted in (None, length) for wanted, length in zip(shape, array.shape, strict=True)
    )
    if not fits or array.dtype.kind != "f":
        wanted = ", ".join("any" if length is None else str(length) for length in shape)
        raise ValueError(f"{what}: floats [{wanted}] are wanted, and it is {array.dtype} {list(array.shape)}")
    if not np.isfinite(array).all():
        raise ValueError(f"{what} holds a number that is not finite")
    return array


def checked_classes(names: Any) -> tuple[str, ...]:
    """Returns the `names` of classes, read from a file. Raises `ValueError` if they are none."""
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise ValueError("classes must be a list of names")
    if len(set(names)) < len(names):
        raise ValueError("a class occurs twice")
    return tuple(names)
