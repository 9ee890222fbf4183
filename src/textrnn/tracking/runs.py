"""The record of a run: a parent with one child per seed, made from `runs/<name>/` as a live training writes it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion

from textrnn.config.params import Params
from textrnn.config.sections import BaselineParams
from textrnn.config.yaml_file import parse_json, read_text
from textrnn.modeling.scores import final_scores
from textrnn.project.origin import PATCH, Origin
from textrnn.run_folder import RunFolder
from textrnn.tracking.live import curve_point, over_seeds
from textrnn.tracking.record import TrackedRun
from textrnn.tracking.source import Recorded, Source
from textrnn.tracking.store import MLFLOW_ERRORS, Store, pages

Complete = Callable[[Store, RunFolder, Recorded], None]


@dataclass(frozen=True)
class RunSource(Source):
    """A run folder that gets a record. `finish` adds pictures and models."""

    run: RunFolder
    finish: Complete

    def is_in(self, record: Recorded) -> bool:
        """Whether `record` is of the same training, which ended."""
        is_same = (record.tag("experiment"), record.tag("dvc.fingerprint")) == (self.run.name, self.run.fingerprint)
        return is_same and record.parent.info.status in ("FINISHED", "FAILED")

    def create(self, store: Store, same: list[Recorded]) -> str:
        """Writes a parent and its children as a live training does; returns the parent's id."""
        run, params = self.run, self.params
        declared = {**params.experiments, **params.baselines, **params.ensembles}[run.name].model_dump()
        tracked = TrackedRun(
            study=params.study,
            corpus=params.corpus,
            name=run.name,
            kind=run.kind,
            stage=self.stage,
            params={key: run.params[key] for key in declared if key in run.params},  # run.json sorts them
            fingerprint=run.fingerprint,
            datasets=self.datasets,
            defaults=params.train if run.kind == "experiment" else {},
        )
        origin = next(filter(None, (_live_origin(store, record) for record in same)), None) or self.origin
        timing = timings(self.project, run.name, run.fingerprint)
        lasted = {seed: timing.get(str(seed), {}).get("seconds", 0.0) for seed in run.seeds}
        parent_id = store.open(tracked, origin, seconds=sum(lasted.values()))
        finals = []
        for seed in run.seeds:
            final = {**scores(run, seed), **timing.get(str(seed), {})}
            failure = run.failures.get(str(seed))
            points = [*map(curve_point, history(run, seed)), (0, final)]
            store.close(store.open(tracked, origin, parent_id, seed, lasted[seed]), points, failure)
            if failure is None:
                finals.append(final)
        store.close(parent_id, [(0, {**run.cost, **over_seeds(finals)})], run.failure)
        return parent_id

    def complete(self, store: Store, record: Recorded) -> None:
        """Adds pictures and models."""
        self.finish(store, self.run, record)


def current_run(project: Path, params: Params, name: str) -> RunFolder | None:
    """Returns the run `name` if it is in files that were made with the study's present params and seeds."""
    folder = project / "runs" / name
    if not (folder / "run.json").is_file():
        return None
    run = RunFolder.load(folder)
    if name in params.baselines:
        # A setting that is newer than the run had its default; what has no value is left out.
        defaults = BaselineParams(kind="majority").model_dump(exclude_none=True)
        return run if {**defaults, **run.params} == params.baselines[name].model_dump(exclude_none=True) else None
    if name in params.ensembles:
        return run if run.params == params.ensembles[name].model_dump() else None
    return run if (run.params, run.seeds) == (params.experiments[name].model_dump(), params.seeds) else None


def registered_name(corpus: str) -> str:
    """Returns the registered model's name of a corpus."""
    return f"textrnn-{corpus}"


def versions(client: MlflowClient, name: str) -> Iterator[ModelVersion]:
    """Yields every version of a registered model."""
    yield from pages(client.search_model_versions, f"name = '{name}'")


def _live_origin(store: Store, record: Recorded) -> Origin | None:
    """Returns where a run comes from, as it was logged; None if the patch is lost."""
    tags, patch = record.parent.data.tags, ""
    try:
        if tags.get("git.dirty") == "true":
            with tempfile.TemporaryDirectory() as scratch:
                file = store.client.download_artifacts(record.parent.info.run_id, PATCH, scratch)
                patch = Path(file).read_bytes().decode()
    except MLFLOW_ERRORS:
        return None
    return Origin(tags.get("mlflow.source.git.commit"), patch, tags.get("dvc.exp_name"))


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


def timings(project: Path, name: str, fingerprint: str) -> dict[str, dict[str, float]]:
    """Returns each seed's timing of this very training from `timings/`, which a clone lacks."""
    file = project / "timings" / f"{name}.json"
    content = parse_json(read_text(file), str(file), "Delete it: it holds clock times only.") if file.is_file() else {}
    return dict(content.get("seeds", {})) if content.get("fingerprint") == fingerprint else {}
