"""Reads `dvc.lock`: which hash DVC knows a file or folder by.

DVC writes the file in place. While trainings run side by side, a reader may find it empty or cut off.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import yaml

PATIENCE = 3.0
"""Seconds in which another process is surely done with writing."""


def hashes(lock: Path, paths: list[Path]) -> dict[str, str]:
    """Returns DVC's hash for each of `paths` that is an output of a stage in `lock`."""
    deadline = time.monotonic() + PATIENCE
    while True:
        outs = _outs(lock)
        found = {str(path): outs[str(path)] for path in paths if str(path) in outs}
        if len(found) == len(paths) or not lock.is_file() or time.monotonic() > deadline:
            return found
        time.sleep(0.1)


def data_by_stage(lock: Path) -> dict[str, dict[str, str]]:
    """Returns, for each stage, DVC's hash of every data folder that it was last run on, by path."""
    return {
        name: {dep["path"]: dep["md5"] for dep in stage.get("deps", ()) if dep["path"].startswith("data/")}
        for name, stage in _stages(lock).items()
    }


def _outs(lock: Path) -> dict[str, str]:
    """Hash by path of every output, as far as they can be read at this moment."""
    try:
        return {
            out["path"]: out["md5"] for stage in _stages(lock).values() for out in stage.get("outs", ()) if "md5" in out
        }
    except (yaml.YAMLError, AttributeError, KeyError, TypeError):  # cut off somewhere
        return {}


def _stages(lock: Path) -> dict[str, Any]:
    content = yaml.load(lock.read_text(encoding="utf-8"), yaml.CSafeLoader) if lock.is_file() else {}
    stages: dict[str, Any] = content.get("stages", {})
    return stages
