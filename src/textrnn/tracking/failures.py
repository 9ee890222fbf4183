"""One readable message for whatever MLflow raises."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from textrnn.errors import TextrnnError
from textrnn.tracking.store import LOST


@contextmanager
def readable_mlflow_errors() -> Iterator[None]:
    """Turns what MLflow raises when it is away, or refuses, into a `TextrnnError`."""
    try:
        yield
    except FileNotFoundError as error:
        raise TextrnnError(f"{error.filename} is missing. Run `dvc pull`, or `dvc repro`.") from None
    except LOST as error:
        reason = (str(error) or type(error).__name__).splitlines()[0][:200].rstrip(".")
        raise TextrnnError(
            f"MLflow cannot be reached, or refuses: {reason}. "
            "Check MLFLOW_TRACKING_URI, user and password, and that the server runs."
        ) from None
