"""What MLflow holds of a run besides numbers: files and models, which somebody may have deleted."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from mlflow import MlflowClient
from mlflow.entities import LoggedModel
from mlflow.entities import Run as MlflowRun
from mlflow.exceptions import MlflowException

from textrnn.tracking.store import Store


def models_of(client: MlflowClient, run: MlflowRun) -> list[LoggedModel]:
    """Returns the models that were logged to `run`, and that nobody has deleted."""
    found = []
    for output in run.outputs.model_outputs if run.outputs else ():
        try:
            found.append(client.get_logged_model(output.model_id))
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
    return found


def contents(store: Store, parent: MlflowRun, seeds: Sequence[MlflowRun]) -> str:
    """Returns a digest of the names and sizes of the parent's files and of its seeds' models; `elsewhere` if remote."""
    here = _local_folder(parent.info.artifact_uri)
    if here is None:
        return "elsewhere"
    models = [model for seed in seeds for model in models_of(store.client, seed)]
    folders = [here, *filter(None, (_local_folder(model.artifact_location) for model in models))]
    return hashlib.sha256(json.dumps([_sizes(folder) for folder in folders]).encode()).hexdigest()


def _sizes(folder: Path) -> list[tuple[str, int]]:
    files = (file for file in folder.rglob("*") if file.is_file())
    return sorted((file.relative_to(folder).as_posix(), file.stat().st_size) for file in files)


def _local_folder(uri: str) -> Path | None:
    """The folder that an artifact location names on this machine; None where it is elsewhere."""
    parts = urlsplit(uri)
    return Path(url2pathname(parts.path)) if parts.scheme == "file" else None
