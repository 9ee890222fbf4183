"""Stage `pretrain@<name>`: trains a language model; what it learned is an embedding, from which experiments start."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from textrnn.config.plan import PretrainingPlan, load_planned_stage
from textrnn.embeddings.matrix import Embedding
from textrnn.embeddings.pretrained import Pretrained, write_pretrained
from textrnn.modeling.backend import use_all_cores
from textrnn.modeling.checkpoint import Checkpoints
from textrnn.modeling.pretraining import Pretrainer, load_texts
from textrnn.modeling.start import Start
from textrnn.project.dvc_lock import hashes
from textrnn.project.origin import project_folder
from textrnn.run_folder import digest, fingerprint
from textrnn.stage import run_stage, write_folder, write_timings
from textrnn.text.vocabulary import Vocabulary
from textrnn.tracking.live import LiveRun
from textrnn.tracking.record import PRETRAINING, TrackedPretraining


def main(plan: Path, tokens: Path, embedding: Path, folder: Path, timings: Path, checkpoints: Path) -> None:
    """Trains the language model of PLAN, which starts from EMBEDDING, and writes FOLDER."""
    name, plan_settings, study, _ = load_planned_stage(plan, PretrainingPlan)
    settings = plan_settings.model
    use_all_cores()
    start = Start.load(tokens, embedding).embedding.of_vocabulary
    vocabulary, vectors = Vocabulary.load(tokens / "vocabulary.txt"), start.draw(settings.seed)
    # Unlabelled texts too, where the study has them; the validation texts measure, and test texts are not read.
    train, valid = load_texts(tokens, settings, "train", "unlabelled"), load_texts(tokens, settings, "valid")
    inputs = {"tokens": digest(tokens), "embedding": digest(embedding)}
    tracked = TrackedPretraining(
        study=study.study,
        corpus=study.corpus,
        name=name,
        kind=PRETRAINING,
        stage=f"pretrain@{name}",
        params=settings.model_dump(),
        fingerprint=fingerprint(plan, inputs),
        datasets=hashes(Path("dvc.lock"), [tokens, embedding]),
    )
    saved = Checkpoints(checkpoints, tracked.fingerprint)
    trainer = Pretrainer(settings, train, valid, vectors, saved)
    about = Pretrained(
        name=name,
        params=tracked.params,
        inputs=inputs,
        fingerprint=tracked.fingerprint,
        parameters=trainer.parameters,
        flops=trainer.flops,
        texts=len(train[0]),
        tokens=trainer.words_per_epoch,
        valid_tokens=trainer.valid_predicted,
        truncated=train[0].truncated,
    )
    with LiveRun(tracked, project_folder()) as live, write_folder(folder) as fresh:
        _train(trainer, live)
        embedded = _embedding(trainer, vocabulary)
        running = pl.read_parquet(tokens / "train.parquet", columns=["ids"])["ids"].list.explode().to_numpy()
        coverage = embedded.coverage(vocabulary, np.bincount(running, minlength=len(vectors)))
        embedded.save(fresh, {"source": f"language model, from {settings.embedding}", **coverage})
        write_pretrained(fresh, about, trainer.history, trainer.model.layer_weights())
        speed = trainer.words_per_epoch * settings.epochs / trainer.seconds
        timing = {"seconds": trainer.seconds, "tokens_per_second": speed}
        live.end({**about.cost, **timing})
    write_timings(timings, about.fingerprint, {settings.seed: timing})
    saved.delete()


def _train(trainer: Pretrainer, live: LiveRun) -> None:
    """Trains, or continues; each epoch is a line on the terminal and a point in MLflow."""
    epochs = trainer.settings.epochs

    def on_epoch(row: dict[str, Any]) -> None:
        live.epoch(row)
        speed = trainer.words_per_epoch * row["epoch"] / trainer.seconds
        sys.stdout.write(
            f"epoch {row['epoch']:>2}/{epochs}  loss {row['loss']:.4f}  val_loss {row['val_loss']:.4f}  "
            f"perplexity {row['perplexity']:.1f}  {speed:,.0f} tokens/s\n"
        )
        sys.stdout.flush()

    def on_continue() -> None:
        for row in trainer.history:
            live.epoch(row)
        sys.stdout.write(f"continues from a checkpoint, {len(trainer.history)} of {epochs} epochs done\n")
        sys.stdout.flush()

    trainer.run(on_epoch, on_continue)


def _embedding(trainer: Pretrainer, vocabulary: Vocabulary) -> Embedding:
    """The trained vectors of the words that occur in the texts, the unknown one too."""
    trained = np.flatnonzero(trainer.counts)
    return Embedding.build(vocabulary, trainer.matrix()[trained], trained)


if __name__ == "__main__":
    run_stage(main)
