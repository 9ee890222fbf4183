"""The gradient probe against finite differences, and against a linear network that is computed by hand."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np
import polars as pl
import pytest
from tiny_experiments import RECURRENT_CELLS, make_experiment
from tiny_models import make_embedding, make_tokens, scramble

from textrnn.modeling import memory
from textrnn.modeling.backend import keras
from textrnn.modeling.classifier import build_classifier
from textrnn.modeling.memory import gradient_norms, gradient_rows, long_texts

SHAPES = [
    *product(RECURRENT_CELLS, (False,), (1,), ("last",)),
    ("simple_rnn", True, 2, "max"),
    ("lstm", True, 2, "mean"),
    ("gru", True, 2, "last"),
    ("gru", False, 1, "max"),
    ("gru", True, 1, "attention"),
    ("lstm", False, 2, "concat"),
    ("conv1d", False, 2, "max"),
    ("feedforward", False, 2, "mean"),
]

# No word occurs twice in a text, so that to move its vector is to move one place.
TEXTS = [[2, 3, 4, 5], [6, 1], [4, 6, 2, 3, 5], [5, 1, 2]]
LABELS = [0, 2, 1, 2]
WORDS, DIMENSION, CLASSES = 7, 3, 4
TWINS = 2 * 5 * DIMENSION
"""Words behind the others: each a word of the longest text, with one number moved up or down."""
EXACT = keras.config.backend() == "tensorflow"  # others do not keep float64 throughout
STEP, TOLERANCE = (1e-6, {"rtol": 1e-6, "atol": 1e-9}) if EXACT else (2e-3, {"rtol": 2e-3, "atol": 2e-4})


@pytest.fixture
def exact() -> Iterator[None]:
    """In float64, where a finite difference has nine true digits, and without a graph, which takes long to trace."""
    if not EXACT:
        yield
        return
    import tensorflow as tf

    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float64")
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)
    keras.config.set_dtype_policy(policy)


def build(**changes: Any) -> keras.Model:
    embedding = make_embedding(words=WORDS + TWINS, dimension=DIMENSION)
    model = build_classifier(make_experiment(**changes), embedding, CLASSES, seed=0)
    scramble(model)
    return model


def norms_of(model: keras.Model, texts: list[list[int]], labels: list[int], distances: int) -> np.ndarray:
    return gradient_norms(model, make_tokens(texts, labels), np.arange(len(texts)), distances)


def losses(model: keras.Model, texts: list[list[int]], label: int) -> np.ndarray:
    logits = keras.ops.convert_to_numpy(model(np.array(texts, np.int32), training=False))
    logits = logits.astype(np.float64)
    return np.log(np.exp(logits).sum(axis=1)) - logits[:, label]


def finite_differences(model: keras.Model, text: list[int], label: int) -> np.ndarray:
    """The gradient's norm at each distance from the end, from the losses of the text with one twin in it."""
    embedding, *others = model.get_weights()
    nudged = []
    for place, channel, step in product(reversed(range(len(text))), range(DIMENSION), (STEP, -STEP)):
        twin = WORDS + len(nudged)
        embedding[twin] = embedding[text[place]]
        embedding[twin, channel] += step
        nudged.append([*text[:place], twin, *text[place + 1 :]])
    model.set_weights([embedding, *others])
    up, down = losses(model, nudged, label).reshape(-1, 2).T
    return np.linalg.norm(((up - down) / (2 * STEP)).reshape(len(text), DIMENSION), axis=1)


@pytest.mark.usefixtures("exact")
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_norms_are_those_of_finite_differences(shape: tuple[str, bool, int, str]) -> None:
    """With padding, and with everything in which training differs: dropout, smoothing, L2."""
    cell, bidirectional, layers, readout = shape
    model = build(
        cell=cell,
        bidirectional=bidirectional,
        layers=layers,
        readout=readout,
        trainable_embedding=readout == "last",
        embedding_dropout=0.5,
        spatial_dropout=0.5,
        recurrent_dropout=0.5 if cell in RECURRENT_CELLS else 0.0,
        dropout=0.5,
        label_smoothing=0.3,
        l2=1.0,
    )
    expected = [finite_differences(model, text, label) for text, label in zip(TEXTS, LABELS, strict=True)]
    norms = norms_of(model, TEXTS, LABELS, 2)  # the shortest text has two tokens
    assert norms.dtype == np.float32
    np.testing.assert_allclose(norms, [each[:2] for each in expected], **TOLERANCE)
    np.testing.assert_allclose(norms_of(model, TEXTS[2:3], LABELS[2:3], 5), [expected[2]], **TOLERANCE)
    assert norms.max() > 0.01


