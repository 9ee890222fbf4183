"""Logs trainings to MLflow while they run.

One MLflow experiment per study and corpus; in it one parent run per experiment, with one child run
per seed. The tracking server is a view, not a part of the training: when it is away, slow or
refuses, the training says so once and goes on.
"""

from __future__ import annotations

import logging
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")

from filelock import FileLock
from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import SQLAlchemyError

logging.getLogger("alembic").setLevel(logging.ERROR)
logging.getLogger("mlflow").setLevel(logging.ERROR)

LOST = (MlflowException, SQLAlchemyError, ImportError, OSError)
"""What MLflow raises when its store is away or refuses: a database's errors pass through it, and so does the
lack of a database's driver."""

LOCK_SECONDS = 60
"""How long one process waits for another to set the store up."""

DIGEST_LENGTH = 36
"""MLflow's limit for a dataset's digest; DVC's hash of a folder has exactly as many characters."""


@dataclass(frozen=True)
class TrackedRun:
    """What a training says of itself when it starts.

    Attributes:
        datasets: DVC's hash by data folder.
    """

    study: str
    corpus: str
    name: str
    stage: str
    params: dict[str, Any]
    fingerprint: str
    datasets: dict[str, str]


class LiveRun:
    """A parent run and its children, written as the training goes.

    Args:
        run: what is trained.
        project: the project's top folder, home of the default store.
    """

    def __init__(self, run: TrackedRun, project: Path) -> None:
        self._run = run
        self._project = project
        self._client: MlflowClient | None = None
        self._experiment_id = ""
        self._parent_id = ""
        self._child_id = ""
        self._finals: list[dict[str, float]] = []
        self._guarded(self._start)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """An exception, Ctrl-C included, marks what is open as killed."""
        if kind is not None:
            self.abandon()

    def start_seed(self, seed: int) -> None:
        """Opens the child run of `seed`."""
        self._guarded(lambda: self._start_seed(seed))

    def epoch(self, row: dict[str, Any]) -> None:
        """Logs one row of the history: a point on every curve."""
        step = int(row["epoch"])
        values = {key: float(value) for key, value in row.items() if key not in ("seed", "epoch")}
        self._guarded(lambda: self._log_metrics(self._child_id, values, step))

    def end_seed(self, metrics: dict[str, float], failure: str | None = None) -> None:
        """Closes the child run with its final `metrics`, or with why it failed."""
        if failure is None:
            self._finals.append(metrics)
        self._guarded(lambda: self._end(self._child_id, metrics, failure))
        self._child_id = ""

    def end(self, metrics: dict[str, float], failure: str | None = None) -> None:
        """Closes the parent run with mean and standard deviation over the seeds, and `metrics`."""
        summary = dict(metrics)
        for key in self._finals[0] if self._finals else ():
            values = [final[key] for final in self._finals]
            summary[f"{key}_mean"] = statistics.fmean(values)
            if len(values) > 1:
                summary[f"{key}_std"] = statistics.stdev(values)
        self._guarded(lambda: self._end(self._parent_id, summary, failure))

    def abandon(self) -> None:
        """Marks what is open as killed: the training was interrupted."""
        for run_id in filter(None, (self._child_id, self._parent_id)):
            self._guarded(lambda run_id=run_id: self._close(run_id, "KILLED"))  # type: ignore[misc]

    def _guarded(self, act: Callable[[], None]) -> None:
        """Does `act` unless MLflow was lost before; the first loss is told, and never raised."""
        if self._client is None and act != self._start:
            return
        try:
            act()
        except LOST as error:
            self._client = None
            reason = (str(error) or type(error).__name__).splitlines()[0][:200]
            sys.stderr.write(f"warning: MLflow cannot be reached, training goes on without it: {reason}\n")

    def _start(self) -> None:
        self._client, self._experiment_id = open_store(self._project, f"{self._run.study}/{self._run.corpus}")
        tags = {**self._tags(), "mlflow.runName": self._run.name}
        self._parent_id = self._client.create_run(self._experiment_id, tags=tags).info.run_id
        params = [Param(key, str(value)) for key, value in self._run.params.items()]
        self._client.log_batch(self._parent_id, params=params)
        self._client.log_inputs(self._parent_id, [_dataset(*item) for item in self._run.datasets.items()])

    def _start_seed(self, seed: int) -> None:
        assert self._client is not None
        tags = {
            **self._tags(),
            "mlflow.runName": f"{self._run.name} seed {seed}",
            "mlflow.parentRunId": self._parent_id,
            "seed": str(seed),
        }
        self._child_id = self._client.create_run(self._experiment_id, tags=tags).info.run_id
        params = [Param(key, str(value)) for key, value in {**self._run.params, "seed": seed}.items()]
        self._client.log_batch(self._child_id, params=params)
        self._client.log_inputs(self._child_id, [_dataset(*item) for item in self._run.datasets.items()])

    def _log_metrics(self, run_id: str, metrics: dict[str, float], step: int = 0) -> None:
        assert self._client is not None
        now = int(time.time() * 1000)
        self._client.log_batch(run_id, metrics=[Metric(key, value, now, step) for key, value in metrics.items()])

    def _end(self, run_id: str, metrics: dict[str, float], failure: str | None) -> None:
        assert self._client is not None
        self._log_metrics(run_id, metrics)
        if failure is not None:
            self._client.log_batch(run_id, tags=[RunTag("failure", failure)])
        self._close(run_id, "FINISHED" if failure is None else "FAILED")

    def _close(self, run_id: str, status: str) -> None:
        assert self._client is not None
        self._client.set_terminated(run_id, status)

    def _tags(self) -> dict[str, str]:
        run = self._run
        named = {
            "study": run.study,
            "corpus": run.corpus,
            "experiment": run.name,
            "cell": run.params.get("cell"),
            "embedding": run.params.get("embedding"),
            "dvc.stage": run.stage,
            "dvc.fingerprint": run.fingerprint,
            "dvc.exp_name": os.environ.get("DVC_EXP_NAME"),
            "git.dirty": _git(self._project, "status", "--porcelain", "--untracked-files=no"),
            "mlflow.source.git.commit": _git(self._project, "rev-parse", "HEAD"),
            "mlflow.source.name": f"dvc repro {run.stage}",
            "mlflow.source.type": "LOCAL",
        }
        if named["git.dirty"] is not None:
            named["git.dirty"] = str(bool(named["git.dirty"])).lower()
        return {key: str(value) for key, value in named.items() if value}


