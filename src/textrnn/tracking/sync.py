"""Makes MLflow agree with the files.

A stage that DVC takes from its cache runs no code and logs nothing, a server may have been unreachable, a training may
have been killed. So `sync` gives every run that the study declares one complete record, made from `runs/<name>/`: a
parent run with one child per seed. What a training logged live is deleted then. Run again, `sync` changes nothing.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from filelock import FileLock
from mlflow import MlflowClient
from mlflow.entities import Run as MlflowRun
from mlflow.entities.model_registry import ModelVersion

from textrnn.config.params import Params
from textrnn.config.yaml_file import parse_json, read_text
from textrnn.modeling.scores import final_scores
from textrnn.project.dvc_lock import data_by_stage, hashes
from textrnn.project.origin import PATCH, Origin
from textrnn.run_folder import RunFolder, digest
from textrnn.tracking.artifacts import contents
from textrnn.tracking.live import curve_point, over_seeds
from textrnn.tracking.record import TrackedRun
from textrnn.tracking.store import MLFLOW_ERRORS, PROCESS, Store, is_alive, open_store, pages

SYNCED = "run.digest"
"""The tag of a complete parent run: a digest of the files that it agrees with."""

ARTIFACTS = "run.artifacts"
"""The tag of a complete parent run: a digest of its and its models' artifacts, if these are on this machine."""

PARENT = "mlflow.parentRunId"


@dataclass(frozen=True)
class Recorded:
    """A run in MLflow: the parent, and its children by seed, in ascending order."""

    parent: MlflowRun
    children: dict[int, MlflowRun]

    @property
    def ids(self) -> dict[int, str]:
        """The children's ids, by seed."""
        return {seed: child.info.run_id for seed, child in self.children.items()}


@dataclass
class Synced:
    """What `sync` did, by name of run.

    Attributes:
        created: made from files, in place of what was logged live.
        restored: complete except for files or models, which were logged again.
        unchanged: found complete.
        removed: second records of one training, or parts of one, deleted (MLflow can restore them).
        abandoned: left open by a process that ended, marked as killed.
        running: open, and perhaps still written.
        outdated: skipped, as their files are missing or were made with other params: `dvc repro` makes them again.
    """

    created: list[str] = field(default_factory=list)
    restored: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    abandoned: list[str] = field(default_factory=list)
    running: list[str] = field(default_factory=list)
    outdated: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        total = len(self.created) + len(self.restored) + len(self.unchanged)
        counts = ", ".join(f"{len(names)} {what}" for what, names in vars(self).items() if names)
        return f"{total} runs agree with the files ({counts})"


Complete = Callable[[Store, RunFolder, Recorded], None]


def sync(
    project: Path, params: Params, complete: Complete, on_run: Callable[[str], None] = lambda name: None
) -> Synced:
    """Makes the tracking store agree with the `runs/` of the study that `params` declares.

    A second process that syncs the same project waits until the first is done.

    Args:
        project: the project's top folder.
        complete: adds pictures and models to a run, before it counts as complete.
        on_run: is called with each run's name first.
    """
    store = open_store(project, f"{params.study}/{params.corpus}")
    done = Synced()
    with FileLock(project / "mlflow.sync.lock"):
        registered = {str(version.run_id) for version in versions(store.client, registered_name(params.corpus))}
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
            synced = [each for each in same if _tag(each, SYNCED) == content and set(each.children) == set(run.seeds)]
            kept = next((record for record in synced if _has_artifacts(store, record, run)), None)
            if kept is not None:
                done.unchanged.append(name)
            else:
                (done.restored if synced else done.created).append(name)
                kept = synced[0] if synced else _create(store, project, params, run, same)
                complete(store, run, kept)
                children = [store.client.get_run(child_id) for child_id in kept.ids.values()]  # they have models now
                for tag, value in ((ARTIFACTS, contents(store, kept.parent, children)), (SYNCED, content)):
                    store.client.set_tag(kept.parent.info.run_id, tag, value)
            for record in same:
                # A record that agrees with other files (another machine's, on a shared server) is not ours to delete.
                is_ours = _tag(record, SYNCED) in (None, content)
                if record is not kept and is_ours and registered.isdisjoint(record.ids.values()):
                    for each in (*record.children.values(), record.parent):
                        store.client.delete_run(each.info.run_id)
                    if name not in done.created:
                        done.removed.append(name)
    return done


def current_run(project: Path, params: Params, name: str) -> RunFolder | None:
    """Returns the run `name` if it is in files that were made with the study's present params and seeds."""
    folder = project / "runs" / name
    if not (folder / "run.json").is_file():
        return None
    run = RunFolder.load(folder)
    if name in params.baselines:
        return run if run.params == params.baselines[name].model_dump(exclude_none=True) else None
    return run if (run.params, run.seeds) == (params.experiments[name].model_dump(), params.seeds) else None


def registered_name(corpus: str) -> str:
    """Returns the registered model's name of a corpus."""
    return f"textrnn-{corpus}"


def versions(client: MlflowClient, name: str) -> Iterator[ModelVersion]:
    """Yields every version of a registered model."""
    yield from pages(client.search_model_versions, f"name = '{name}'")


