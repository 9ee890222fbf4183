"""All that a finished study holds except times and ids, as a bag of lines: one more or one less is a difference."""

from __future__ import annotations

import hashlib
import json
import re
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from tiny_project import TinyProject

FOLDERS = ("plan", "data", "runs", "reports")
"""What stages write."""

SHARED = "NOT IN ('process', 'run.artifacts', 'run.digest', 'textrnn.artifacts')"
"""Tags that equal records share: not which process wrote them, where files are, nor a digest of ids."""

VALUE = "iif({0} LIKE '%second%', NULL, {1})"
"""Clock times differ between equal trainings: of those only the names."""

EXPERIMENTS = "SELECT experiment_id, name, lifecycle_stage, '' FROM experiments"
OF_EXPERIMENT = {"tags": f"SELECT key, value FROM experiment_tags WHERE experiment_id = ? AND key {SHARED}"}

ATTEMPTS = (
    "SELECT tags.run_uuid FROM tags JOIN runs ON tags.value = runs.run_uuid "
    "WHERE tags.key = 'mlflow.parentRunId' AND runs.status = 'KILLED'"
)
"""Seeds of attempts that were killed."""

RUNS = (
    "SELECT run_uuid, name, status, artifact_uri FROM runs "
    f"WHERE lifecycle_stage = 'active' AND status != 'KILLED' AND run_uuid NOT IN ({ATTEMPTS})"
)
"""Without attempts that were killed: they stay, marked as that, next to the complete record."""
OF_RUN = {
    "params": "SELECT key, value FROM params WHERE run_uuid = ?",
    "tags": f"SELECT key, value FROM tags WHERE run_uuid = ? AND key {SHARED}",
    "metrics": f"SELECT key, step, {VALUE.format('key', 'value')} FROM metrics WHERE run_uuid = ?",
    "latest": f"SELECT key, step, {VALUE.format('key', 'value')} FROM latest_metrics WHERE run_uuid = ?",
    "data": "SELECT name, digest FROM inputs JOIN datasets ON source_id = dataset_uuid WHERE destination_id = ?",
}

MODELS = "SELECT model_id, name, status, artifact_location FROM logged_models WHERE lifecycle_stage = 'active'"
_OF_MODEL = "FROM logged_model_{0}s WHERE model_id = ?"
OF_MODEL = {
    "run": "SELECT source_run_id FROM logged_models WHERE model_id = ?",
    "params": f"SELECT param_key, param_value {_OF_MODEL.format('param')}",
    "tags": f"SELECT tag_key, tag_value {_OF_MODEL.format('tag')} AND tag_key {SHARED}",
    "metrics": f"SELECT metric_name, {VALUE.format('metric_name', 'metric_value')}, dataset_name, dataset_digest "
    + _OF_MODEL.format("metric"),
}

ID = re.compile(r"(?:m-)?[0-9a-f]{32}")
IMAGE = re.compile(r"\+timestamp\+\d+\+[0-9a-f-]{36}")
"""What MLflow puts into the name of a picture."""


def outcome(project: TinyProject, database: Path | None = None, artifacts: Path | None = None) -> Counter[str]:
    """Returns what the files and MLflow hold, by default in the project's own store."""
    folder = project.folder
    lines = Counter([f"dvc.lock as a whole: {_digest(folder / 'dvc.lock')}"])
    lines.update(f"dvc.lock, {name}: {json.dumps(stage, sort_keys=True)}" for name, stage in project.lock().items())
    for name in FOLDERS:
        lines.update(f"file {name}/{path}: {digest}" for path, digest in _files(folder / name).items())
    for file in (folder / ".dvc" / "cache" / "files" / "md5").rglob("*"):
        if file.is_file() and _digest(file, "md5") != file.parent.name + file.name.removesuffix(".dir"):
            lines[f"damaged object of DVC's cache: {file.relative_to(folder)}"] += 1
    lines.update(f"checkpoint {file.relative_to(folder)}" for file in folder.glob("checkpoints/**/*.npz"))
    lines.update(tracked(database or folder / "mlflow.db", artifacts or folder / "mlartifacts"))
    return lines


def tracked(database: Path, artifacts: Path) -> Iterator[str]:
    """Yields a line for every experiment, run and model of MLflow that is not deleted."""
    if not database.is_file():
        return
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as store:
        names = {row[0]: row[1] for table in (RUNS, MODELS) for row in store.execute(table)}
        kinds = {"experiment": (EXPERIMENTS, OF_EXPERIMENT), "run": (RUNS, OF_RUN), "model": (MODELS, OF_MODEL)}
        for kind, (table, queries) in kinds.items():
            for number, name, status, home in store.execute(table):
                parts = {part: sorted(store.execute(query, (number,)), key=repr) for part, query in queries.items()}
                content = {"status": status, **parts, "files": _artifacts(artifacts, home)}
                text = ID.sub(lambda found: names.get(found[0], found[0]), json.dumps(content, sort_keys=True))
                text = IMAGE.sub("", text)
                yield f"MLflow's {kind} {name}: {text}"


def differences(expected: Counter[str], found: Counter[str]) -> tuple[list[str], list[str]]:
    """Returns what is lost, and what is doubled or otherwise more; what has changed is in both."""
    return sorted((expected - found).elements()), sorted((found - expected).elements())


def _artifacts(folder: Path, home: str) -> dict[str, str]:
    """The files of what is at `home`, an address in the `folder` for artifacts."""
    return _files(folder / re.sub(r"^(file:.*?/mlartifacts|mlflow-artifacts:)/", "", home)) if home else {}


def _files(folder: Path) -> dict[str, str]:
    """Digests by path; none of what names its own id and time."""
    files = sorted(file for file in folder.rglob("*") if file.is_file() and file.name != ".gitignore")
    return {file.relative_to(folder).as_posix(): "" if file.name == "MLmodel" else _digest(file) for file in files}


def _digest(file: Path, kind: str = "sha256") -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, kind).hexdigest()
