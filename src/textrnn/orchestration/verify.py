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

from textrnn import git
from textrnn.errors import TextrnnError
from textrnn.orchestration.children import environment
from textrnn.tracking.dvc_lock import outputs, read_stages
from textrnn.yaml_file import parse_json, read_text

REPORT_AGAIN = "`git restore reports`, or delete it and run `textrnn repro`, which writes the report anew."

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
    report = next((path for path in _outputs(project).get("compare", {}) if path.startswith("reports/")), "reports")
    files = sorted((project / report / "metrics").glob("*.json"))
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
