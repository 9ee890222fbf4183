"""`textrnn runs show`: the MLflow runs of an experiment, and where each comes from."""

from __future__ import annotations

from pathlib import Path

from mlflow.entities import Run as MlflowRun
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from textrnn.config.params import Params
from textrnn.errors import TextrnnError
from textrnn.run_folder import RunFolder
from textrnn.tracking.source import find
from textrnn.tracking.store import open_store

SHORT = 7
WIDE = 80
"""Columns of a terminal that hold a whole row; a narrower one gets a line for each value."""


def lineage(project: Path, params: Params, name: str, width: int) -> RenderableType:
    """Returns the MLflow runs of the experiment, baseline or ensemble `name`, newest first, for `width` columns.

    Raises:
        TextrnnError: the study has no such run, or MLflow has none of it.
    """
    if name not in params.runs:
        raise TextrnnError(f"the study has no run {name!r}. Known: {', '.join(params.runs)}.")
    records = find(open_store(project, f"{params.study}/{params.corpus}"), name)
    if not records:
        raise TextrnnError(f"MLflow has no run of {name}. Run `textrnn sync`.")
    files = project / "runs" / name
    current = RunFolder.load(files).fingerprint if (files / "run.json").is_file() else None
    rows = []
    for record in records:
        rows.append(_row(record.parent, "all", "_mean", current))
        rows += [_row(child, str(seed), "", current) for seed, child in sorted(record.children.items())]
    winner = f"; winner of the search {name}" if name in params.searches else ""
    note = Text(
        f"valid and test: accuracy in percent; * as in runs/; + with uncommitted changes{winner}", style="italic"
    )
    if width < WIDE:
        blocks = ("\n".join(f"{key} {value}" for key, value in row.items() if value) for row in rows)
        return Group(*(Text(f"{block}\n", overflow="fold") for block in blocks), note)
    table = Table(*rows[0], box=None, padding=(0, 1, 0, 0), header_style="bold")
    for row in rows:
        table.add_row(*row.values(), style=None if row["seed"] == "all" else "dim")
    return Group(table, note)


def _row(run: MlflowRun, seed: str, suffix: str, current: str | None) -> dict[str, str]:
    tags, metrics = run.data.tags, run.data.metrics
    scores = {split: metrics.get(f"{split}_accuracy{suffix}") for split in ("valid", "test")}
    fingerprint = tags.get("dvc.fingerprint", "")
    return {
        "run id": run.info.run_id,
        "seed": seed,
        "status": run.info.status.lower(),
        **{split: "" if score is None else f"{100 * score:.1f}" for split, score in scores.items()},
        "fingerprint": fingerprint[:SHORT] + ("*" if fingerprint == current else ""),
        "commit": tags.get("mlflow.source.git.commit", "")[:SHORT] + ("+" if tags.get("git.dirty") == "true" else ""),
    }
