"""Files to MLflow, several at a time: each is a request, and a server needs longer to answer than a file to travel."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

from textrnn.tracking.store import Store

AT_ONCE = 8


def upload(store: Store, location: str, folder: Path) -> None:
    """Puts what is in `folder` into the artifact location of a run or a logged model."""
    repository = get_artifact_repository(location, tracking_uri=store.uri)

    def send(file: Path) -> None:
        inside = file.parent.relative_to(folder).as_posix()
        repository.log_artifact(str(file), None if inside == "." else inside)  # type: ignore[no-untyped-call]

    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(send, [file for file in sorted(folder.rglob("*")) if file.is_file()]))
