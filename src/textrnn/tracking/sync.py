"""Makes MLflow agree with the files.

A stage that DVC takes from its cache runs no code and logs nothing, a server may have been away, a
training may have been killed. So what MLflow shows is made true afterwards: for every run that the
study declares there is one parent run with one child per seed, complete, and with the numbers of
`runs/<name>/`. Run again, it changes nothing.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from filelock import FileLock
from mlflow import MlflowClient
from mlflow.entities import Run as MlflowRun
from mlflow.entities.model_registry import ModelVersion

from textrnn.config.params import Params
from textrnn.config.yaml_file import parse_json, read_text
from textrnn.modeling.scores import final_scores
from textrnn.project.dvc_lock import data_by_stage, hashes
from textrnn.project.origin import Origin
from textrnn.run_folder import RunFolder, digest
from textrnn.tracking.artifacts import contents
from textrnn.tracking.live import curve_point, over_seeds
from textrnn.tracking.record import TrackedRun
from textrnn.tracking.store import PROCESS, Store, is_alive, open_store

SYNCED = "run.digest"
"""The tag of a complete parent run: a digest of the files that it agrees with."""

ARTIFACTS = "run.artifacts"
"""The tag of a complete parent run: a digest of its and its models' artifacts, if these are on this machine."""

PARENT = "mlflow.parentRunId"
ENDED = ("FINISHED", "FAILED")
PAGE = 1000


@dataclass(frozen=True)
class Recorded:
    """A run as MLflow has it: the parent, and its children by seed."""

    parent: MlflowRun
    children: dict[int, MlflowRun]

    @property
    def seeds(self) -> list[MlflowRun]:
        """The children, in the order of their seeds."""
        return [self.children[seed] for seed in sorted(self.children)]

    @property
    def ids(self) -> dict[int, str]:
        """The children's ids, by seed."""
        return {seed: child.info.run_id for seed, child in self.children.items()}


@dataclass
class Synced:
    """What `sync` did, by name of run.

    Attributes:
        created: made from files, whole.
        completed: logged live, and given what only files can tell.
        unchanged: found complete.
        removed: second records of one training, or parts of one, deleted (MLflow can restore them).
        abandoned: left open by a process that is no more, marked as killed.
        running: open, and perhaps still written.
        outdated: not looked at, as its files are missing or were made with other params: `dvc repro` makes them anew.
    """

    created: list[str] = field(default_factory=list)
    completed: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    abandoned: list[str] = field(default_factory=list)
    running: list[str] = field(default_factory=list)
    outdated: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        counts = {name: len(value) for name, value in vars(self).items()}
        total = counts["created"] + counts["completed"] + counts["unchanged"]
        told = ", ".join(f"{count} {name}" for name, count in counts.items() if count)
        return f"{total} runs agree with the files ({told})"


Complete = Callable[[Store, RunFolder, Recorded], None]


def sync(
    project: Path, params: Params, complete: Complete, on_run: Callable[[str], None] = lambda name: None
) -> Synced:
    """Brings the tracking store into line with the `runs/` of the study that `params` declares.

    Args:
        project: the project's top folder.
        complete: adds pictures and models to a run, before it counts as complete.
        on_run: is called with each run's name, before it is looked at.

    A second process that syncs the same project waits until the first is done.
    """
    store = open_store(project, f"{params.study}/{params.corpus}")
    with FileLock(project / "mlflow.sync.lock"):
        return _sync(store, project, params, complete, on_run)


def _sync(store: Store, project: Path, params: Params, complete: Complete, on_run: Callable[[str], None]) -> Synced:
    datasets = data_by_stage(project / "dvc.lock")
    done = Synced()
    registered = _registered(store, params.corpus)
    _repair(store, registered, done)
    recorded = _recorded(store)
    for name in (*params.experiments, *params.baselines):
        on_run(name)
        run = current_run(project, params, name)
        if run is None:
            done.outdated.append(name)
            continue
        content = digest(run.path)
        same = [record for record in recorded if _is_of(record, run)]
        complete_one = next((record for record in same if _is_complete(store, record, run, content)), None)
        kept = complete_one or next((record for record in same if _agrees(store, record, run)), None)
        for record in same:
            # What agrees with other files (another machine's, on a shared server) is not ours to delete.
            is_ours = record.parent.data.tags.get(SYNCED) in (None, content)
            if record is not kept and is_ours and registered.isdisjoint(record.ids.values()):
                _delete(store, record)
                done.removed.append(name)
        if complete_one is not None:
            done.unchanged.append(name)
            continue
        (done.created if kept is None else done.completed).append(name)
        kept = kept or _create(store, _tracked(run, params, datasets), run, project)
        complete(store, run, kept)
        refreshed = Recorded(kept.parent, {seed: store.client.get_run(child) for seed, child in kept.ids.items()})
        for tag, value in ((ARTIFACTS, contents(store, refreshed.parent, refreshed.seeds)), (SYNCED, content)):
            store.client.set_tag(kept.parent.info.run_id, tag, value)
    return done


