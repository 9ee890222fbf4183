"""A tiny project on which the whole pipeline has run once, for the tests that start from there."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from filelock import FileLock
from tiny_project import LIVE, TinyProject, make_project
from xdist.scheduler import LoadScopeScheduling

from textrnn.process import own_environment

# A stage that a test runs in its own process would start that process once more.
for name in os.environ.keys() - own_environment(os.environ).keys():
    del os.environ[name]


STORIES = {
    "test_docs_commands.py",
    "test_docs_site.py",
    "test_faults.py",
    "test_modeling_backends.py",
    "test_orchestration_cluster.py",
    "test_report_page_in_browser.py",
    "test_retraining_story.py",
    "test_tracking_data_check.py",
    "test_tracking_story.py",
    "test_workflows_in_runners.py",
}
"""Files whose tests depend on their order, or share what is slow to start."""


class Stories(LoadScopeScheduling):
    """Keeps a story, in each of its variants, on one worker. Every other test goes to whatever worker is free."""

    def _split_scope(self, nodeid: str) -> str:
        file, _, test = nodeid.partition("::")
        return f"{file} {'[postgresql' in test}" if Path(file).name in STORIES else nodeid


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    return Stories(config, log)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts what takes long first, so that all workers have work to the end.

    The first test of all makes the finished project. So the other tests that need it come after a third of those that
    do not: by then it is there, and no worker waits for it.
    """
    long = [item for item in items if item.get_closest_marker("long")]
    grouped = [item for item in items if item.path.name in STORIES and item not in long]
    short = [item for item in items if item not in long and item not in grouped]
    others = [item for item in [*long, *grouped, *short] if not _needs_finished(item)]
    needing = [item for item in [*long, *grouped, *short] if _needs_finished(item)]
    third = len(others) // 3
    items[:] = [*needing[:1], *others[:third], *needing[1:], *others[third:]]


def _needs_finished(item: pytest.Item) -> bool:
    return "finished" in getattr(item, "fixturenames", ())


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
    import textrnn.tracking.store  # noqa: F401, it sets for this process how long MLflow waits

    shared = tmp_path_factory.getbasetemp() if worker_id == "master" else tmp_path_factory.getbasetemp().parent
    project = TinyProject(shared / "finished", shared / "home")
    with FileLock(shared / "finished.lock"):
        if not (shared / "finished.done").is_file():
            make_project(project.folder, project.home)
            project.dvc("repro", **LIVE)
            project.commit()
            (shared / "finished.done").touch()
    return project


@pytest.fixture
def project(finished: TinyProject, tmp_path: Path) -> TinyProject:
    """A copy of the finished project, with its DVC cache, its runs and its MLflow store."""
    return finished.copy(tmp_path / "project")


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny project's tracking store without runs, to copy: setting one up takes seconds."""
    from textrnn.tracking.store import open_store

    folder = tmp_path_factory.mktemp("empty")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        open_store(folder, "tiny/snippets")
    return folder / "mlflow.db"
