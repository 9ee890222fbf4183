"""Repeats the study from nothing in a copy of the project, and says stage by stage what came out the same."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from rich.console import Console

from textrnn.config.yaml_file import parse_json, read_text
from textrnn.errors import TextrnnError
from textrnn.orchestration.children import environment
from textrnn.project import git
from textrnn.project.dvc_lock import Stages, outputs, parse_stages, read_stages

REPORT_AGAIN = "`git restore reports`, or delete it and run `textrnn repro`, which writes the report anew."

TOLERANCE = 0.02
"""The largest difference of a metric that another kind of processor explains."""

RUNS = ("train@", "baseline@")

SAME, CLOSE, DIFFERENT = "same bytes", "metrics within tolerance", "different"


def verify(project: Path, jobs: int, tolerance: float, console: Console) -> bool:
    """Returns whether every stage gives the bytes of `dvc.lock` again, or metrics within `tolerance`.

    The copy has the files that git tracks, as they are now, and an empty DVC cache; downloads are
    repeated too.

    Raises:
        TextrnnError: `project` has no dvc.lock, is no git repository, or the study does not run.
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
    _copy_tracked_files(project, copy)
    shutil.rmtree(copy / "reports", ignore_errors=True)
    (copy / "dvc.lock").unlink(missing_ok=True)
    # A cache that the user shares between projects would hand the old results out again.
    (copy / ".dvc" / "config.local").write_text("[cache]\n    dir = cache\n", encoding="utf-8")
    git.text(copy, "init", "--quiet")
    _run([sys.executable, "-m", "textrnn", "repro", "--jobs", str(jobs)], copy)


def compare_locks(ours: Path, theirs: Path, tolerance: float) -> dict[str, str]:
    """Returns a verdict by stage for two project folders, each with its `dvc.lock` and `reports/`.

    A training or baseline whose bytes differ is judged by its metrics; the comparison, and
    embeddings (word2vec is trained, too), by the metrics of the whole study. Any other stage with
    other bytes is different.
    """
    left, right = _outputs(ours), _outputs(theirs)
    metrics = _metrics(ours), _metrics(theirs)
    return {
        stage: _verdict(stage, left.get(stage), right.get(stage), metrics, tolerance)
        for stage in [*left, *(stage for stage in right if stage not in left)]
    }


def against_commit(project: Path) -> str | None:
    """Returns how the study's runs differ from those that git has at HEAD for the same settings, code and data.

    None where nothing differs, or git has no such results.

    Raises:
        TextrnnError: see `read_stages`.
    """
    here, committed = read_stages(project / "dvc.lock"), git.content(project, "HEAD", "dvc.lock")
    there = parse_stages(committed, "dvc.lock at HEAD") if committed else {}
    ours, theirs = _plans(here), _plans(there)
    runs = [name for name in here if name.startswith(RUNS)]
    upstream = {name for name in ours | theirs if not name.startswith((*RUNS, "probe@", "compare"))}
    if not there or any(ours.get(name) != theirs.get(name) for name in upstream):
        return None
    runs = [name for name in runs if ours[name] == theirs.get(name)]
    other = [name for name in runs if outputs({name: here[name]}) != outputs({name: there[name]})]
    if not other:
        return None
    before, now = _metrics_at_head(project, there), _metrics(project)
    differences = {
        f"{key} of {name}": abs(now[name][key] - before[name][key])
        for name in (stage.partition("@")[2] for stage in other)
        if name in now and name in before
        for key in now[name].keys() & before[name].keys()
    }
    what = max(sorted(differences), key=lambda each: differences[each], default=None)
    largest = differences[what] if what else 0.0
    meaning = (
        "another kind of processor gives other last digits"
        if largest <= TOLERANCE
        else "no processor does that much, so compare the versions of libraries with requirements.lock"
    )
    return (
        f"{len(runs) - len(other)} of {len(runs)} runs have the bytes that are committed; metrics of the others differ "
        f"by at most {largest:.2g}{f' ({what})' if what else ''}: {meaning}. `git restore dvc.lock reports` keeps the "
        "committed results; or commit these."
    )


def _plans(stages: Stages) -> dict[str, str]:
    """The hash of each stage's plan: of its settings and its code."""
    return {
        name: dep.get("md5", "")
        for name, stage in stages.items()
        for dep in stage.get("deps", ())
        if dep["path"] == f"plan/{name}.json"
    }


def _metrics_at_head(project: Path, stages: Stages) -> dict[str, Any]:
    files = git.files(project, "HEAD", f"{_report(stages)}/metrics/")
    return {Path(name).stem: parse_json(git.content(project, "HEAD", name), name, REPORT_AGAIN) for name in files}


def _report(stages: Stages) -> str:
    """The folder of the report that the stage `compare` wrote."""
    return next((path for path in outputs({"": stages.get("compare", {})}) if path.startswith("reports/")), "reports")


def _verdict(
    stage: str,
    left: dict[str, str] | None,
    right: dict[str, str] | None,
    metrics: tuple[dict[str, Any], dict[str, Any]],
    tolerance: float,
) -> str:
    if left is None or right is None:
        return DIFFERENT
    if left == right:
        return SAME
    group, _, name = stage.partition("@")
    if group in ("train", "baseline"):
        names = [name]
    elif group in ("build_embeddings", "compare"):
        names = sorted(metrics[0])
    else:
        names = []
    close = [_close(metrics[0].get(one), metrics[1].get(one), tolerance) for one in names]
    return CLOSE if close and all(close) else DIFFERENT


def _close(left: Any, right: Any, tolerance: float) -> bool:
    if not isinstance(left, dict) or not isinstance(right, dict) or left.keys() != right.keys():
        return False
    return all(abs(left[key] - right[key]) <= tolerance for key in left)


def _outputs(project: Path) -> dict[str, dict[str, str]]:
    return {name: outputs({name: entry}) for name, entry in read_stages(project / "dvc.lock").items()}


def _metrics(project: Path) -> dict[str, Any]:
    """Metrics by run name, of the study whose report `dvc.lock` holds."""
    files = sorted((project / _report(read_stages(project / "dvc.lock")) / "metrics").glob("*.json"))
    return {file.stem: parse_json(read_text(file), str(file), REPORT_AGAIN) for file in files}


def _copy_tracked_files(project: Path, copy: Path) -> None:
    for name in git.names(project, "ls-files", "-z"):
        if (project / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(project / name, copy / name)


def _run(command: list[str], folder: Path) -> None:
    # The copy runs its own code, and its runs belong to it: not to the project's MLflow store.
    variables = {key: value for key, value in environment().items() if key != "MLFLOW_TRACKING_URI"}
    variables["PYTHONPATH"] = os.pathsep.join(filter(None, [str(folder / "src"), variables.get("PYTHONPATH")]))
    if subprocess.run(command, cwd=folder, env=variables).returncode != 0:
        raise TextrnnError(f"`{' '.join(command[1:])}` failed in the copy: the message above says why.")
