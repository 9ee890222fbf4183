"""Forgets what the study no longer declares: DVC itself keeps outputs and lock entries of removed stages."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

import yaml

from textrnn.params import Params


def declared_stages(params: Params) -> set[str]:
    """Returns the names, such as `train@lstm`, of the stages that dvc.yaml makes of `params`' names."""
    groups: dict[str, Iterable[str]] = {
        "download_vectors": params.embeddings,
        "build_embeddings": params.embeddings,
        "baseline": params.baselines,
        "train": params.experiments,
    }
    return {f"{group}@{name}" for group, names in groups.items() for name in names}


def prune_lock(lock: Path, params: Params) -> list[str]:
    """Drops from `dvc.lock` the entries of stages that `params` no longer declare, and deletes their outputs.

    Returns the names of the dropped stages. DVC's cache keeps the outputs: declared again, a stage
    is restored without running.
    """
    if not lock.is_file():
        return []
    content = yaml.load(lock.read_text(encoding="utf-8"), yaml.CSafeLoader)
    stages = content.get("stages") or {}
    stale = sorted(name for name in stages if "@" in name and name not in declared_stages(params))
    if not stale:
        return []
    kept = {out["path"] for name, stage in stages.items() if name not in stale for out in stage.get("outs", ())}
    for name in stale:
        for out in stages.pop(name).get("outs", ()):
            if out["path"] not in kept:
                _delete(lock.parent / out["path"])
    text = yaml.dump(content, Dumper=yaml.CSafeDumper, sort_keys=False, allow_unicode=True, width=1000)
    fresh = lock.with_suffix(".tmp")
    fresh.write_text(text, encoding="utf-8")
    fresh.replace(lock)
    return stale


def prune_folder(folder: Path, names: Iterable[str]) -> list[str]:
    """Deletes everything in `folder` that is not called one of `names`; returns what it deleted.

    What lies there otherwise (a removed experiment, the remains of a killed training) would be a
    part of the folder's hash, and so of `dvc.lock`.
    """
    stale = sorted({path.name for path in folder.iterdir()} - set(names)) if folder.is_dir() else []
    for name in stale:
        _delete(folder / name)
    return stale


def _delete(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