def current_run(project: Path, params: Params, name: str) -> RunFolder | None:
    """Returns the run `name` if it lies in files, and these were made with the study's present params and seeds."""
    folder = project / "runs" / name
    if not (folder / "run.json").is_file():
        return None
    run = RunFolder.load(folder)
    if name in params.baselines:
        declared = params.baselines[name].model_dump(exclude_none=True)
        return run if run.params == declared else None
    return run if (run.params, run.seeds) == (params.experiments[name].model_dump(), params.seeds) else None


def registered_name(corpus: str) -> str:
    """Returns the registered model's name of a corpus."""
    return f"textrnn-{corpus}"


def _tracked(run: RunFolder, params: Params, datasets: dict[str, dict[str, str]]) -> TrackedRun:
    """Returns what MLflow is told of a run that lies in files."""
    declared = {**params.experiments, **params.baselines}[run.name].model_dump()
    plain = TrackedRun(
        study=params.study,
        corpus=params.corpus,
        name=run.name,
        kind=run.kind,
        params={key: run.params[key] for key in declared if key in run.params},  # run.json sorts them
        fingerprint=run.fingerprint,
        datasets={},
        defaults=params.train if run.kind == "experiment" else {},
    )
    return replace(plain, datasets=datasets.get(plain.stage, {}))


def find(store: Store, name: str) -> list[Recorded]:
    """Returns every record of the run `name`, the newest first."""
    return [record for record in _recorded(store) if record.parent.data.tags.get("experiment") == name]


def _recorded(store: Store) -> list[Recorded]:
    """Reads all that was logged here."""
    parents: list[MlflowRun] = []
    children: dict[str, dict[int, MlflowRun]] = {}
    for run in _search(store):
        if parent_id := run.data.tags.get(PARENT):
            children.setdefault(parent_id, {})[int(run.data.tags["seed"])] = run
        else:
            parents.append(run)
    return [Recorded(parent, children.get(parent.info.run_id, {})) for parent in parents]


def _registered(store: Store, corpus: str) -> set[str]:
    """Ids of the runs that versions of the corpus' registered model refer to; sync deletes none of them."""
    return {str(version.run_id) for version in versions(store.client, registered_name(corpus))}


