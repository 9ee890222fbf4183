"""Stage `search@<name>`: tries settings for an experiment, and writes what it tried and what won."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import packages_distributions, version
from pathlib import Path

from textrnn.config.params import Params
from textrnn.config.plan import SearchPlan, load_planned_stage
from textrnn.config.sections import CLUSTER, Resources
from textrnn.errors import TextrnnError
from textrnn.process import JOBS, cores
from textrnn.project.origin import project_folder
from textrnn.run_folder import digest
from textrnn.search.halving import Halving
from textrnn.search.progress import Progress
from textrnn.search.proposals import Trial
from textrnn.search.result import write
from textrnn.search.storage import Storage
from textrnn.search.trainings import TRAINING, Executor, Inputs, Processes, Record, Workers, alone, serve
from textrnn.stage import run_stage, write_folder


def main(
    plan: Path, tokens: Path, embeddings: Path, result: Path, checkpoints: Path, for_cluster: bool = False
) -> None:
    """Runs the search of PLAN; with --for-cluster it trains what the search asks for that runs elsewhere."""
    name, settings, study, code = load_planned_stage(plan, SearchPlan)
    search, start = settings.search, settings.start
    used = search.space["embedding"].choices if "embedding" in search.space else [start.embedding]
    vectors = {each: digest(embeddings / each) for each in used}
    of_training = {file: md5 for file, md5 in code.items() if file.startswith(TRAINING)}
    key = _digest({"code": of_training, "tokens": digest(tokens), "libraries": _libraries()})
    inputs = Inputs(tokens, embeddings, checkpoints, key, tuple(vectors.items()))
    if for_cluster:
        return serve(inputs)
    # More trials continue the same search.
    tried = settings.model_dump(mode="json", exclude={"search": {"trials"}})
    asked = _digest({"key": key, "vectors": vectors, "settings": tried})
    trials: list[Trial] = []
    progress = Progress(search, start, trials)
    with alone(checkpoints):
        storage = Storage(project_folder(), f"{study.study}/{name}", asked, search)
        record = Record(checkpoints, key)

        def on_batch(batch: list[Trial]) -> None:
            storage.add(batch)
            record.delete_checkpoints()

        with (
            write_folder(result) as folder,
            _executor(name, inputs, study) as executor,
        ):
            workers = Workers(executor, inputs, record, progress)
            halving = Halving(search, start, workers.train, on_batch, trials)
            write(folder, name, halving, halving.run())


def _libraries() -> dict[str, list[str]]:
    """What computes, as far as other versions give other results, without importing it."""
    backend = os.environ.get("KERAS_BACKEND", "tensorflow")
    packages = packages_distributions()
    versions = {name: [version(package) for package in packages.get(name, [])] for name in ("numpy", "keras", backend)}
    return {**versions, "precision": [os.environ.get("TEXTRNN_PRECISION", "")]}


def _executor(name: str, inputs: Inputs, study: Params) -> Executor:
    """Where trainings run. That is no part of the plan, so what a cluster needs is imported by name."""
    if address := os.environ.get(CLUSTER):
        trials: Callable[..., Executor] = import_module("textrnn.orchestration.trials").Trials
        return trials(address, f"search@{name}", inputs, study.resources.get(name, Resources()))
    return Processes(_jobs(), inputs)


def _jobs() -> int:
    """The jobs of `textrnn repro --jobs`, else every core."""
    given = os.environ.get(JOBS, "") or str(cores())
    if not given.isdecimal() or int(given) < 1:
        raise TextrnnError(f"{JOBS} is a number of processes, at least 1. Received: {given!r}. Correct or unset it.")
    return int(given)


def _digest(content: object) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


if __name__ == "__main__":
    run_stage(main)
