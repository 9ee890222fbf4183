"""Stage `train@<experiment>`: trains one experiment with every seed of the study, and writes its run folder."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from textrnn.embeddings.matrix import Embedding
from textrnn.errors import TextrnnError
from textrnn.modeling.batches import Tokens
from textrnn.modeling.cost import training_flops
from textrnn.modeling.saved_model import save_model
from textrnn.modeling.scores import accuracy, log_loss
from textrnn.modeling.training import SeedResult, Trainer
from textrnn.params import load_params
from textrnn.run_folder import Run, digest, fingerprint, prediction_rows, write_run
from textrnn.stage import loaded_code, run_stage, write_folder, write_timings
from textrnn.text.encoder import TextEncoder
from textrnn.tracking.dvc_lock import hashes
from textrnn.tracking.mlflow_store import LiveRun, TrackedRun, project_folder


def main(name: str, tokens: Path, embedding: Path, run_folder: Path, timings: Path) -> None:
    """Trains the experiment NAME."""
    params = load_params()
    if name not in params.experiments:
        raise TextrnnError(f"params.yaml: experiments: no {name!r}. Known: {', '.join(params.experiments)}.")
    experiment = params.experiments[name]
    encoder = TextEncoder.load(tokens)
    splits = {split: Tokens.load(tokens / f"{split}.parquet") for split in ("train", "valid", "test")}
    start = Embedding.load(embedding)
    if len(start.matrix) != len(encoder.vocabulary):
        raise TextrnnError(
            f"{embedding} has {len(start.matrix)} rows and the vocabulary {len(encoder.vocabulary)} words: "
            "they were not built together. Run `dvc repro`."
        )
    resolved = experiment.model_dump()
    inputs = {"tokens": digest(tokens), "embedding": digest(embedding)}
    tracked = TrackedRun(
        study=params.study,
        corpus=params.corpus,
        name=name,
        stage=f"train@{name}",
        params=resolved,
        fingerprint=fingerprint({"experiment": resolved, "seeds": params.seeds}, inputs, loaded_code()),
        datasets=hashes(Path("dvc.lock"), [tokens, embedding]),
    )
    trainer = Trainer(experiment, splits, start.draw, len(encoder.classes))
    results: list[SeedResult] = []
    seconds: dict[str, float] = {}
    with LiveRun(tracked, project_folder()) as live, write_folder(run_folder) as folder:
        for seed in params.seeds:
            result, seconds[str(seed)] = _train_seed(trainer, seed, live, splits)
            results.append(result)
            if result.failure is None:
                save_model(folder / "model" / str(seed), experiment, encoder, trainer.fitted, result.weights)
        passes = float(np.mean([len(result.history) for result in results]))
        examples, tokens_seen = passes * len(splits["train"]), passes * float(splits["train"].lengths.sum())
        run = Run(
            name=name,
            kind="experiment",
            params=resolved,
            seeds=params.seeds,
            classes=list(encoder.classes),
            inputs=inputs,
            fingerprint=tracked.fingerprint,
            parameters=trainer.parameter_counts(),
            flops={
                "training": training_flops(
                    experiment, start.matrix.shape[1], len(encoder.classes), tokens_seen, examples
                )
            },
            failures={str(result.seed): result.failure for result in results if result.failure is not None},
        )
        write_run(folder, run, _predictions(results, splits), [row for result in results for row in result.history])
        failures = [f"seed {seed}: {reason}" for seed, reason in run.failures.items()]
        live.end(
            {"parameters": float(run.parameters["total"]), "training_flops": run.flops["training"]},
            "; ".join(failures) or None,
        )
    write_timings(timings, seconds, tokens_seen)
    for failure in failures:
        sys.stderr.write(f"warning: {name} failed, {failure}. The leaderboard will say so.\n")


def _predictions(results: list[SeedResult], splits: dict[str, Tokens]) -> list[pl.DataFrame]:
    return [
        prediction_rows(result.seed, split, splits[split].ids, splits[split].labels, probabilities)
        for result in results
        for split, probabilities in result.probabilities.items()
    ]


def _train_seed(trainer: Trainer, seed: int, live: LiveRun, splits: dict[str, Tokens]) -> tuple[SeedResult, float]:
    """Trains one seed, and times it; each epoch is a line on the terminal and a point in MLflow."""
    live.start_seed(seed)
    started = time.perf_counter()

    def on_epoch(row: dict[str, Any]) -> None:
        live.epoch(row)
        sys.stdout.write(
            f"seed {seed}  epoch {row['epoch']:>2}/{trainer.experiment.epochs}  loss {row['loss']:.4f}  "
            f"val_loss {row['val_loss']:.4f}  val_accuracy {row['val_accuracy']:.4f}\n"
        )
        sys.stdout.flush()

    result = trainer.run(seed, on_epoch)
    seconds = time.perf_counter() - started
    rate = len(result.history) * float(splits["train"].lengths.sum()) / seconds
    sys.stdout.write(f"seed {seed}  {seconds:.1f} s, {rate:,.0f} tokens/s\n")
    final = {
        f"{split}_{score.__name__}": score(splits[split].labels, probabilities)
        for split, probabilities in result.probabilities.items()
        for score in (accuracy, log_loss)
    }
    live.end_seed({**final, "seconds": seconds, "tokens_per_second": rate}, result.failure)
    return result, seconds


if __name__ == "__main__":
    run_stage(main)
