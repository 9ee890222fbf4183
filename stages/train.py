"""Stage `train@<experiment>`: trains one experiment with every seed of the study, and writes its run folder."""

from __future__ import annotations

import sys
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from textrnn.config.experiment import Experiment
from textrnn.config.plan import TrainingPlan, load_planned_stage
from textrnn.modeling.batches import Tokens, load_split, load_splits
from textrnn.modeling.checkpoint import Checkpoints
from textrnn.modeling.refit import Refit
from textrnn.modeling.saved_model import save_model
from textrnn.modeling.scores import final_scores
from textrnn.modeling.soft_targets import read_soft_targets, taught_splits
from textrnn.modeling.start import Start
from textrnn.modeling.training import SeedResult, Trainer
from textrnn.project.dvc_lock import hashes
from textrnn.project.origin import project_folder
from textrnn.run_folder import Run, digest, fingerprint, kept_epoch, prediction_rows, write_run
from textrnn.search.winner import read_winner
from textrnn.stage import run_stage, write_folder, write_timings
from textrnn.tracking.live import LiveRun
from textrnn.tracking.record import TrackedRun


def main(
    plan: Path,
    tokens: Path,
    embedding: Path,
    run_folder: Path,
    timings: Path,
    checkpoints: Path,
    winner: Path | None = None,
    soft_targets: Path | None = None,
) -> None:
    """Trains the experiment of PLAN, or that in WINNER, which starts from one of the embeddings in EMBEDDING.

    A student learns what its teacher says in SOFT_TARGETS.
    """
    name, settings, study, _ = load_planned_stage(plan, TrainingPlan)
    experiment = settings.experiment
    if experiment is None:
        assert winner is not None, "a plan without an experiment is that of a winner"
        experiment = read_winner(winner, settings.refit)
        embedding /= experiment.embedding
    start = Start.load(tokens, embedding)
    taught = [] if soft_targets is None else taught_splits(soft_targets)
    splits = load_splits(tokens, experiment, start.encoder.vocabulary, ("train", "valid", "test", *taught))
    unknown = {split: texts.unknown() for split, texts in splits.items()}
    truncated = {split: texts.truncated for split, texts in splits.items()}
    if not unknown["train"]["unknown"] and not experiment.rare_word_dropout:
        sys.stderr.write(
            f"warning: no unknown word occurs in the training texts of {name}, so it does not learn to read one: "
            "set rare_word_dropout, or encode.min_count to 2\n"
        )
    resolved = experiment.model_dump()
    paths = {"tokens": tokens, "embedding": embedding, "winner": winner, "soft_targets": soft_targets}
    inputs = {key: digest(path) for key, path in paths.items() if path is not None}
    tracked = TrackedRun(
        study=study.study,
        corpus=study.corpus,
        name=name,
        kind="experiment",
        stage=study.stage(name),
        params=resolved,
        fingerprint=fingerprint(plan, inputs),
        datasets=hashes(Path("dvc.lock"), [tokens, embedding, *filter(None, [soft_targets])]),
        defaults=study.train,
    )
    saved = Checkpoints(checkpoints, tracked.fingerprint)
    learned, soft = taught or ["train"], soft_targets if taught else None
    trainer, refit = _trainers(experiment, start, splits, learned, tokens, soft, saved)
    results: list[SeedResult] = []
    timing: dict[int, dict[str, float]] = {}
    with LiveRun(tracked, project_folder()) as live, write_folder(run_folder) as folder:
        for seed in settings.seeds:
            if soft_targets is not None and not taught:
                results.append(SeedResult(seed, failure=f"its teacher {experiment.teacher} has no finished seed"))
                continue
            result, timing[seed] = _train_seed(trainer, refit, seed, live)
            results.append(result)
            if result.failure is None:
                network = (refit.trainer if refit else trainer).network
                save_model(folder / "model" / str(seed), experiment, start.encoder, network, result.weights)
        run = Run(
            name=name,
            kind="experiment",
            params=resolved,
            seeds=settings.seeds,
            classes=list(start.encoder.classes),
            inputs=inputs,
            fingerprint=tracked.fingerprint,
            parameters=trainer.parameter_counts(),
            flops={
                "training": trainer.training_flops(results) + (refit.training_flops(len(results)) if refit else 0.0),
                "prediction": trainer.prediction_flops(),
            },
            failures={str(result.seed): result.failure for result in results if result.failure is not None},
            truncated=truncated,
            unknown=unknown,
        )
        write_run(folder, run, _predictions(results, splits), [row for result in results for row in result.history])
        live.end(run.cost, run.failure)
    write_timings(timings, run.fingerprint, timing)
    saved.delete()
    if run.failure is not None:
        sys.stderr.write(f"warning: {name} failed, {run.failure}. The leaderboard reports it.\n")


