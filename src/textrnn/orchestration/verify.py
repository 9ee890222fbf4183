"""Repeats the study from nothing in a copy of the project, and reports stage by stage what came out the same."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console

from textrnn.errors import TextrnnError
from textrnn.project import dvc, git
from textrnn.project.dvc_lock import outputs, plans
from textrnn.project.revision import Revision

TOLERANCE = 0.02  # the largest difference of a metric that another kind of processor explains

RUNS = ("train@", "winner@", "baseline@", "ensemble@", "student@")

BETWEEN = ("probe@", "explain@", "member@", "teach@")
"""Stages that read runs, and are no runs."""

SAME, CLOSE, DIFFERENT = "same bytes", "metrics within tolerance", "different"


def verify(project: Path, jobs: int, tolerance: float, console: Console) -> bool:
    """Returns whether every stage gives the bytes of `dvc.lock` again, or metrics within `tolerance`.

    The copy has the files that git tracks, as they are now, and an empty DVC cache; downloads are repeated too.

    Raises `TextrnnError`: `project` has no dvc.lock, is no git repository, or the study does not run.
    """
    if not (project / "dvc.lock").is_file():
        raise TextrnnError(f"{project} has no dvc.lock to compare with. Run `make repro` first.")
    with tempfile.TemporaryDirectory(prefix="textrnn-verify-") as scratch:
        copy = Path(scratch) / "project"
        repeat(project, copy, jobs)
        verdicts = compare_locks(project, copy, tolerance)
    for stage, verdict in verdicts.items():
        console.print(f"{stage:<45} {verdict}", markup=False)
    counts = {kind: list(verdicts.values()).count(kind) for kind in (SAME, CLOSE, DIFFERENT)}
    console.print(", ".join(f"{count} stages: {kind}" for kind, count in counts.items()))
    return counts[DIFFERENT] == 0


def repeat(project: Path, copy: Path, jobs: int) -> None:
    """Runs the study of `project` from nothing in the new folder `copy`."""
    for name in git.names(project, "ls-files", "-z"):
        if (project / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(project / name, copy / name)
    shutil.rmtree(copy / "reports", ignore_errors=True)
    (copy / "dvc.lock").unlink(missing_ok=True)
    # A cache that the user shares between projects would hand the old results out again.
    (copy / ".dvc" / "config.local").write_text("[cache]\n    dir = cache\n", encoding="utf-8")
    git.text(copy, "init", "--quiet")
    # The copy runs its own code, and its runs belong to it: not to the project's MLflow store.
    variables = {key: value for key, value in dvc.environment().items() if key != "MLFLOW_TRACKING_URI"}
    variables["PYTHONPATH"] = os.pathsep.join(filter(None, [str(copy / "src"), variables.get("PYTHONPATH")]))
    command = [sys.executable, "-m", "textrnn", "repro", "--jobs", str(jobs)]
    if subprocess.run(command, cwd=copy, env=variables).returncode != 0:
        raise TextrnnError(f"`{' '.join(command[1:])}` failed in the copy: the message above says why.")


def compare_locks(ours: Path, theirs: Path, tolerance: float) -> dict[str, str]:
    """Returns a verdict by stage for two project folders, each with its `dvc.lock` and `reports/`.

    A run whose bytes differ, or an ensemble's copy of it, is judged by its metrics; the comparison, embeddings
    (word2vec and language models are trained, too) and what teachers say, by the metrics of the whole study. Any other
    stage with other bytes is different.
    """
    left, right = Revision.read(ours), Revision.read(theirs)
    return {stage: _verdict(stage, left, right, tolerance) for stage in dict.fromkeys([*left.stages, *right.stages])}


def against_commit(project: Path) -> str | None:
    """Returns how many runs are the same bytes as those that git has at HEAD, and how the others differ.

    None where git has no results of the same settings, code and data.

    Raises `TextrnnError`: see `Revision`.
    """
    here, there = Revision.read(project), Revision.read(project, "HEAD", "HEAD")
    ours, theirs = plans(here.stages), plans(there.stages)
    upstream = {name for name in ours | theirs if not name.startswith((*RUNS, *BETWEEN, "rehearse", "compare"))}
    runs = [name for name in ours if name.startswith(RUNS) and ours[name] == theirs.get(name)]
    if not runs or any(ours.get(name) != theirs.get(name) for name in upstream):
        return None
    other = [name.partition("@")[2] for name in runs if _outputs(here, name) != _outputs(there, name)]
    same = f"{len(runs) - len(other)} of {len(runs)} results are the same bytes as those committed"
    if not other:
        return f"{same}."
    differences = {
        f"{key} of {name}": abs(here.metrics[name][key] - there.metrics[name][key])
        for name in other
        if name in here.metrics and name in there.metrics
        for key in here.metrics[name].keys() & there.metrics[name].keys()
    }
    what = max(sorted(differences), key=lambda each: differences[each], default=None)
    largest = differences[what] if what else 0.0
    meaning = (
        "another kind of processor gives other last digits"
        if largest <= TOLERANCE
        else "no processor does that much, so compare the versions of libraries with requirements.lock"
    )
    return (
        f"{same}; metrics of the others differ by at most {largest:.2g}{f' ({what})' if what else ''}: {meaning}. "
        "`git restore dvc.lock reports` keeps the committed results; or commit these."
    )


def _verdict(stage: str, left: Revision, right: Revision, tolerance: float) -> str:
    if stage not in left.stages or stage not in right.stages:
        return DIFFERENT
    if _outputs(left, stage) == _outputs(right, stage):
        return SAME
    group, _, name = stage.partition("@")
    whole = sorted(left.metrics)
    is_run = f"{group}@" in RUNS or group == "search"  # of a search, its winner's
    names = (
        [name.rpartition("+")[2]]
        if is_run or group == "member"
        else whole
        if group in ("build_embeddings", "pretrain", "teach", "compare")
        else []
    )
    close = [_is_close(left.metrics.get(one), right.metrics.get(one), tolerance) for one in names]
    return CLOSE if close and all(close) else DIFFERENT


def _is_close(left: dict[str, float] | None, right: dict[str, float] | None, tolerance: float) -> bool:
    if not isinstance(left, dict) or not isinstance(right, dict) or left.keys() != right.keys():
        return False
    return all(abs(left[key] - right[key]) <= tolerance for key in left)


def _outputs(revision: Revision, stage: str) -> dict[str, str]:
    return outputs({stage: revision.stages[stage]})