def open_store(project: Path, experiment: str) -> tuple[MlflowClient, str]:
    """Returns a client of the tracking store and the id of the MLflow experiment, made where missing.

    The store is `MLFLOW_TRACKING_URI` where that is set, `mlflow.db` in `project` otherwise. A lock
    beside the latter lets one process at a time set it up: two that migrate an empty SQLite file
    at once break it. An experiment that somebody deleted in the dashboard is restored.
    """
    server = os.environ.get("MLFLOW_TRACKING_URI")
    if server:
        client = MlflowClient(tracking_uri=server)
        return client, _experiment_id(client, experiment, artifacts=None)
    with FileLock(project / "mlflow.db.lock", timeout=LOCK_SECONDS):
        client = MlflowClient(tracking_uri=f"sqlite:///{project / 'mlflow.db'}")
        return client, _experiment_id(client, experiment, artifacts=(project / "mlartifacts").as_uri())


def _experiment_id(client: MlflowClient, experiment: str, artifacts: str | None) -> str:
    found = client.get_experiment_by_name(experiment)
    if found is None:
        return str(client.create_experiment(experiment, artifact_location=artifacts))
    if found.lifecycle_stage == "deleted":
        client.restore_experiment(found.experiment_id)
    return str(found.experiment_id)


def project_folder() -> Path:
    """Returns the project's top folder: `DVC_ROOT` inside a stage, also of a queued experiment's copy."""
    return Path(os.environ.get("DVC_ROOT") or Path.cwd()).resolve()


def _dataset(name: str, digest: str) -> DatasetInput:
    dataset = Dataset(name, digest[:DIGEST_LENGTH], "dvc", f'{{"path": "{name}"}}')
    return DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])


def _git(project: Path, *arguments: str) -> str | None:
    """What git answers, or None where there is no git or no repository."""
    try:
        done = subprocess.run(["git", *arguments], cwd=project, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()
