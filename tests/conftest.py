"""A tiny project on which the whole pipeline has run once, for the tests that start from there."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import pytest
from filelock import FileLock
from tiny_project import TinyProject, make_project

from textrnn.process import own_environment

# A stage that a test runs in its own process would start that process once more.
for name in os.environ.keys() - own_environment(os.environ).keys():
    del os.environ[name]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that run whole pipelines come first: at the end no worker waits for one that started late."""
    slow = {item.path for item in items if "finished" in getattr(item, "fixturenames", ())}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(autouse=True)
def tracking_store_of_one_test_alone() -> Iterator[None]:
    """`mlflow.set_tracking_uri` also sets the environment variable, and the next test would write into that store."""
    with mock.patch.dict(os.environ):
        yield
        if mlflow := sys.modules.get("mlflow"):
            mlflow.set_tracking_uri(None)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> TinyProject:
    """The project after `dvc repro`, committed. For reading only: `project` is a copy to change.

    The workers of one test session share it: the first one there runs the pipeline.
    """
    shared = tmp_path_factory.getbasetemp() if worker_id == "master" else tmp_path_factory.getbasetemp().parent
    project = TinyProject(shared / "finished", shared / "home")
    with FileLock(shared / "finished.lock"):
        if not (shared / "finished.done").is_file():
            make_project(project.folder, project.home)
            project.dvc("repro")
            project.commit()
            (shared / "finished.done").touch()
    return project


@pytest.fixture
def project(finished: TinyProject, tmp_path: Path) -> TinyProject:
    """A copy of the finished project, with its DVC cache, its runs and its MLflow store."""
    return finished.copy(tmp_path / "project")
