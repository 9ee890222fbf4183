"""Where MLflow keeps its runs, and how a run is opened, written and closed.

Imported before anything of MLflow: it turns off telemetry, long waits and messages.
"""

from __future__ import annotations

import logging
import os
import socket
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")

import psutil
from filelock import FileLock
from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param
from mlflow.exceptions import MlflowException
from mlflow.utils.validation import MAX_METRICS_PER_BATCH
from sqlalchemy import URL, make_url
from sqlalchemy.exc import SQLAlchemyError

from textrnn.errors import TextrnnError
from textrnn.project.origin import PATCH, Origin
from textrnn.project.secrets import without_secrets
from textrnn.tracking.record import Tags, TrackedRun

for chatty in ("alembic", "mlflow"):  # what they raise is reported, once
    logging.getLogger(chatty).setLevel(logging.CRITICAL)

MLFLOW_ERRORS = (MlflowException, SQLAlchemyError, ImportError, OSError)
"""What MLflow raises when its store is unreachable or refuses, errors of a database and a missing driver included."""

LOCK_SECONDS = 60
"""How long one process waits for another: to set the store up, or to write into SQLite."""

DIGEST_LENGTH = 36
"""MLflow's limit for a dataset's digest; DVC's hash of a folder has exactly as many characters."""

CLOCK_SECONDS = 5
"""Tolerance for start times of processes, which move when the system's clock is set."""

REMOTE_SECONDS = 24 * 3600
"""A run that another machine opened longer ago counts as abandoned."""

SQLITE = "sqlite+pysqlite"
"""With the driver's name MLflow makes no folder of a path's percent-encoded name."""

LOCATIONS = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)
"""Tables and columns of MLflow's database that hold absolute locations of artifacts."""

HOME = "textrnn.artifacts"
"""The tag of an experiment for the location of the project's `mlartifacts`; a database has one."""

PROCESS = "process"
"""The tag for the process that writes a run: host, pid and start time."""

PAGE = 1000

Row = tuple[int, dict[str, float]]
"""A step, and the metrics there."""


@dataclass(frozen=True)
class Store:
    """A tracking store, and in it the MLflow experiment of one study and corpus."""

    client: MlflowClient
    experiment_id: str
    uri: str

    def open(
        self,
        run: TrackedRun,
        origin: Origin,
        parent_id: str | None = None,
        seed: int | None = None,
        seconds: float = 0.0,
    ) -> str:
        """Opens the run for all seeds, or with `parent_id` and `seed` that for one; returns its id.

        Args:
            seconds: how long ago it began.
        """
        params = run.params if seed is None else {**run.params, "seed": seed}
        patch = origin.patch if seed is None else ""
        return self.create(run.tags(origin, parent_id, seed), params, run.datasets, patch, seconds)

    def create(
        self,
        tags: Tags,
        params: dict[str, Any],
        datasets: dict[str, str] | None = None,
        patch: str = "",
        seconds: float = 0.0,
    ) -> str:
        """Opens a run; returns its id.

        Args:
            datasets: DVC's hash by data folder.
            patch: what was changed in the checkout since its commit.
            seconds: how long ago it began.
        """
        given = {**tags, PROCESS: this_process()}
        began = _now() - int(1000 * seconds)
        run = self.client.create_run(self.experiment_id, began, {key: tag for key, tag in given.items() if tag})
        run_id = str(run.info.run_id)
        self.client.log_batch(run_id, params=[Param(key, str(value)) for key, value in params.items()])
        if datasets:
            self.client.log_inputs(run_id, [_dataset(*item) for item in datasets.items()])
        if patch:
            self.client.log_text(run_id, without_secrets(patch), PATCH)
        return run_id

    def log_metrics(self, run_id: str, rows: Iterable[Row], now: int | None = None) -> None:
        """Logs metrics, in as few requests as MLflow allows, with the time `now` (milliseconds since 1970)."""
        now = _now() if now is None else now
        metrics = [Metric(key, value, now, step) for step, values in rows for key, value in values.items()]
        for first in range(0, len(metrics), MAX_METRICS_PER_BATCH):
            self.client.log_batch(run_id, metrics=metrics[first : first + MAX_METRICS_PER_BATCH])

    def close(self, run_id: str, rows: Iterable[Row], failure: str | None = None) -> None:
        """Ends a run with its last metrics: finished, or failed with the reason in the tag `failure`.

        The time of these metrics is the run's end, to the millisecond, so that they can be referred to.
        """
        now = _now()
        self.log_metrics(run_id, rows, now)
        if failure is not None:
            self.client.set_tag(run_id, "failure", failure)
        self.client.set_terminated(run_id, "FINISHED" if failure is None else "FAILED", end_time=now)