def linear_rnn(kernel: list[list[float]], recurrent: float, head: list[list[float]], bias: list[float]) -> keras.Model:
    """Zero vectors keep every state at 0, where tanh has the slope 1: each step back is one factor `recurrent`."""
    model = build_classifier(make_experiment(cell="simple_rnn"), np.zeros((WORDS, 3), np.float32), 2, seed=0)
    weights = [np.zeros((WORDS, 3)), kernel, recurrent * np.eye(2), np.zeros(2), head, bias]
    model.set_weights([np.array(weight, np.float32) for weight in weights])
    return model


@pytest.mark.parametrize("recurrent", [0.5, 1.5])
def test_a_linear_network_by_hand(recurrent: float) -> None:
    """The logits are the bias (ln 3, 0), so the probabilities are 3/4 and 1/4.

    With label 0 the loss has the gradient (-1/4, 1/4) by the logits, (-1, 1.5) by the last state, and
    (-1, 3, -0.5), of norm √10.25, by the last vector; with label 1 it is -3 times that.
    """
    model = linear_rnn([[1, 0], [0, 2], [2, 1]], recurrent, [[3, -1], [1, 7]], [np.log(3), 0])
    norms = norms_of(model, [[2, 3, 3, 5], [6, 1, 2, 2, 2, 4]], [0, 1], 4)
    expected = np.sqrt(10.25) * recurrent ** np.arange(4)
    np.testing.assert_allclose(norms, [expected, 3 * expected], rtol=1e-6)


def test_what_has_vanished_is_small_and_not_zero() -> None:
    """1e-25 has a square that float32 cannot hold."""
    model = linear_rnn([[1, 0], [1, 0], [1, 0]], 1e-5, [[1, -1], [0, 0]], [0, 0])
    expected = np.sqrt(3) * 1e-5 ** np.arange(6)
    np.testing.assert_allclose(norms_of(model, [[2] * 6], [0], 6), [expected], rtol=1e-5)


def test_rows_come_back_in_their_order_whatever_the_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    model = build(cell="simple_rnn", bidirectional=True, readout="mean")
    monkeypatch.setattr(memory, "BATCH", 1)
    alone = norms_of(model, TEXTS, LABELS, 2)
    monkeypatch.setattr(memory, "BATCH", 2)
    rows = np.array([3, 0, 2])
    together = gradient_norms(model, make_tokens(TEXTS, LABELS), rows, 2)
    np.testing.assert_allclose(together, alone[rows], rtol=1e-5)


def test_a_text_that_is_too_short_is_not_measured() -> None:
    with pytest.raises(AssertionError, match="a text is too short"):
        norms_of(build(), TEXTS, LABELS, 3)


@pytest.mark.parametrize(
    ("lengths", "rows", "distances"),
    [
        ([3, 9, 5, 8, 5, 1, 2, 7], [1, 3], 8),  # two of eight have 8 tokens
        ([3, 9, 5, 8, 5, 1, 2, 7, 8], [1, 3, 8], 8),  # a quarter of nine is at least three
        ([4, 4, 4], [0, 1, 2], 4),
        ([6], [0], 6),
        ([90, 300, 200, 250, 199, 200], [1, 2, 3, 5], 200),  # not more than 200 distances
    ],
)
def test_the_texts_that_are_measured(lengths: list[int], rows: list[int], distances: int) -> None:
    found, reach = long_texts(np.array(lengths))
    assert (found.tolist(), reach) == (rows, distances)


def test_of_many_long_texts_the_first_are_measured() -> None:
    found, distances = long_texts(np.array([2, 7, 7] * 400))
    assert distances == 7
    assert len(found) == 500
    assert found[:3].tolist() == [1, 2, 4] and found[-1] == 749


def test_the_table_has_a_row_per_text_and_distance() -> None:
    table = gradient_rows(3, ["b", "a"], np.array([[0.5, 0.25, 0.125], [3, 2, 1]], np.float32))
    assert table.schema == {"seed": pl.Int32, "id": pl.String, "distance": pl.Int32, "norm": pl.Float32}
    assert table.rows() == [
        (3, "b", 0, 0.5),
        (3, "b", 1, 0.25),
        (3, "b", 2, 0.125),
        (3, "a", 0, 3.0),
        (3, "a", 1, 2.0),
        (3, "a", 2, 1.0),
    ]
