"""Run folders that look like real ones, without training anything."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from textrnn.run_folder import Run, RunFolder, prediction_rows, write_run

# name: (cell, embedding, accuracy in percent)
STUDY = {
    "simple-rnn": ("simple_rnn", "random", 68.4),
    "lstm": ("lstm", "random", 72.9),
    "gru": ("gru", "random", 72.6),
    "simple-rnn-glove": ("simple_rnn", "glove", 70.5),
    "lstm-glove": ("lstm", "glove", 73.3),
    "gru-glove": ("gru", "glove", 74.0),
    "lstm-glove-tuned": ("lstm", "glove", 76.7),
    "gru-glove-tuned": ("gru", "glove", 77.1),
    "lstm-word2vec": ("lstm", "word2vec", 73.8),
    "lstm-units-128": ("lstm", "glove", 76.4),
    "lstm-two-layers": ("lstm", "glove", 76.2),
    "lstm-bidirectional": ("lstm", "glove", 77.0),
    "lstm-max-over-time": ("lstm", "glove", 78.1),
    "lstm-mean-over-time": ("lstm", "glove", 77.4),
    "lstm-spatial-dropout": ("lstm", "glove", 77.6),
    "lstm-embedding-dropout": ("lstm", "glove", 77.2),
    "lstm-recurrent-dropout": ("lstm", "glove", 76.6),
    "lstm-l2": ("lstm", "glove", 75.9),
    "lstm-label-smoothing": ("lstm", "glove", 76.9),
    "lstm-early-stopping": ("lstm", "glove", 77.0),
    "lstm-gradient-clipping": ("lstm", "glove", 76.7),
    "lstm-ema": ("lstm", "glove", 77.5),
    "bigru-combined": ("gru", "glove", 79.4),
    "feedforward": ("feedforward", "glove", 75.1),
    "conv1d": ("conv1d", "glove", 76.8),
}


def alone(split: str, ids: Sequence[str]) -> Sequence[str]:
    """The groups of a corpus in which each text was drawn by itself."""
    return ids


def make_run(
    folder: Path,
    name: str,
    *,
    kind: str = "experiment",
    params: dict[str, Any] | None = None,
    seeds: Sequence[int] = (0,),
    failures: dict[str, str] | None = None,
    classes: Sequence[str] = ("rotten", "fresh"),
    predictions: dict[str, tuple[Sequence[str], Sequence[int], Any]] | None = None,
    epochs: int = 0,
    flops: float = 1.5e12,
    fingerprint: str = "0" * 64,
    truncated: dict[str, dict[str, int]] | None = None,
    unknown: dict[str, dict[str, int]] | None = None,
    history: list[dict[str, Any]] | None = None,
) -> RunFolder:
    """Writes `folder/name`; `predictions` (split: ids, labels, probabilities) are those of every seed.

    Without `history` there are `epochs` of a made-up one for each seed.
    """
    run = Run(
        name=name,
        kind=kind,
        params=params or ({"cell": "lstm", "embedding": "glove"} if kind == "experiment" else {"kind": "nb_svm"}),
        seeds=list(seeds),
        classes=list(classes),
        inputs={"tokens": "0" * 64},
        fingerprint=fingerprint,
        parameters={"total": 640_129, "trainable": 29_441},
        flops={"training": flops, "prediction": flops / 1e9},
        failures=failures or {},
        truncated=truncated or {},
        unknown=unknown or {},
    )
    frames = [
        prediction_rows(seed, split, ids, np.array(labels), np.array(probabilities, np.float32))
        for seed in run.finished_seeds
        for split, (ids, labels, probabilities) in (predictions or tiny_predictions()).items()
    ]
    (folder / name).mkdir(parents=True)
    write_run(folder / name, run, frames, history or [row for seed in seeds for row in _history(seed, epochs)])
    return RunFolder.load(folder / name)


def tiny_predictions(right: int = 3) -> dict[str, tuple[list[str], list[int], list[list[float]]]]:
    """Four validation and five test examples; the first `right` ones of each split are right."""
    splits = {}
    for split, labels in {"valid": [0, 1, 0, 1], "test": [0, 1, 0, 1, 1]}.items():
        sure = [0.8 if row < right else 0.3 for row in range(len(labels))]
        probabilities = [[p, 1 - p] if label == 0 else [1 - p, p] for label, p in zip(labels, sure, strict=True)]
        splits[split] = ([f"{split}-{row}" for row in range(len(labels))], labels, probabilities)
    return splits


def make_study(folder: Path, valid: int = 1800, test: int = 2600, seeds: Sequence[int] = (0, 1, 2)) -> list[RunFolder]:
    """Writes the default study's 25 experiments and 2 baselines, with plausible numbers."""
    runs = []
    every = {**STUDY, "nb-svm": ("nb_svm", "", 77.0), "majority": ("majority", "", 57.8)}
    for index, (name, (model, embedding, accuracy)) in enumerate(every.items()):
        draw = np.random.default_rng(index)
        baseline = not embedding
        run_seeds = [0] if baseline else list(seeds)
        run = Run(
            name=name,
            kind="baseline" if baseline else "experiment",
            params={"kind": model} if baseline else {"cell": model, "embedding": embedding},
            seeds=run_seeds,
            classes=["rotten", "fresh"],
            inputs={"tokens": "0" * 64},
            fingerprint="0" * 64,
            parameters={"total": 500_000 + 31_337 * index, "trainable": 29_441},
            flops={"training": 0.0 if baseline else 3.1e11 * (index + 1), "prediction": 1e5},
        )
        frames, history = [], []
        for seed in run_seeds:
            target = accuracy / 100 + (0 if baseline else draw.normal(0, 0.005))
            for split, rows in (("valid", valid), ("test", test)):
                labels = (np.random.default_rng(99).random(rows) < 0.578).astype(int)
                probabilities = _probabilities(draw, labels, 0.0 if model == "majority" else target)
                frames.append(prediction_rows(seed, split, [str(row) for row in range(rows)], labels, probabilities))
            if not baseline:
                history += _history(seed, 6 + index % 5, target, draw)
        (folder / name).mkdir(parents=True)
        write_run(folder / name, run, frames, history)
        runs.append(RunFolder.load(folder / name))
    return runs


