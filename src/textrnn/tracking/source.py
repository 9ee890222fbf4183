"""Folders that have a record in MLflow, which is a parent run and its children; and how records are read."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from mlflow import MlflowClient
from mlflow.entities import LoggedModel, LoggedModelStatus
from mlflow.entities import Run as MlflowRun
from mlflow.exceptions import MlflowException

from textrnn.config.params import Params
from textrnn.project.dvc_lock import data_by_stage, hashes
from textrnn.project.origin import Origin
from textrnn.run_folder import digest
from textrnn.tracking.record import PARENT, STAGE
from textrnn.tracking.store import Store, pages

SYNCED = "run.digest"
"""The tag of a complete parent run: a digest of the files that it agrees with."""

ARTIFACTS = "run.artifacts"
"""The tag of a complete parent run: a digest of its and its models' artifacts, if these are on this machine."""


@dataclass(frozen=True)
class Recorded:
    """A record: the parent run, and its children by seed or trial, in ascending order."""

    parent: MlflowRun
    children: dict[int, MlflowRun]

    @property
    def ids(self) -> dict[int, str]:
        """The children's ids."""
        return {number: child.info.run_id for number, child in self.children.items()}

    def tag(self, name: str) -> str | None:
        """Returns a tag of the parent."""
        tag: str | None = self.parent.data.tags.get(name)
        return tag


@dataclass(frozen=True)
class Source(ABC):
    """A folder of files that gets a record.

    Attributes:
        project: the project's top folder.
        params: the study.
        path: the folder.
        stage: DVC's name of the stage that makes it.
        parts: the numbers of the record's children: seeds or trials.
    """

    project: Path
    params: Params
    path: Path
    stage: str
    parts: Collection[int]

    @cached_property
    def digest(self) -> str:
        """A digest of the files."""
        return digest(self.path)

    @property
    def datasets(self) -> dict[str, str]:
        """DVC's hash of every data folder that the files were made from."""
        return data_by_stage(self.project / "dvc.lock").get(self.stage, {})

    @property
    def origin(self) -> Origin:
        """Where the files come from, by their hash in dvc.lock."""
        path = self.path.relative_to(self.project)
        output = hashes(self.project / "dvc.lock", [path]).get(str(path))
        return Origin.of_result(self.project, output) if output else Origin.of_checkout(self.project)

    @abstractmethod
    def is_in(self, record: Recorded) -> bool:
        """Whether `record`, which may be incomplete, is one of the same training or search."""

    def is_ours(self, record: Recorded) -> bool:
        """Whether `record`, of the same training, is not of other files: those of another machine, on a server."""
        return record.tag(SYNCED) in (None, self.digest)

    @abstractmethod
    def create(self, store: Store, same: list[Recorded]) -> str:
        """Writes parent and children, given the records of the `same`; returns the parent's id."""

    @abstractmethod
    def complete(self, store: Store, record: Recorded) -> None:
        """Adds files, pictures and models."""


def read_records(store: Store) -> list[Recorded]:
    """Returns every record of this project, the newest first."""
    parents: list[MlflowRun] = []
    children: dict[str, list[MlflowRun]] = {}
    for run in search_runs(store):
        if parent_id := run.data.tags.get(PARENT):
            children.setdefault(parent_id, []).append(run)
        else:
            parents.append(run)
    return [_record(each, children.get(each.info.run_id, [])) for each in parents]


def read_record(store: Store, parent_id: str) -> Recorded:
    """Returns one record as it is now."""
    return _record(store.client.get_run(parent_id), search_runs(store, f"tags.`{PARENT}` = '{parent_id}'"))


def find(store: Store, name: str) -> list[Recorded]:
    """Returns every record of the run `name`, the newest first."""
    return [record for record in read_records(store) if record.tag("experiment") == name]


def search_runs(store: Store, condition: str = f"tags.`{STAGE}` LIKE '%'") -> Iterator[MlflowRun]:
    """Yields the runs for which `condition` holds, by default every one that this project logged."""
    yield from pages(store.client.search_runs, [store.experiment_id], condition)


def _record(parent: MlflowRun, children: Iterator[MlflowRun] | list[MlflowRun]) -> Recorded:
    numbered = {int(child.data.tags.get("seed") or child.data.tags["trial"]): child for child in children}
    return Recorded(parent, dict(sorted(numbered.items())))


def models_of(client: MlflowClient, run: MlflowRun) -> list[LoggedModel]:
    """Returns the models that were logged to `run` and not deleted."""
    found = []
    for output in run.outputs.model_outputs if run.outputs else ():
        try:
            found.append(client.get_logged_model(output.model_id))
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
    return found


def delete_runs(store: Store, runs: Collection[MlflowRun]) -> None:
    """Deletes `runs` and their models, which MLflow would keep."""
    for model in _all_models_of(store, runs):
        store.client.delete_logged_model(model.model_id)
    for run in runs:
        store.client.delete_run(run.info.run_id)


def delete_half_made_models(store: Store, record: Recorded) -> None:
    """Deletes the models of `record` that a process was killed at before they had all their files."""
    for model in _all_models_of(store, record.children.values()):
        if model.status == LoggedModelStatus.PENDING:
            store.client.delete_logged_model(model.model_id)


def _all_models_of(store: Store, runs: Collection[MlflowRun]) -> list[LoggedModel]:
    """In one request, which a server may take half a second to answer."""
    condition = f"source_run_id IN ({', '.join(repr(run.info.run_id) for run in runs)})"
    return list(pages(store.client.search_logged_models, [store.experiment_id], condition)) if runs else []


def contents(store: Store, record: Recorded) -> str:
    """Returns a digest of the names and sizes of a parent's files and its children's models; `elsewhere` if remote."""
    home = record.parent.info.artifact_uri
    if not home.startswith("file:"):
        return "elsewhere"
    models = (model.artifact_location for run in record.children.values() for model in models_of(store.client, run))
    parts = [urlsplit(uri) for uri in (home, *models)]
    folders = [Path(url2pathname(part.path)) for part in parts if part.scheme == "file"]
    return hashlib.sha256(json.dumps([_sizes(folder) for folder in folders]).encode()).hexdigest()


def _sizes(folder: Path) -> list[tuple[str, int]]:
    files = (file for file in folder.rglob("*") if file.is_file())
    return sorted((file.relative_to(folder).as_posix(), file.stat().st_size) for file in files)
