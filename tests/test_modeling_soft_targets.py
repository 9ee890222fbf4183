"""What a student is taught, by hand; and that it learns that instead of labels."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from tiny_experiments import RECURRENT_CELLS, make_experiment
from tiny_models import make_embedding, make_tokens

from textrnn.errors import TextrnnError
from textrnn.modeling.backend import keras
from textrnn.modeling.scores import log_loss
from textrnn.modeling.soft_targets import read_soft_targets, taught_splits, write_soft_targets
from textrnn.modeling.training import SeedResult, Trainer

TEACHER = np.array([[0.75, 0.25], [0.5, 0.5], [0.125, 0.875]])
TOKENS = make_tokens([[2, 3], [6], [3, 3]], [0, 1, 1])
UNLABELLED = make_tokens([[2, 3], [6], [3, 3]], [-1, -1, -1])


def test_a_label_has_a_share_in_the_target_of_a_labelled_text(tmp_path: Path) -> None:
    assert taught_splits(tmp_path) == []
    for split in ("unlabelled", "train"):
        write_soft_targets(tmp_path, split, TOKENS.ids, TEACHER)
    assert taught_splits(tmp_path) == ["train", "unlabelled"]
    soft = read_soft_targets(tmp_path, "train", TOKENS, 2, 0.0)
    assert soft.dtype == np.float32
    assert soft.tolist() == TEACHER.tolist()
    mixed = read_soft_targets(tmp_path, "train", TOKENS, 2, 0.2)
    np.testing.assert_allclose(mixed, [[0.8, 0.2], [0.4, 0.6], [0.1, 0.9]], rtol=1e-6)
    assert read_soft_targets(tmp_path, "unlabelled", UNLABELLED, 2, 0.2).tolist() == TEACHER.tolist()


def test_soft_targets_of_other_texts_are_refused(tmp_path: Path) -> None:
    write_soft_targets(tmp_path, "train", pl.Series(["0", "2", "1"]), TEACHER)
    with pytest.raises(TextrnnError, match=r"the tokens of train are of different texts. Run `dvc repro`"):
        read_soft_targets(tmp_path, "train", TOKENS, 2, 0.0)


@pytest.fixture(autouse=True)
def eager() -> Iterator[None]:
    """Without a graph: to trace one takes far longer than the few steps of a test."""
    if keras.config.backend() != "tensorflow":
        yield
        return
    import tensorflow as tf

    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


def train(targets: np.ndarray | None, **changes: Any) -> SeedResult:
    experiment = make_experiment(batch_size=3, learning_rate=0.1, epochs=20, **changes)
    splits = {"train": TOKENS, "valid": TOKENS, "test": TOKENS}
    return Trainer(experiment, splits, make_embedding, 2, targets=targets).run(1)


@pytest.mark.parametrize("cell", RECURRENT_CELLS)
def test_a_student_comes_close_to_what_it_is_taught(cell: str) -> None:
    """Its loss is the cross-entropy with the targets, of which the teacher's entropy is the lowest value."""
    result = train(TEACHER.astype(np.float32), cell=cell, bidirectional=True, units=4)
    np.testing.assert_allclose(result.probabilities["test"], TEACHER, atol=0.06)
    entropy = -np.mean((TEACHER * np.log(TEACHER)).sum(axis=1))
    assert entropy < result.history[-1]["loss"] < entropy + 0.02
    assert result.history[-1]["val_loss"] == log_loss(TOKENS.labels, result.probabilities["valid"])


def test_targets_that_are_the_labels_train_to_the_same_bytes() -> None:
    alone, taught = train(None), train(np.eye(2, dtype=np.float32)[TOKENS.labels])
    assert alone.history == taught.history
    for one, other in zip(alone.weights, taught.weights, strict=True):
        assert one.tobytes() == other.tobytes()
