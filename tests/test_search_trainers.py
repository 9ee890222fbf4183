"""What a process of a search trains: the same as the stage `train`, on the texts that the settings ask for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from tiny_experiments import make_experiment
from tiny_models import LABELS, TEXTS

from textrnn.embeddings.matrix import Embedding
from textrnn.modeling.batches import load_splits
from textrnn.modeling.training import Trainer
from textrnn.search.halving import Task
from textrnn.search.trainers import Trainers
from textrnn.search.trainings import Inputs
from textrnn.text.encoder import TextEncoder
from textrnn.text.encoding import SCHEMA
from textrnn.text.vocabulary import Vocabulary

ENCODER = TextEncoder(Vocabulary(("<pad>", "<unk>", "good", "bad", "film", "a", "plot")), ("rotten", "fresh"))
PLAIN = {"cell": "feedforward", "readout": "mean"}
BESIDE = {"virtual_adversarial": 1.0, "perturbation": 1.0, "unlabelled_batch": 2, "normalize_embedding": True}


@pytest.fixture
def inputs(tmp_path: Path) -> Inputs:
    for name in ("tokens", "embeddings/tiny"):
        (tmp_path / name).mkdir(parents=True)
    ENCODER.save(tmp_path / "tokens")
    for split in ("train", "valid", "unlabelled"):
        labels = [None] * 5 if split == "unlabelled" else LABELS
        table = {"id": [*"abcde"], "ids": TEXTS, "unknown": [[], [], [], ["noir"], []], "label": labels}
        pl.DataFrame(table, schema=SCHEMA).write_parquet(tmp_path / "tokens" / f"{split}.parquet")
    rows = np.random.default_rng(0).normal(0, 1, (2, 3)).astype(np.float32)
    embedding = Embedding.build(ENCODER.vocabulary, rows, np.array([2, 3]))
    embedding.save(tmp_path / "embeddings/tiny", embedding.coverage(ENCODER.vocabulary, np.ones(7, np.int64)))
    return Inputs(tmp_path / "tokens", tmp_path / "embeddings", tmp_path / "search", "key", (("tiny", ""),))


@pytest.mark.parametrize("changes", [{}, BESIDE], ids=["plain", "unlabelled"])
def test_it_is_the_training_that_the_stage_would_do(inputs: Inputs, changes: dict[str, Any]) -> None:
    experiment = make_experiment(**PLAIN, **changes)
    trained = Trainers(inputs).train(Task(0, 0, experiment, 1000, 2))
    splits = load_splits(inputs.tokens, experiment, ENCODER.vocabulary, ("train", "valid"))
    assert ("unlabelled" in splits) == bool(changes)
    trainer = Trainer(experiment, splits, Embedding.load(inputs.embeddings / "tiny").draw, 2)
    result = trainer.run(1000)
    assert trained.history == result.history
    assert trained.flops == trainer.training_flops([result]) / 2
