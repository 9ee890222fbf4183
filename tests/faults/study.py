"""The study that is broken, and what it holds when nothing has happened to it."""

from __future__ import annotations

import re
import shutil
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import yaml
from tiny_project import LIVE, TinyProject, make_project

from faults.outcome import outcome

if TYPE_CHECKING:
    from faults.network import Archive

REPRO = ("repro", "--jobs", "2")

EVERY_STAGE = """\
pretraining:
  lm: {embedding: glove, units: 3, epochs: 1, batch_size: 16, samples: 0}
experiments:
  lstm: {embedding: random, trainable_embedding: true}
  mean: {embedding: lm, cell: feedforward, readout: mean, epochs: 1}
searches:
  tuned:
    start: lstm
    space: {learning_rate: {low: 0.001, high: 0.1, log: true}}
    trials: 4
    batch: 2
    rungs: 2
    reduction: 2
    seeds: [1]
ensembles:
  both: {of: [lstm, nb-svm]}
students:
  taught: {embedding: glove, cell: feedforward, readout: mean, epochs: 1, teacher: both}
explanations:
  nb-svm: {}
"""
"""What the tiny study has here in place of its own experiments."""


@dataclass(frozen=True)
class Reference:
    """The study before it has run, after it has run undisturbed, what it holds then, how long that took; its corpus."""

    before: TinyProject
    after: TinyProject
    holds: Counter[str]
    seconds: float = 0.0
    archive: Archive | None = None

    @classmethod
    def of_full_study(cls, folder: Path, archive: Archive) -> Reference:
        """Runs the study with every stage, on a corpus that it downloads."""
        before = make_project(folder / "before", folder / "home")
        before.edit("params.yaml", lambda params: params.update(yaml.safe_load(EVERY_STAGE)))
        before.edit("catalog.yaml", lambda catalog: catalog["corpora"]["snippets"].update(source=archive.url))
        before.commit()
        after = before.copy(folder / "after")
        began = time.monotonic()
        after.run(sys.executable, "-m", "textrnn", *REPRO, **LIVE, **archive.variables)
        seconds = time.monotonic() - began
        return cls(before, after, outcome(after), seconds, archive)


def forget(project: TinyProject, *stages: str, keep_outputs: bool = False) -> None:
    """Deletes all that DVC knows of these stages, which run again then."""
    lock, known = project.read("dvc.lock"), project.lock()
    for stage in stages:
        lock = re.sub(rf"^  {re.escape(stage)}:\n(?:    .*\n)+", "", lock, flags=re.MULTILINE)
        for out in () if keep_outputs else known[stage]["outs"]:
            shutil.rmtree(project.folder / out["path"])
    (project.folder / "dvc.lock").write_text(lock, encoding="utf-8")
    shutil.rmtree(project.folder / ".dvc" / "cache" / "runs", ignore_errors=True)


def untrack(project: TinyProject) -> None:
    """Deletes MLflow's database and artifacts."""
    for file in project.folder.glob("mlflow.db*"):
        file.unlink()
    shutil.rmtree(project.folder / "mlartifacts", ignore_errors=True)