def find(store: Store, name: str) -> list[Recorded]:
    """Returns every record of the run `name`, the newest first."""
    return [record for record in _recorded(store) if _tag(record, "experiment") == name]


def _recorded(store: Store) -> list[Recorded]:
    parents: list[MlflowRun] = []
    children: dict[str, dict[int, MlflowRun]] = {}
    for run in _search(store):
        if parent_id := run.data.tags.get(PARENT):
            children.setdefault(parent_id, {})[int(run.data.tags["seed"])] = run
        else:
            parents.append(run)
    return [Recorded(each, dict(sorted(children.get(each.info.run_id, {}).items()))) for each in parents]


def _search(store: Store) -> Iterator[MlflowRun]:
    """Yields every run that this project logged: those with a fingerprint."""
    yield from pages(store.client.search_runs, [store.experiment_id], "tags.`dvc.fingerprint` LIKE '%'")


def _repair(store: Store, registered: set[str], done: Synced) -> None:
    """Closes runs of processes that have ended, and deletes the seeds of parents that somebody deleted."""
    runs = list(_search(store))
    ids = {run.info.run_id for run in runs}
    for run in runs:
        name, run_id = str(run.info.run_name), run.info.run_id
        if run.info.status == "RUNNING" and is_alive(run.data.tags.get(PROCESS, ""), run.info.start_time / 1000):
            done.running.append(name)
        elif run.info.status == "RUNNING":
            store.client.set_terminated(run_id, "KILLED")
            done.abandoned.append(name)
        if run.data.tags.get(PARENT, run_id) not in ids and run_id not in registered:
            store.client.delete_run(run_id)
            done.removed.append(name)


def _tag(record: Recorded, name: str) -> str | None:
    return record.parent.data.tags.get(name)


def _is_of(record: Recorded, run: RunFolder) -> bool:
    is_same = (_tag(record, "experiment"), _tag(record, "dvc.fingerprint")) == (run.name, run.fingerprint)
    return is_same and record.parent.info.status in ("FINISHED", "FAILED")


def _has_artifacts(store: Store, record: Recorded, run: RunFolder) -> bool:
    """Whether nobody has deleted a model or file of a record since it was completed."""
    has_models = run.kind == "baseline" or all(record.children[seed].outputs for seed in run.finished_seeds)
    return has_models and _tag(record, ARTIFACTS) == contents(store, record.parent, [*record.children.values()])


def _create(store: Store, project: Path, params: Params, run: RunFolder, same: list[Recorded]) -> Recorded:
    """Writes a parent and its children as a live training does."""
    declared = {**params.experiments, **params.baselines}[run.name].model_dump()
    tracked = TrackedRun(
        study=params.study,
        corpus=params.corpus,
        name=run.name,
        kind=run.kind,
        stage=params.stage(run.name),
        params={key: run.params[key] for key in declared if key in run.params},  # run.json sorts them
        fingerprint=run.fingerprint,
        datasets=data_by_stage(project / "dvc.lock").get(params.stage(run.name), {}),
        defaults=params.train if run.kind == "experiment" else {},
    )
    origin = _origin(store, project, run, same)
    timing = _timing(project, run)
    parent_id = store.open(tracked, origin)
    finals, ids = [], {}
    for seed in run.seeds:
        ids[seed] = store.open(tracked, origin, parent_id, seed)
        store.log_metrics(ids[seed], [curve_point(row) for row in history(run, seed)])
        final = {**scores(run, seed), **timing.get(str(seed), {})}
        failure = run.failures.get(str(seed))
        store.close(ids[seed], final, failure)
        if failure is None:
            finals.append(final)
    store.close(parent_id, {**run.cost, **over_seeds(finals)}, run.failure)
    get = store.client.get_run
    return Recorded(get(parent_id), {seed: get(child_id) for seed, child_id in ids.items()})


def _origin(store: Store, project: Path, run: RunFolder, same: list[Recorded]) -> Origin:
    """Where a run comes from, as it was logged live; without that, by its hash in dvc.lock."""
    for record in same:
        tags, patch = record.parent.data.tags, ""
        try:
            if tags.get("git.dirty") == "true":
                with tempfile.TemporaryDirectory() as scratch:
                    file = store.client.download_artifacts(record.parent.info.run_id, PATCH, scratch)
                    patch = Path(file).read_bytes().decode()
        except MLFLOW_ERRORS:  # the patch is lost
            continue
        return Origin(tags.get("mlflow.source.git.commit"), patch, tags.get("dvc.exp_name"))
    path = run.path.relative_to(project)
    output = hashes(project / "dvc.lock", [path]).get(str(path))
    return Origin.of_result(project, output) if output else Origin.of_checkout(project)


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
    """Returns each seed's timing of this very training from `timings/`, which a clone lacks."""
    file = project / "timings" / f"{run.name}.json"
    content = parse_json(read_text(file), str(file), "Delete it: it holds clock times only.") if file.is_file() else {}
    return dict(content.get("seeds", {})) if content.get("fingerprint") == run.fingerprint else {}
