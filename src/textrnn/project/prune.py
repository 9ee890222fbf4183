"""Forgets what the study no longer declares: DVC itself keeps outputs and lock entries of removed stages."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

import yaml

from textrnn.config.params import Params
from textrnn.project.dvc_lock import read_stages

FIRST = ("plan", "download_corpus", "prepare_corpus", "encode_corpus", "rehearse")
"""The stages that every study has, up to where it branches; `compare`, the last, comes after all."""


def declared_stages(params: Params) -> list[str]:
    """Returns the stages, such as `train@lstm`, that dvc.yaml makes of `params`' names, in the graph's order."""
    return [f"{group}@{name}" for group, names in _groups(params).items() for name in names]


def prune_lock(lock: Path, params: Params) -> list[str]:
    """Drops from `dvc.lock` the stages that `params` no longer declare, deletes their outputs, orders the rest.

    Returns the names of the dropped stages. DVC's cache keeps the outputs: declared again, a stage
    is restored without running. DVC itself keeps stages in the order in which they first ran,
    which differs when trainings run side by side: here it is always the graph's.
    """
    if not lock.is_file():
        return []
    stages = read_stages(lock)
    place = {name: index for index, name in enumerate([*FIRST, *declared_stages(params)])}
    stale = sorted(name for name in stages if name.split("@")[0] in _groups(params) and name not in place)
    ordered = sorted(stages.keys() - set(stale), key=lambda name: (place.get(name, len(place)), name))
    if ordered == list(stages):
        return []
    kept = {out["path"] for name in ordered for out in stages[name].get("outs", ())}
    for out in [out for name in stale for out in stages[name].get("outs", ()) if out["path"] not in kept]:
        _delete(lock.parent / out["path"])
    content = {"schema": "2.0", "stages": {name: stages[name] for name in ordered}}
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


def _groups(params: Params) -> dict[str, Iterable[str]]:
    """The names over which each `foreach` stage of dvc.yaml runs."""
    return {
        "download_vectors": params.embeddings,
        "build_embeddings": params.embeddings,
        "baseline": params.baselines,
        "train": params.experiments,
        "probe": params.probes,
    }


def _delete(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
