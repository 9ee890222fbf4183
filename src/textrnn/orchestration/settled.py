"""Whether anything has changed since `textrnn repro` last found nothing to do.

DVC and MLflow take seconds to find that out. Size, time and inode of the files tell at once, and they are what
DVC, too, goes by before it hashes a file again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

from textrnn.project.dvc_lock import read_stages

NOTE = Path(".dvc/tmp/textrnn.json")

OWN_CODE = Path(__file__).parents[1]


def state(terminal: str) -> dict[str, object] | None:
    """Returns what the outcome of `textrnn repro` depends on: `terminal`, and a stamp per file and folder.

    They are what dvc.lock names, every input and output; dvc.yaml and dvc.lock; this package; and
    MLflow's database. `None` if MLflow is elsewhere, which no file here tells about, or nothing has run yet.

    Args:
        terminal: what the text that is shown depends on, such as the width.
    """
    if "MLFLOW_TRACKING_URI" in os.environ or not Path("dvc.lock").is_file():
        return None
    # MLflow's database names the folder.
    return {"terminal": f"{terminal} {Path.cwd()}", "stamps": {str(path): _stamp(path) for path in _paths()}}


def remember(before: dict[str, object] | None, text: str) -> None:
    """Notes that there was nothing to do in the state `before`, and that `text` was shown."""
    if before is not None:
        fresh = NOTE.with_suffix(".tmp")
        fresh.write_text(json.dumps({**before, "text": text}), encoding="utf-8")
        fresh.replace(NOTE)


def recall(terminal: str) -> str | None:
    """Returns the text that was shown, if everything is as it was then; else `None`."""
    try:
        note = json.loads(NOTE.read_text(encoding="utf-8"))
        is_same = note["terminal"] == f"{terminal} {Path.cwd()}" and "MLFLOW_TRACKING_URI" not in os.environ
        # New files show in the stamp of their folder.
        settled = is_same and all(_stamp(Path(path)) == stamp for path, stamp in note["stamps"].items())
        return str(note["text"]) if settled else None
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return None


def _paths() -> Iterator[Path]:
    yield from (Path("dvc.yaml"), Path("dvc.lock"), Path("mlflow.db"))
    yield from (Path("mlartifacts"), *Path("mlartifacts").rglob("*"))
    yield from OWN_CODE.rglob("*.py")
    for stage in read_stages(Path("dvc.lock")).values():
        yield from map(Path, stage.get("params", ()))
        for entry in (*stage.get("deps", ()), *stage.get("outs", ())):
            yield Path(entry["path"])
            yield from Path(entry["path"]).rglob("*")


def _stamp(path: Path) -> list[int] | None:
    try:
        stat = path.stat()
    except FileNotFoundError:
        return None
    return [stat.st_size, stat.st_mtime_ns, stat.st_ino]
