"""What goes wrong with a tracking store: its name, and what to do about it."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from textrnn.errors import TextrnnError
from textrnn.tracking.store import LOST

ADVICE = (
    (
        "out-of-date database schema|locate revision|no such table|no such column|has no column",
        "The database is of another version of MLflow. Keep a copy of it and run `mlflow db upgrade {database}`; if "
        "that does not know the version, the database is the newer one: upgrade MLflow.",
    ),
    (
        "database is locked|file lock .* could not be acquired",
        "Another process writes there. Wait until it is done, or end it, then run this again.",
    ),
    (
        "is not a database|image is malformed",
        "Move the database away: `textrnn sync` makes a new one of what is in runs/.",
    ),
    (
        "disk is full|No space left|quota exceeded",
        "Make space there, or name another folder for temporary files with TMPDIR, then run this again.",
    ),
    (
        "readonly database|unable to open database file|Read-only file system|Permission denied|not permitted",
        "Nothing can be written there. Make it writable for this user, or work in a copy of the project.",
    ),
    (
        "unsupported URI|Invalid url|Could not parse|Invalid database URI|Can't load plugin",
        "MLFLOW_TRACKING_URI names no store that MLflow knows: give http://HOST:PORT, sqlite:///FILE or the like.",
    ),
    (
        "maintenance mode|filesystem tracking backend",
        "MLFLOW_TRACKING_URI names a folder, and MLflow no longer keeps runs in one. Unset it, which takes mlflow.db "
        "in the project, or give sqlite:///FILE or http://HOST:PORT.",
    ),
    ("No module named", "Install the database driver that MLFLOW_TRACKING_URI asks for, or name another store."),
)
"""Regular expressions for what MLflow, SQLite and the system say, each with what to do."""

LONGEST = 400
"""Characters of a reason that are shown."""


@contextmanager
def readable_mlflow_errors() -> Iterator[None]:
    """Turns what MLflow raises when it is away, or refuses, into a `TextrnnError`."""
    try:
        yield
    except LOST as error:
        raise TextrnnError(explanation(error)) from None


def explanation(error: Exception) -> str:
    """Returns in one line what happened, and what to do about it."""
    if isinstance(error, TextrnnError):
        return " ".join(str(error).split())
    if isinstance(error, shutil.Error):  # of a folder: the first file's reason stands for all
        error = OSError(error.args[0][0][2])
    said = str(error) or type(error).__name__
    reason = re.sub(r"^\([\w.]+\) |(?<=//)[^/@]*(?=@)", "", said.splitlines()[0])[:LONGEST].rstrip(".")
    uri = os.environ.get("MLFLOW_TRACKING_URI", "")
    is_local = not uri or uri.startswith("sqlite")
    for pattern, advice in ADVICE:
        if re.search(pattern, said, re.IGNORECASE):
            return f"{reason.split('. ')[0]}. {advice.format(database='$MLFLOW_TRACKING_URI' if uri else 'sqlite:///mlflow.db')}"
    if isinstance(error, FileNotFoundError) and error.filename:
        return f"{error.filename} is missing. Run `dvc pull`, or `dvc repro`."
    if isinstance(error, OSError) and (is_local or error.filename):
        return f"{reason}."
    if is_local:
        return f"MLflow refuses: {reason}."
    return (
        f"MLflow cannot be reached, or refuses: {reason}. "
        "Check MLFLOW_TRACKING_URI, user and password, and that the server runs."
    )