def open_store(project: Path, experiment: str) -> Store:
    """Returns the tracking store with the MLflow experiment in it, made where missing.

    The store is `MLFLOW_TRACKING_URI` where that is set, `mlflow.db` in `project` otherwise. A lock next to an SQLite
    file lets one process at a time set it up: two that migrate an empty one at once break it. An experiment that was
    deleted in the dashboard is restored.

    Raises:
        TextrnnError: `MLFLOW_TRACKING_URI` is malformed.
        Exception: one of `MLFLOW_ERRORS`.
    """
    try:
        return _open(project, experiment)
    except MLFLOW_ERRORS:
        raise
    except ValueError as error:
        raise TextrnnError(
            f"MLFLOW_TRACKING_URI is malformed: {error}. Give http://HOST:PORT, sqlite:///FILE or the like."
        ) from None
    except Exception as error:  # of a database's driver or migration: each has its own
        raise MlflowException(str(error)) from error


def _open(project: Path, experiment: str) -> Store:
    uri = os.environ.get("MLFLOW_TRACKING_URI", "").strip() or "sqlite:///mlflow.db"
    if not uri.startswith(("sqlite:///", f"{SQLITE}:///")):
        client = MlflowClient(tracking_uri=uri, registry_uri=uri)
        return Store(client, _experiment_id(client, experiment, artifacts=None), uri)
    # Absolute: inside DVC's queue the working folder is a copy, which is deleted in the end.
    file = project / str(make_url(uri).database)
    artifacts = (file.parent / "mlartifacts").as_uri()
    with FileLock(f"{file}.lock", timeout=LOCK_SECONDS):
        query = {"timeout": str(LOCK_SECONDS)}
        uri = URL.create(SQLITE, database=str(file), query=query).render_as_string()
        if not file.is_file():  # with a root for artifacts that has no quotes: MLflow puts it into SQL as it is
            from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

            SqlAlchemyStore(uri, artifacts)  # type: ignore[no-untyped-call]
        client = MlflowClient(tracking_uri=uri, registry_uri=uri)
        experiment_id = _experiment_id(client, experiment, artifacts)
        if file.is_relative_to(project):
            _follow(file, artifacts, experiment_id)
        return Store(client, experiment_id, uri)


def _follow(file: Path, artifacts: str, experiment_id: str) -> None:
    """Updates MLflow's absolute locations of `mlartifacts` after the project was moved or copied.

    Their last location is in the database: a tag of one experiment, at first of the one with that id.
    """
    with closing(sqlite3.connect(file, timeout=LOCK_SECONDS)) as database, database:
        known = [old for (old,) in database.execute("SELECT value FROM experiment_tags WHERE key = ?", (HOME,))]
        if known == [artifacts]:
            return
        for old in known:
            for table, column in LOCATIONS:
                database.execute(
                    f"UPDATE {table} SET {column} = ? || substr({column}, ?) WHERE substr({column} || '/', 1, ?) = ?",
                    (artifacts, len(old) + 1, len(old) + 1, f"{old}/"),
                )
        database.execute("DELETE FROM experiment_tags WHERE key = ?", (HOME,))
        mark = "INSERT INTO experiment_tags (key, value, experiment_id) VALUES (?, ?, ?)"
        database.execute(mark, (HOME, artifacts, int(experiment_id)))


def pages(search: Callable[..., Any], *arguments: Any) -> Iterator[Any]:
    """Yields everything that one of the client's search methods finds, page by page."""
    token = None
    while True:
        page = search(*arguments, max_results=PAGE, page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def this_process() -> str:
    """Returns the tag `PROCESS` of the calling process."""
    process = psutil.Process()
    return f"{socket.gethostname()}:{process.pid}:{process.create_time():.0f}"


def is_alive(process: str, opened: float) -> bool:
    """Whether the process with this tag `PROCESS` may still write its run, which it `opened` (seconds since 1970)."""
    try:
        host, pid, began = process.rsplit(":", 2)
        if host != socket.gethostname():
            return time.time() - opened < REMOTE_SECONDS
        known = psutil.Process(int(pid))
        # Where nobody waits for orphans, as in a container, a killed one stays as a zombie.
        is_same = abs(known.create_time() - float(began)) < CLOCK_SECONDS
        return bool(is_same and known.status() != psutil.STATUS_ZOMBIE)
    except (ValueError, psutil.NoSuchProcess):
        return False


def _now() -> int:
    """Milliseconds since 1970, as MLflow counts time."""
    return int(time.time() * 1000)


def _experiment_id(client: MlflowClient, experiment: str, artifacts: str | None) -> str:
    found = client.get_experiment_by_name(experiment)
    if found is None:
        try:
            return str(client.create_experiment(experiment, artifact_location=artifacts))
        except MlflowException as error:  # another training may have been first
            found = client.get_experiment_by_name(experiment)
            if error.error_code != "RESOURCE_ALREADY_EXISTS" or found is None:
                raise
    if found.lifecycle_stage == "deleted":
        client.restore_experiment(found.experiment_id)
    return str(found.experiment_id)


def _dataset(name: str, digest: str) -> DatasetInput:
    dataset = Dataset(name, digest[:DIGEST_LENGTH], "dvc", f'{{"path": "{name}"}}')
    return DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])
