"""Files and models of an MLflow run, which somebody may have deleted."""

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
    """Returns the models that were logged to `run` and not deleted."""
    found = []
    for output in run.outputs.model_outputs if run.outputs else ():
        try:
            found.append(client.get_logged_model(output.model_id))
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
    return found


def contents(store: Store, parent: MlflowRun, children: Sequence[MlflowRun]) -> str:
    """Returns a digest of the names and sizes of a parent's files and its children's models; `elsewhere` if remote."""
    if not parent.info.artifact_uri.startswith("file:"):
        return "elsewhere"
    models = (model.artifact_location for child in children for model in models_of(store.client, child))
    parts = [urlsplit(uri) for uri in (parent.info.artifact_uri, *models)]
    folders = [Path(url2pathname(part.path)) for part in parts if part.scheme == "file"]
    return hashlib.sha256(json.dumps([_sizes(folder) for folder in folders]).encode()).hexdigest()


def _sizes(folder: Path) -> list[tuple[str, int]]:
    files = (file for file in folder.rglob("*") if file.is_file())
    return sorted((file.relative_to(folder).as_posix(), file.stat().st_size) for file in files)
