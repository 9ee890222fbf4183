"""What the three layers make of texts of lengths 3, 1 and 2, reckoned by hand."""

from __future__ import annotations

import numpy as np
import pytest

from textrnn.modeling.backend import keras
from textrnn.modeling.layers import Readout, ReverseText, ZeroPadding

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
    ],
)
def test_readout_sees_real_positions_only(kind: str, expected: list[list[float]]) -> None:
    assert apply(Readout(kind)).tolist() == expected
