"""The one reader of `dvc.lock`: which stages it has, and DVC's hash of each file and folder.

DVC writes the file in place. While trainings run side by side, a reader may find it empty or cut off.
"""

import os
import time
from pathlib import Path
from typing import Any

import yaml

from textrnn.config.yaml_file import HalfMerged, parse_yaml, read_text
from textrnn.errors import TextrnnError

PATIENCE = 3.0  # seconds after which another process has certainly finished writing

Stages = dict[str, dict[str, Any]]


def read_stages(lock: Path) -> Stages:
    """Returns each stage's entry in `lock`; none where there is no such file.

    Raises `TextrnnError`: the content is not what DVC writes, as after a merge or a crash.
    """
    return parse_stages(read_text(lock), os.path.relpath(lock)) if lock.is_file() else {}


def parse_stages(text: str, name: str) -> Stages:
    """Returns each stage's entry in the `text` of a lock file, which messages call `name`.

    Raises `TextrnnError`: see `read_stages`.
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
    return {path: md5 for stage in stages.values() for path, md5 in _hashes(stage, "outs").items()}


def hashes(lock: Path, paths: list[Path]) -> dict[str, str]:
    """Returns DVC's hash for each of `paths` that is an output of a stage in `lock`.

    Waits up to `PATIENCE` for what is missing: another process may just be writing.

    Raises `TextrnnError`: see `read_stages`.
    """
    deadline = time.monotonic() + PATIENCE
    while True:
        is_late = time.monotonic() > deadline
        try:
            known = outputs(read_stages(lock))
            found = {str(path): known[str(path)] for path in paths if str(path) in known}
            if len(found) == len(paths) or not lock.is_file() or is_late:
                return found
        except TextrnnError:
            if is_late:
                raise
        time.sleep(0.1)


def data_by_stage(lock: Path) -> dict[str, dict[str, str]]:
    """Returns, for each stage, DVC's hash of every data folder that it was last run on, by path.

    Raises `TextrnnError`: see `read_stages`.
    """
    return {
        name: {path: md5 for path, md5 in _hashes(stage, "deps").items() if path.startswith("data/")}
        for name, stage in read_stages(lock).items()
    }


def plans(stages: Stages) -> dict[str, str]:
    """Returns DVC's hash of each stage's plan, that is, of its settings and its code."""
    found = ((name, _hashes(stage, "deps").get(f"plan/{name}.json")) for name, stage in stages.items())
    return {name: md5 for name, md5 in found if md5 is not None}


def _hashes(stage: dict[str, Any], kind: str) -> dict[str, str]:
    return {entry["path"]: entry["md5"] for entry in stage.get(kind, ()) if "md5" in entry}


def _is_entry(stage: object) -> bool:
    """Whether it is a stage's entry: a mapping whose inputs and outputs all have a path."""
    lists = [stage.get(key, []) for key in ("deps", "outs")] if isinstance(stage, dict) else [None]
    return all(isinstance(each, list) for each in lists) and all(
        isinstance(entry, dict) and isinstance(entry.get("path"), str) for each in lists for entry in each or ()
    )
