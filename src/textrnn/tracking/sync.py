"""Makes MLflow agree with the files.

A stage that DVC takes from its cache runs no code and logs nothing, a server may have been unreachable, a training may
have been killed. So `sync` gives every run, search and language model that the study declares one complete record,
made from `runs/<name>/`, `runs/search@<name>/` or `data/embeddings/<name>/`: a parent run with one child per seed or
trial, and none for a language model. What a training logged live is deleted then. Run again, `sync` changes nothing.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path

from filelock import FileLock
from mlflow.entities import RunTag

from textrnn.config.params import Params
from textrnn.run_folder import RunFolder
from textrnn.tracking.answer import REPORT, find_report, show
from textrnn.tracking.pretraining import find_pretrained
from textrnn.tracking.record import PARENT, PRETRAINING
from textrnn.tracking.runs import Complete, RunSource, current_run, registered_name, versions
from textrnn.tracking.searches import find_search
from textrnn.tracking.source import (
    ARTIFACTS,
    SYNCED,
    Recorded,
    Source,
    contents,
    delete_half_made_models,
    delete_runs,
    read_record,
    read_records,
    search_runs,
)
from textrnn.tracking.store import PROCESS, Store, is_alive, open_store
from textrnn.tracking.view import address


@dataclass
class Synced:
    """What `sync` did, by name of run; a search's is `search <name>`, a language model's `pretraining <name>`.

    Attributes:
        created: made from files, in place of what was logged live.
        restored: complete except for files or models, which were logged again.
        unchanged: found complete.
        removed: second records of one training, or parts of one, deleted (MLflow can restore them).
        abandoned: left open by a process that ended, marked as killed.
        running: open, and perhaps still written.
        outdated: skipped, as their files are missing or were made with other params: `dvc repro` makes them again.
        link: the address of the study in MLflow.
    """

    created: list[str] = field(default_factory=list)
    restored: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    abandoned: list[str] = field(default_factory=list)
    running: list[str] = field(default_factory=list)
    outdated: list[str] = field(default_factory=list)
    link: str = field(default="", compare=False)

    def __str__(self) -> str:
        total = len(self.created) + len(self.restored) + len(self.unchanged)
        counts = ", ".join(f"{len(names)} {what}" for what, names in vars(self).items() if names and what != "link")
        return f"{total} runs agree with the files ({counts})"


def sync(
    project: Path, params: Params, complete: Complete, on_run: Callable[[str], None] = lambda name: None
) -> Synced:
    """Makes the tracking store agree with the runs, searches and language models of the study that `params` declares.

    A second process that syncs the same project waits until the first is done.

    Args:
        project: the project's top folder.
        complete: adds pictures and models to a run, before it counts as complete.
        on_run: is called with each run's name first.
    """
    _discard_half_made(project / "mlflow.db")
    store = open_store(project, f"{params.study}/{params.corpus}")
    done = Synced()
    with FileLock(project / "mlflow.sync.lock"):
        registered = {str(version.run_id) for version in versions(store.client, registered_name(params.corpus))}
        _repair(store, registered, done)
        records = read_records(store)
        kept: dict[str, str] = {}
        runs: dict[str, RunFolder] = {}
        for name, source in _sources(project, params, complete):
            on_run(name)
            if source is None:
                done.outdated.append(name)
                continue
            if isinstance(source, RunSource):
                runs[name] = RunFolder.load(source.path)  # without the predictions that the source keeps
            kept[name] = _agree(store, name, source, records, registered, done)
        parents = {record.parent.info.run_id: record.parent for record in read_records(store)}
        shown = {name: (run, parents[kept[name]]) for name, run in runs.items()}
        report = find_report(project, params, shown)
        if report is not None:
            on_run(REPORT)
            _agree(store, REPORT, report, records, registered, done)
        show(store, params, shown, report)
        done.link = address(store)
    return done


def _discard_half_made(database: Path) -> None:
    """Deletes a database without an experiment: MLflow was killed while it made the tables, and cannot go on there."""
    if os.environ.get("MLFLOW_TRACKING_URI") or not database.is_file():
        return
    with FileLock(f"{database}.lock"), suppress(sqlite3.DatabaseError):  # what else is wrong with it, MLflow says
        with closing(sqlite3.connect(database)) as connection:
            tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            if "experiments" in tables and connection.execute("SELECT 1 FROM experiments").fetchone():
                return
        database.unlink()


def _sources(project: Path, params: Params, complete: Complete) -> Iterator[tuple[str, Source | None]]:
    """Yields what is declared by name; None for what is not in files as it is declared now."""
    for name in params.runs:
        run = current_run(project, params, name)
        stage = params.stage(name)
        yield name, None if run is None else RunSource(project, params, run.path, stage, run.seeds, run, complete)
    for name in params.searches:
        yield f"search {name}", find_search(project, params, name)
    for name in params.pretraining:
        yield f"{PRETRAINING} {name}", find_pretrained(project, params, name)


def _agree(store: Store, name: str, source: Source, records: list[Recorded], registered: set[str], done: Synced) -> str:
    """Leaves one complete record of `source`, and returns its id."""
    same = [record for record in records if source.is_in(record)]
    kept = _keep_one(store, name, source, same, done)
    for record in same:
        if record.parent.info.run_id != kept and source.is_ours(record) and registered.isdisjoint(record.ids.values()):
            delete_runs(store, [*record.children.values(), record.parent])
            if name not in done.created:
                done.removed.append(name)
    return kept


def _keep_one(store: Store, name: str, source: Source, same: list[Recorded], done: Synced) -> str:
    """Returns the id of the complete record of `source`, which is made or restored where needed."""
    synced = [each for each in same if each.tag(SYNCED) == source.digest and each.children.keys() == {*source.parts}]
    for record in synced:
        if record.tag(ARTIFACTS) == contents(store, record):
            done.unchanged.append(name)
            return str(record.parent.info.run_id)
    (done.restored if synced else done.created).append(name)
    if synced:
        kept = str(synced[0].parent.info.run_id)
        delete_half_made_models(store, synced[0])
    else:
        kept = source.create(store, same)
    source.complete(store, read_record(store, kept))
    marks = {ARTIFACTS: contents(store, read_record(store, kept)), SYNCED: source.digest}
    store.client.log_batch(kept, tags=[RunTag(key, value) for key, value in marks.items()])
    return kept


def _repair(store: Store, registered: set[str], done: Synced) -> None:
    """Closes runs of processes that have ended, and deletes the children of parents that somebody deleted."""
    runs = list(search_runs(store))
    for run in runs:
        name = str(run.info.run_name)
        if run.info.status == "RUNNING" and is_alive(run.data.tags.get(PROCESS, ""), run.info.start_time / 1000):
            done.running.append(name)
        elif run.info.status == "RUNNING":
            store.client.set_terminated(run.info.run_id, "KILLED")
            done.abandoned.append(name)
    ids = {run.info.run_id for run in runs}
    orphans = [run for run in runs if run.data.tags.get(PARENT, run.info.run_id) not in ids]
    lost = [run for run in orphans if run.info.run_id not in registered]
    delete_runs(store, lost)
    done.removed += [str(run.info.run_name) for run in lost]