def _probabilities(draw: np.random.Generator, labels: np.ndarray, accuracy: float) -> np.ndarray:
    """float32 [examples, 2], right for a share of `accuracy`; 0 gives the majority baseline's."""
    if not accuracy:
        return np.tile(np.array([0.422, 0.578], np.float32), (len(labels), 1))
    right = draw.random(len(labels)) < accuracy
    sure = 0.5 + 0.5 * np.where(right, draw.beta(2.5, 1.0, len(labels)), draw.beta(1.5, 1.6, len(labels)))
    positive = np.where((labels == 1) == right, sure, 1 - sure)
    return np.stack([1 - positive, positive], axis=1).astype(np.float32)


def _history(
    seed: int, epochs: int, accuracy: float = 0.77, draw: np.random.Generator | None = None
) -> list[dict[str, Any]]:
    noise = draw or np.random.default_rng(seed)
    rows = []
    for epoch in range(1, epochs + 1):
        done = 1 - 0.6**epoch
        rows.append(
            {
                "seed": seed,
                "epoch": epoch,
                "loss": 0.69 - 0.45 * done + noise.normal(0, 0.005),
                "accuracy": 0.55 + 0.38 * done,
                "val_loss": 0.69 - 0.25 * done + 0.02 * max(0, epoch - 4) + noise.normal(0, 0.008),
                "val_accuracy": 0.55 + (accuracy - 0.55) * done + noise.normal(0, 0.004),
                "learning_rate": 0.001,
                "gradient_norm": 1.0 + noise.random(),
            }
        )
    return rows
