"""Removes what the study no longer declares: DVC itself keeps outputs and lock entries of removed stages.

`textrnn repro` prunes before it calls DVC, and orders dvc.lock before `compare`. A plain `dvc repro` does not: then
removed runs stay in runs/, in `compare`'s hash of that folder, and in dvc.lock, until the next `textrnn repro`. The
report has declared runs alone in either case, and `compare` warns.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable
from pathlib import Path

from textrnn.config.params import Params
from textrnn.project.dvc_lock import read_stages

FIRST = ("plan", "download_corpus", "prepare_corpus", "encode_corpus", "rehearse")
"""The stages that every study has, up to where it branches; `compare`, the last, comes after all."""

SCRATCH = re.compile(r"^\.(.+)\.\w{8}$")
"""Names of the folders in which stages write until they are done: see `stage.write_folder`."""


def prune(project: Path, params: Params) -> list[str]:
    """Removes lock entries and folders that `params` do not declare, and orders dvc.lock.

    Returns the names of the stages, and the paths of the other folders and files, that were removed.
    DVC's cache keeps outputs: a stage that is declared again is restored without running.
    """
    return prune_lock(project / "dvc.lock", params) + [
        path.relative_to(project).as_posix() for path in undeclared(project, params) if _delete(path)
    ]


def prune_lock(lock: Path, params: Params) -> list[str]:
    """Drops from `dvc.lock` the stages that `params` no longer declare, deletes their outputs, orders the rest.

    Returns the names of the dropped stages. DVC itself keeps stages in the order in which they first
    ran, which differs when trainings run side by side: here it is always the graph's.
    """
    if not lock.is_file():
        return []
    # The names over which each `foreach` stage of dvc.yaml runs.
    groups: dict[str, Iterable[str]] = {
        **dict.fromkeys(("download_vectors", "build_embeddings"), params.embeddings),
        "pretrain": params.pretraining,
        "baseline": params.baselines,
        "search": params.searches,
        "train": [name for name in params.experiments if not params.made_of(name)],
        "winner": params.searches,
    }
    declared = [
        *(f"{group}@{name}" for group, names in groups.items() for name in names),
        *(stage for run in params.by_level for stage in params.stages(run)),
        *(f"probe@{name}" for name in params.probes),
        *(f"explain@{name}" for name in params.explanations),
    ]
    known = {*groups, "member", "ensemble", "teach", "student", "probe", "explain"}
    stages = read_stages(lock)
    place = {name: index for index, name in enumerate(dict.fromkeys([*FIRST, *declared]))}
    stale = sorted(name for name in stages if name.split("@")[0] in known and name not in place)
    ordered = sorted(stages.keys() - set(stale), key=lambda name: (place.get(name, len(place)), name))
    if ordered == list(stages):
        return []
    from dvc.utils.serialize import dump_yaml  # type: ignore[import-untyped]

    kept = {out["path"] for name in ordered for out in stages[name].get("outs", ())}
    for out in [out for name in stale for out in stages[name].get("outs", ()) if out["path"] not in kept]:
        _delete(lock.parent / out["path"])
    content = {"schema": "2.0", "stages": {name: stages[name] for name in ordered}}
    fresh = lock.with_suffix(".tmp")
    dump_yaml(fresh, content)  # in DVC's own format, or its next change would touch every line
    fresh.replace(lock)
    return stale


def undeclared(project: Path, params: Params) -> list[Path]:
    """Returns what the folders that `compare` reads whole hold besides the names that `params` declare.

    A stage's scratch folder counts by the name of its output.
    """
    declared: dict[str, Iterable[str]] = {
        "runs": [
            *(*params.runs, *params.searches),
            *(f"search@{name}" for name in params.searches),
            *(f"probe@{name}" for name in params.probes),
            *(f"explain@{name}" for name in params.explanations),
        ],
        "data/embeddings": params.starts,
    }
    return [
        path
        for folder, names in declared.items()
        for path in sorted((project / folder).glob("*"))
        if SCRATCH.sub(r"\1", path.name) not in names
    ]


def _delete(path: Path) -> bool:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
    return True
