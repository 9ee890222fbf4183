"""Stage `teach@<run>`: what a run says of the texts that its students learn from.

The validation texts are among them: a student with `refit` learns from these in the end.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from textrnn.config.plan import load_planned_stage
from textrnn.config.validation import Strict
from textrnn.corpus.tables import Corpus
from textrnn.errors import TextrnnError
from textrnn.modeling.batches import TRAINED_ON
from textrnn.modeling.predictor import Predictor
from textrnn.modeling.soft_targets import write_soft_targets
from textrnn.process import cores
from textrnn.run_folder import RunFolder
from textrnn.stage import run_stage, write_folder


def main(plan: Path, teacher: Path, corpus_folder: Path, soft_targets: Path) -> None:
    """Writes the probabilities of TEACHER, mean over its finished seeds, for the texts in CORPUS_FOLDER.

    Of a teacher that failed there are none, and SOFT_TARGETS is empty.
    """
    load_planned_stage(plan, Strict)
    run, corpus = RunFolder.load(teacher), Corpus.load(corpus_folder)
    if run.classes != list(corpus.classes):
        raise TextrnnError(
            f"{teacher} knows the classes {', '.join(run.classes)}, and {corpus_folder} has "
            f"{', '.join(corpus.classes)}: they are of different versions. Run `dvc repro`."
        )
    models = [Predictor(teacher / "model" / str(seed), cores()) for seed in run.finished_seeds]
    with write_folder(soft_targets) as folder:
        for split in [split for split in (*TRAINED_ON, "valid") if split in corpus.frames] if models else ():
            texts = corpus.frames[split]
            each = np.array([model.probabilities(texts["text"]) for model in models], np.float64)
            write_soft_targets(folder, split, texts["id"], each.mean(axis=0))
            sys.stdout.write(f"{run.name} has taught {len(texts):,} texts of {split}\n")


if __name__ == "__main__":
    run_stage(main)