def _trainers(
    experiment: Experiment,
    start: Start,
    splits: dict[str, Tokens],
    learned: list[str],
    tokens: Path,
    soft_targets: Path | None,
    saved: Checkpoints,
) -> tuple[Trainer, Refit | None]:
    """Returns the trainer on the splits in `learned`, and with `refit` the second training, which alone reads test."""

    def together(texts: dict[str, Tokens]) -> tuple[Tokens, np.ndarray | None]:
        """Returns all `texts`, and what a student learns of them: float32 [texts, classes]."""
        joined = reduce(Tokens.join, texts.values())
        if soft_targets is None:
            return joined, None
        classes, share = len(start.encoder.classes), experiment.hard_targets
        each = [read_soft_targets(soft_targets, split, texts[split], classes, share) for split in texts]
        return joined, np.concatenate(each)

    first = {split: splits[split] for split in learned}
    texts, targets = together(first)
    measured = {split: each for split, each in splits.items() if not (experiment.refit and split == "test")}
    trainer = Trainer.of(start, experiment, {**measured, "train": texts}, targets, saved)
    if not experiment.refit:
        return trainer, None
    valid = load_split(tokens, "valid", experiment, start.encoder.vocabulary, trained_on=["valid"])
    return trainer, Refit.of(trainer, *together({**first, "valid": valid}), splits["test"])


def _predictions(results: list[SeedResult], splits: dict[str, Tokens]) -> list[pl.DataFrame]:
    return [
        prediction_rows(result.seed, split, splits[split].ids.to_list(), splits[split].labels, probabilities)
        for result in results
        for split, probabilities in result.probabilities.items()
    ]


def _train_seed(trainer: Trainer, refit: Refit | None, seed: int, live: LiveRun) -> tuple[SeedResult, dict[str, float]]:
    """Trains one seed, or continues it. Each epoch prints a line; only those of the first training go to MLflow."""
    live.start_seed(seed)
    epochs = trainer.experiment.epochs

    def on_epoch(row: dict[str, Any]) -> None:
        live.epoch(row)
        sys.stdout.write(
            f"seed {seed}  epoch {row['epoch']:>2}/{epochs}  loss {row['loss']:.4f}  "
            f"val_loss {row['val_loss']:.4f}  val_accuracy {row['val_accuracy']:.4f}\n"
        )
        sys.stdout.flush()

    def on_continue(history: list[dict[str, Any]]) -> None:
        for row in history:
            live.epoch(row)
        sys.stdout.write(f"seed {seed}  continues from a checkpoint, {len(history)} of {epochs} epochs done\n")
        sys.stdout.flush()

    result = trainer.run(seed, on_epoch, on_continue)
    read = trainer.tokens_read(result)
    splits = trainer.splits
    if refit and result.failure is None:
        splits, kept = {**splits, **refit.trainer.splits}, kept_epoch(result.history, trainer.experiment)

        def on_refit_epoch(row: dict[str, Any]) -> None:
            sys.stdout.write(f"seed {seed}  refit, epoch {row['epoch']:>2}/{kept}  loss {row['loss']:.4f}\n")
            sys.stdout.flush()

        result = refit.run(result, kept, on_refit_epoch)
        read += refit.trainer.tokens_read(refit.results[-1])
    timing = {"seconds": result.seconds, "tokens_per_second": read / result.seconds}
    sys.stdout.write(f"seed {seed}  {result.seconds:.1f} s, {timing['tokens_per_second']:,.0f} tokens/s\n")
    scores: dict[str, float] = {}
    for split, probabilities in result.probabilities.items():
        scores |= final_scores(split, splits[split].labels, probabilities)
    live.end_seed({**scores, **timing}, result.failure)
    return result, timing


if __name__ == "__main__":
    run_stage(main)
