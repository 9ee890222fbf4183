"""The one reader of `dvc.lock`: which stages it has, and which hash DVC knows a file or folder by.

DVC writes the file in place. While trainings run side by side, a reader may find it empty or cut off.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import yaml

from textrnn.config.yaml_file import HalfMerged, parse_yaml, read_text
from textrnn.errors import TextrnnError

PATIENCE = 3.0
"""Seconds in which another process is surely done with writing."""

Stages = dict[str, dict[str, Any]]


def read_stages(lock: Path) -> Stages:
    """Returns each stage's entry in `lock`; none where there is no such file.

    Raises:
        TextrnnError: git or a crash left something else there than DVC wrote.
    """
    return parse_stages(read_text(lock), os.path.relpath(lock)) if lock.is_file() else {}


def parse_stages(text: str, name: str) -> Stages:
    """Returns each stage's entry in the `text` of a lock file, which messages call `name`.

    Raises:
        TextrnnError: see `read_stages`.
    """
    way_out = (
        f"It is empty, cut off or half merged. `git restore {name}` brings back what is committed; then "
        "`textrnn repro`, which trains nothing that DVC's cache still has."
    )
    try:
        content = parse_yaml(text, name, yaml.CSafeLoader)
    except HalfMerged:
        raise
    except TextrnnError as error:
        raise TextrnnError(f"{error}\n{way_out}") from None
    stages = content.get("stages", {}) if isinstance(content, dict) else None
    if not isinstance(stages, dict) or not all(map(_is_entry, stages.values())):
        raise TextrnnError(f"{name} does not hold what DVC writes. {way_out}")
    return stages


def outputs(stages: Stages) -> dict[str, str]:
    """Returns DVC's hash of every output of `stages`, by path."""
    return {out["path"]: out["md5"] for stage in stages.values() for out in stage.get("outs", ()) if "md5" in out}


def hashes(lock: Path, paths: list[Path]) -> dict[str, str]:
    """Returns DVC's hash for each of `paths` that is an output of a stage in `lock`.

    Raises:
        TextrnnError: see `read_stages`.
    """
    deadline = time.monotonic() + PATIENCE
    while True:
        is_late = time.monotonic() > deadline
        try:
            known = outputs(read_stages(lock))
        except TextrnnError:
            if is_late:
                raise
            known = {}
        found = {str(path): known[str(path)] for path in paths if str(path) in known}
        if len(found) == len(paths) or not lock.is_file() or is_late:
            return found
        time.sleep(0.1)


def data_by_stage(lock: Path) -> dict[str, dict[str, str]]:
    """Returns, for each stage, DVC's hash of every data folder that it was last run on, by path.

    Raises:
        TextrnnError: see `read_stages`.
    """
    return {
        name: {
            dep["path"]: dep["md5"] for dep in stage.get("deps", ()) if dep["path"].startswith("data/") and "md5" in dep
        }
        for name, stage in read_stages(lock).items()
    }


def _is_entry(stage: object) -> bool:
    """Whether it is a stage's entry: a mapping whose inputs and outputs all have a path."""
    if not isinstance(stage, dict):
        return False
    entries = [stage.get(key, []) for key in ("deps", "outs")]
    return all(
        isinstance(each, list) and all(isinstance(one, dict) and isinstance(one.get("path"), str) for one in each)
        for each in entries
    )
