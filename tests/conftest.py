"""A tiny project on which the whole pipeline has run once, for the tests that start from there."""

from __future__ import annotations

from pathlib import Path

import pytest
from filelock import FileLock
from tiny_project import TinyProject, make_project


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
