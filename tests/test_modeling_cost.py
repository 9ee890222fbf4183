"""Floating-point operations by hand: dimension 3, units 4, 5 classes, 7 tokens in 2 texts."""

from __future__ import annotations

from typing import Any

import pytest
from tiny_experiments import make_experiment
from tiny_models import make_embedding

from textrnn.modeling.classifier import build_classifier
from textrnn.modeling.cost import prediction_flops, training_flops


@pytest.mark.parametrize(
    ("changes", "per_token", "per_text"),
    [
        # A product of a vector with an n x m matrix is n m multiplications and n m additions.
        ({"cell": "simple_rnn"}, 2 * 4 * (3 + 4), 2 * 4 * 5),
        ({"cell": "lstm"}, 2 * 4 * 4 * (3 + 4), 2 * 4 * 5),
        ({"cell": "gru"}, 3 * 2 * 4 * (3 + 4), 2 * 4 * 5),
        ({"cell": "lstm", "layers": 2}, 4 * 2 * 4 * (3 + 4) + 4 * 2 * 4 * (4 + 4), 2 * 4 * 5),
        ({"cell": "gru", "bidirectional": True}, 2 * 3 * 2 * 4 * (3 + 4), 2 * 8 * 5),
        (
            {"cell": "gru", "bidirectional": True, "layers": 2},
            2 * 3 * 2 * 4 * (3 + 4) + 2 * 3 * 2 * 4 * (8 + 4),
            2 * 8 * 5,
        ),
        ({"cell": "lstm", "readout": "concat"}, 2 * 4 * 4 * (3 + 4), 2 * 3 * 4 * 5),
        # Attention: a matrix as wide as what it reads, the product with the query, and the weighted sum.
        ({"cell": "lstm", "readout": "attention"}, 2 * 4 * 4 * (3 + 4) + 2 * 4 * (4 + 1 + 1), 2 * 4 * 5),
        (
            {"cell": "gru", "readout": "attention", "bidirectional": True},
            2 * 3 * 2 * 4 * (3 + 4) + 2 * 8 * (8 + 1 + 1),
            2 * 8 * 5,
        ),
        (
            {"cell": "conv1d", "readout": "attention", "layers": 2},
            2 * 7 * 3 * 4 + (2 * 7 * 4 * 4 + 2 * 4 * (4 + 1 + 1)) / 5,
            2 * 4 * 5,
        ),
        ({"cell": "feedforward", "readout": "attention"}, 2 * 3 * (3 + 1 + 1), 2 * 3 * 4 + 2 * 4 * 5),
        ({"cell": "conv1d", "layers": 2}, 2 * 7 * 3 * 4 + 2 * 7 * 4 * 4 / 5, 2 * 4 * 5),
        ({"cell": "feedforward", "layers": 2}, 0, 2 * 3 * 4 + 2 * 4 * 4 + 2 * 4 * 5),
        (
            {"cell": "feedforward", "readout": "flatten", "padding": "left", "max_tokens": 6},
            0,
            2 * 6 * 3 * 4 + 2 * 4 * 5,
        ),
        (
            {"cell": "lstm", "readout": "flatten", "padding": "left", "max_tokens": 6},
            2 * 4 * 4 * (3 + 4),
            2 * 6 * 4 * 5,
        ),
    ],
    ids=str,
)
def test_forward_and_twice_that_backward(changes: dict[str, Any], per_token: float, per_text: float) -> None:
    experiment = make_experiment(units=4, **changes)
    model = build_classifier(experiment, make_embedding(dimension=3), 5, seed=0)
    assert training_flops(model, tokens=7, examples=2) == pytest.approx(3 * (7 * per_token + 2 * per_text))
    assert prediction_flops(model, tokens=3.5) == 3.5 * per_token + per_text
