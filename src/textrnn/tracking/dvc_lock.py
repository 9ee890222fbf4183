"""Reads `dvc.lock`: which hash DVC knows a file or folder by."""

from __future__ import annotations

from pathlib import Path

import yaml


def hashes(lock: Path, paths: list[Path]) -> dict[str, str]:
    """Returns DVC's hash for each of `paths` that is an output of a stage in `lock`."""
    if not lock.is_file():
        return {}
    stages = yaml.load(lock.read_text(encoding="utf-8"), yaml.CSafeLoader).get("stages", {})
    outs = {out["path"]: out["md5"] for stage in stages.values() for out in stage.get("outs", ()) if "md5" in out}
    return {str(path): outs[str(path)] for path in paths if str(path) in outs}
