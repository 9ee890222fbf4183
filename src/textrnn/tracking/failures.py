"""Error messages for a tracking store that is unreachable or refuses: the reason, and what to do.

Imports nothing of MLflow, so that a training which logs nothing does not wait for it.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from textrnn.errors import TextrnnError, first_line

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
        "is not a database|image is malformed|malformed database schema",
        "Move the database elsewhere: `textrnn sync` makes a new one from runs/.",
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
"""Regular expressions for messages of MLflow, SQLite and the system, each with what to do."""

LONGEST = 400
"""Characters of a reason that are shown."""


@contextmanager
def readable_mlflow_errors() -> Iterator[None]:
    """Raises a `TextrnnError` instead of what MLflow raises when it is unreachable or refuses."""
    from textrnn.tracking.store import MLFLOW_ERRORS

    try:
        yield
    except MLFLOW_ERRORS as error:
        raise TextrnnError(explanation(error)) from None


def explanation(error: Exception) -> str:
    """Returns in one line what happened, and what to do about it."""
    if isinstance(error, TextrnnError):
        return " ".join(str(error).split())
    if isinstance(error, shutil.Error):  # for a folder: the first file's reason
        error = OSError(error.args[0][0][2])
    reason = re.sub(r"^\([\w.]+\) |(?<=//)[^/@]*(?=@)", "", first_line(error))[:LONGEST].rstrip(".")
    uri = os.environ.get("MLFLOW_TRACKING_URI", "")
    is_local = not uri or uri.startswith("sqlite")
    for pattern, advice in ADVICE:
        if re.search(pattern, str(error), re.IGNORECASE):
            database = "$MLFLOW_TRACKING_URI" if uri else "sqlite:///mlflow.db"
            return f"{reason.split('. ')[0]}. {advice.format(database=database)}"
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
