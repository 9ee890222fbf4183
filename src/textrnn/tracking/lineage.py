"""From an experiment to its MLflow runs; the way back stands in each run's tags."""

from __future__ import annotations

from pathlib import Path

from mlflow.entities import Run as MlflowRun
from rich.table import Table

from textrnn.config.params import Params
from textrnn.errors import TextrnnError
from textrnn.run_folder import RunFolder
from textrnn.tracking.store import open_store
from textrnn.tracking.sync import find

SHORT = 7


def lineage(project: Path, params: Params, name: str) -> Table:
    """Returns a table of the MLflow runs of the experiment or baseline `name`, parents newest first.

    Raises:
        TextrnnError: the study has no such run, or MLflow has none of it.
    """
    declared = [*params.experiments, *params.baselines]
    if name not in declared:
        raise TextrnnError(f"the study has no run {name!r}. Known: {', '.join(declared)}.")
    records = find(open_store(project, f"{params.study}/{params.corpus}"), name)
    if not records:
        raise TextrnnError(f"MLflow has no run of {name}. Run `textrnn sync`.")
    files = project / "runs" / name
    current = RunFolder.load(files).fingerprint if (files / "run.json").is_file() else None
    table = Table(box=None, padding=(0, 1, 0, 0), header_style="bold")
    for header in ("run id", "seed", "status", "valid", "test", "fingerprint", "commit"):
        # On a narrow terminal the others give way: by its id a run is found.
        table.add_column(header, no_wrap=True, min_width=32 if header == "run id" else None)
    for record in records:
        table.add_row(*_cells(record.parent, "all", "_mean", current))
        for seed in sorted(record.children):
            table.add_row(*_cells(record.children[seed], str(seed), "", current), style="dim")
    table.caption = "valid and test: accuracy in percent; * as in runs/; + with uncommitted changes"
    return table


def _cells(run: MlflowRun, seed: str, suffix: str, current: str | None) -> list[str]:
    tags, metrics = run.data.tags, run.data.metrics
    scores = [metrics.get(f"{split}_accuracy{suffix}") for split in ("valid", "test")]
    fingerprint = tags.get("dvc.fingerprint", "")
    dirty = "+" if tags.get("git.dirty") == "true" else ""
    return [
        run.info.run_id,
        seed,
        run.info.status.lower(),
        *("" if score is None else f"{100 * score:.1f}" for score in scores),
        fingerprint[:SHORT] + ("*" if fingerprint == current else ""),
        tags.get("mlflow.source.git.commit", "")[:SHORT] + dirty,
    ]