def versions(client: MlflowClient, name: str) -> Iterator[ModelVersion]:
    """Every version of a registered model."""
    token = None
    while True:
        page = client.search_model_versions(f"name = '{name}'", max_results=PAGE, page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def _repair(store: Store, registered: set[str], done: Synced) -> None:
    """Closes what a process that is no more left open, and deletes the seeds of parents that somebody deleted."""
    runs = list(_search(store))
    ids = {run.info.run_id for run in runs}
    for run in runs:
        if run.info.status == "RUNNING" and is_alive(run.data.tags.get(PROCESS, ""), _silence(store, run)):
            done.running.append(str(run.info.run_name))
        elif run.info.status == "RUNNING":
            store.client.set_terminated(run.info.run_id, "KILLED")
            done.abandoned.append(str(run.info.run_name))
        if run.data.tags.get(PARENT, run.info.run_id) not in ids and run.info.run_id not in registered:
            store.client.delete_run(run.info.run_id)
            done.removed.append(str(run.info.run_name))


def _silence(store: Store, run: MlflowRun) -> float:
    """Seconds since the last sign of an open run: its newest point on a curve, or that of one of its seeds."""
    seeds = store.client.search_runs([store.experiment_id], f"tags.`{PARENT}` = '{run.info.run_id}'")
    signs = [run.info.start_time, *(seed.info.start_time for seed in seeds)]
    for each in (run, *seeds):
        if "loss" in each.data.metrics:
            signs += [point.timestamp for point in store.client.get_metric_history(each.info.run_id, "loss")]
    return float(time.time() - max(signs) / 1000)


def _search(store: Store) -> Iterator[MlflowRun]:
    """Every run that this project logged: those with a fingerprint."""
    token = None
    while True:
        page = store.client.search_runs(
            [store.experiment_id], "tags.`dvc.fingerprint` LIKE '%'", max_results=PAGE, page_token=token
        )
        yield from page
        token = page.token
        if not token:
            return


def _is_of(record: Recorded, run: RunFolder) -> bool:
    tags = record.parent.data.tags
    is_same = (tags.get("experiment"), tags.get("dvc.fingerprint")) == (run.name, run.fingerprint)
    return is_same and record.parent.info.status in ENDED


def _is_complete(store: Store, record: Recorded, run: RunFolder, content: str) -> bool:
    """Whether it was completed from these very files, and nobody has deleted a part of it since."""
    tags = record.parent.data.tags
    return (
        tags.get(SYNCED) == content
        and set(record.children) == set(run.seeds)
        and (run.kind == "baseline" or all(record.children[seed].outputs for seed in run.finished_seeds))
        and tags.get(ARTIFACTS) == contents(store, record.parent, record.seeds)
    )


def _agrees(store: Store, record: Recorded, run: RunFolder) -> bool:
    """Whether every number that the files hold was logged, at its epoch."""
    if set(record.children) != set(run.seeds):
        return False
    for seed, child in record.children.items():
        if child.info.status not in ENDED or not _equal(child.data.metrics, scores(run, seed)):
            return False
        points = [curve_point(row) for row in history(run, seed)]
        for key in points[0][1] if points else ():
            logged = {metric.step: metric.value for metric in store.client.get_metric_history(child.info.run_id, key)}
            if not _equal(logged, {step: values[key] for step, values in points}):
                return False
    return True


def _equal(logged: dict[Any, float], expected: dict[Any, float]) -> bool:
    """What is not finite is stored as it pleases the database, so any two such numbers are equal."""
    return all(
        key in logged and (math.isclose(logged[key], value, rel_tol=1e-9) or not math.isfinite(value))
        for key, value in expected.items()
    )


def _create(store: Store, tracked: TrackedRun, run: RunFolder, project: Path) -> Recorded:
    """Writes a parent and its children as a live training would have."""
    path = run.path.relative_to(project)
    output = hashes(project / "dvc.lock", [path]).get(str(path))
    origin = Origin.of_result(project, output) if output else Origin.of_checkout(project)
    parent_id = store.open_parent(tracked, origin)
    timing = _timing(project, run)
    finals, ids = [], {}
    for seed in run.seeds:
        ids[seed] = store.open_child(tracked, origin, parent_id, seed)
        store.log_metrics(ids[seed], [curve_point(row) for row in history(run, seed)])
        final = {**scores(run, seed), **timing.get(str(seed), {})}
        failure = run.failures.get(str(seed))
        store.close(ids[seed], final, failure)
        if failure is None:
            finals.append(final)
    store.close(parent_id, {**run.cost, **over_seeds(finals)}, run.failure)
    get = store.client.get_run
    return Recorded(get(parent_id), {seed: get(child_id) for seed, child_id in ids.items()})


def scores(run: RunFolder, seed: int) -> dict[str, float]:
    """Returns the final metrics of one seed; none if it failed."""
    if seed not in run.finished_seeds:
        return {}
    metrics: dict[str, float] = {}
    for split in ("valid", "test"):
        _, labels, probabilities = run.probabilities(seed, split)
        metrics |= final_scores(split, labels, probabilities)
    return metrics


def history(run: RunFolder, seed: int) -> list[dict[str, float]]:
    """Returns the rows of one seed's history, epoch by epoch."""
    rows = run.history[run.history["seed"] == seed]
    return [dict(zip(rows.columns, values, strict=True)) for values in rows.itertuples(index=False)]


def _timing(project: Path, run: RunFolder) -> dict[str, dict[str, float]]:
    """What `timings/` says of this very training; a clone has none."""
    file = project / "timings" / f"{run.name}.json"
    content = parse_json(read_text(file), str(file), "Delete it: it holds clock times only.") if file.is_file() else {}
    seeds: dict[str, dict[str, float]] = (
        content.get("seeds", {}) if content.get("fingerprint") == run.fingerprint else {}
    )
    return seeds


def _delete(store: Store, record: Recorded) -> None:
    for run in (*record.children.values(), record.parent):
        store.client.delete_run(run.info.run_id)
