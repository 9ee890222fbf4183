"""What the layers make of texts of lengths 3, 1 and 2, reckoned by hand."""

from __future__ import annotations

import numpy as np
import pytest

from textrnn.modeling.backend import keras
from textrnn.modeling.layers import (
    Attention,
    Embedding,
    Readout,
    ReverseText,
    TemporalActivationRegularization,
    ZeroPadding,
)

IDS = np.array([[7, 5, 9, 0], [4, 0, 0, 0], [8, 8, 0, 0]], np.int32)
SEQUENCE = np.array(
    [
        [[1, -1], [2, -2], [3, -3], [99, 99]],
        [[-4, 4], [99, 99], [99, 99], [99, 99]],
        [[5, -5], [-6, 6], [99, 99], [99, 99]],
    ],
    np.float32,
)


def apply(layer: keras.layers.Layer, sequence: np.ndarray = SEQUENCE) -> np.ndarray:
    return keras.ops.convert_to_numpy(layer(sequence, IDS))


def test_zero_padding_clears_the_positions_after_a_text() -> None:
    assert apply(ZeroPadding()).tolist() == [
        [[1, -1], [2, -2], [3, -3], [0, 0]],
        [[-4, 4], [0, 0], [0, 0], [0, 0]],
        [[5, -5], [-6, 6], [0, 0], [0, 0]],
    ]


def test_reverse_text_turns_each_text_around_within_its_own_length() -> None:
    assert apply(ReverseText()).tolist() == [
        [[3, -3], [2, -2], [1, -1], [99, 99]],
        [[-4, 4], [99, 99], [99, 99], [99, 99]],
        [[-6, 6], [5, -5], [99, 99], [99, 99]],
    ]


def test_reversing_twice_changes_nothing() -> None:
    np.testing.assert_array_equal(apply(ReverseText(), apply(ReverseText())), SEQUENCE)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("last", [[3, -3], [-4, 4], [-6, 6]]),
        ("max", [[3, -1], [-4, 4], [5, 6]]),
        ("mean", [[2, -2], [-4, 4], [-0.5, 0.5]]),
        ("concat", [[3, -3, 3, -1, 2, -2], [-4, 4, -4, 4, -4, 4], [-6, 6, 5, 6, -0.5, 0.5]]),
    ],
)
def test_readout_sees_real_positions_only(kind: str, expected: list[list[float]]) -> None:
    assert apply(Readout(kind)).tolist() == expected


def test_attention_weighs_real_positions_only() -> None:
    """For a state (h, -h) the scores are 2 tanh(h / 2) + tanh((h + 1) / 2).

    Text 1, h = 1, 2, 3: scores 1.685828, 2.428337, 2.774324, weights 0.164717, 0.346104, 0.489178, so h = 2.324461.
    Text 3, h = 5, -6: scores 2.968283, -2.976724, weights 0.997388, 0.002612, so h = 4.971268.
    """
    layer = Attention()
    layer.build(SEQUENCE.shape, IDS.shape)
    layer.set_weights([np.array([[0.5, 0.25], [0, -0.25]]), np.array([0, 0.5]), np.array([[2], [1]])])
    expected = [[2.324461, -2.324461], [-4, 4], [4.971268, -4.971268]]
    np.testing.assert_allclose(apply(layer), expected, rtol=1e-6)


def test_successive_outputs_are_compared_at_real_positions_only() -> None:
    """Text 1: (1 + 4) / 2, twice; text 2 has no pair; text 3: (121 + 484) / 2. A fifth of their mean."""
    layer = TemporalActivationRegularization(0.2)
    sequence = SEQUENCE * np.array([1, 2], np.float32)
    np.testing.assert_array_equal(apply(layer, sequence), sequence)
    (loss,) = layer.losses
    assert float(loss) == pytest.approx(0.2 * (2.5 + 0 + 302.5) / 3, rel=1e-6)


def test_a_normalized_embedding_by_hand() -> None:
    """Three words that occur 0, 1 and 3 times, of 1, 3 and 5: their mean is 4.5, their variance 0.75.

    A row behind them, of which nothing is counted, is moved and scaled as they are. A dimension without variance is 0.
    """
    layer = Embedding(3, 2, fixed_rows=1, counts=np.array([0, 1, 3]))
    layer.build()
    layer.set_weights([np.array([[1, 7], [3, 7], [5, 7]]), np.array([[2, 7]])])
    vectors = keras.ops.convert_to_numpy(layer(np.array([[0, 1, 2, 3]], np.int32)))[0]
    expected = np.array([-3.5, -1.5, 0.5, -2.5]) / np.sqrt(0.75)
    np.testing.assert_allclose(vectors[:, 0], expected, rtol=1e-6)
    assert vectors[:, 1].tolist() == [0, 0, 0, 0]
