"""The forward pass in NumPy compared with the Keras model with the same weights."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from covering import covering
from tiny_experiments import CELLS, make_experiment
from tiny_models import TEXTS, make_embedding, make_tokens, scramble

from textrnn.modeling import batches
from textrnn.modeling.backend import keras
from textrnn.modeling.classifier import build_classifier
from textrnn.modeling.forward import Network

CLASSES = 3
SHAPES = covering(cell=CELLS, layers=range(4), bidirectional=(False, True), readout=("last", "attention"))
NETWORKS = covering(
    cell=CELLS,
    layers=range(4),
    bidirectional=(False, True),
    readout=("last", "max", "mean", "concat", "attention", "flatten"),
    padding=("right", "left"),
)


def pair(**changes: Any) -> tuple[keras.Model, Network]:
    """A Keras model, whose padding row is not zero, and the network with its weights."""
    experiment = make_experiment(units=2, **changes)
    model = build_classifier(experiment, make_embedding(), CLASSES, seed=0)
    scramble(model)
    weights = model.get_weights()
    weights[0][0] = 0.3
    model.set_weights(weights)
    return model, Network(experiment, weights, CLASSES)


def assert_alike(model: keras.Model, network: Network, ids: np.ndarray) -> None:
    found = network.logits(ids)
    assert found.dtype == np.float32
    expected = keras.ops.convert_to_numpy(model(ids, training=False))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("changes", NETWORKS, ids=lambda changes: "-".join(map(str, changes.values())))
def test_it_computes_what_keras_computes(changes: dict[str, Any]) -> None:
    """Padding in front is read like a word, padding behind is not."""
    model, network = pair(**changes)
    left = np.array([[0] * (9 - len(text)) + text for text in TEXTS], np.int32)
    assert_alike(model, network, left if changes["padding"] == "left" else make_tokens().padded(np.arange(len(TEXTS))))


def test_a_text_as_long_as_three_poolings() -> None:
    model, network = pair(cell="conv1d", layers=2)
    assert_alike(model, network, make_tokens([[2, 3, 4, 5, 6] * 3, [2] * 14, [1]], [0, 0, 0]).padded(np.arange(3)))


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: "-".join(map(str, shape.values())))
def test_weights_of_another_experiment_are_refused(shape: dict[str, Any]) -> None:
    weights = build_classifier(make_experiment(**shape), make_embedding(), CLASSES, seed=0).get_weights()
    Network(make_experiment(**shape), weights, CLASSES)
    others = [
        {"layers": shape["layers"] + 1},
        {"readout": "attention" if shape["readout"] == "last" else "last"},
        *([{"layers": shape["layers"] - 1}] if shape["layers"] > 1 else []),
        *([{"units": 3}] if shape["layers"] else []),
        *({"cell": cell, "bidirectional": False} for cell in CELLS if cell != shape["cell"] and shape["layers"]),
        *([{"bidirectional": not shape["bidirectional"]}] if shape["cell"] in CELLS[:3] else []),
    ]
    for changes in others:
        with pytest.raises((ValueError, StopIteration)):
            Network(make_experiment(**{**shape, **changes}), weights, CLASSES)
    with pytest.raises(ValueError, match=r"A weight must have the shape \(2,\)\. Received: \(3,\)"):
        Network(make_experiment(**shape), weights, 2)


@pytest.mark.parametrize("cell", CELLS[:3])
def test_a_weight_that_numpy_would_stretch_is_refused(cell: str) -> None:
    experiment = make_experiment(units=2, cell=cell, layers=2)
    weights = build_classifier(experiment, make_embedding(), CLASSES, seed=0).get_weights()
    for place in range(1, 7):
        for axis in range(weights[place].ndim):
            narrow = weights[place].take([0], axis=axis)
            with pytest.raises(ValueError, match=r"shape|mismatch"):
                Network(experiment, [*weights[:place], narrow, *weights[place + 1 :]], CLASSES)


def test_threads_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "PREDICTION_BATCH", 2)
    _, network = pair(cell="lstm")
    tokens = make_tokens(TEXTS * 5, [0] * 5 * len(TEXTS))
    one, three = (batches.predict(network.logits, tokens, threads) for threads in (1, 3))
    np.testing.assert_array_equal(three, one)
    alone = batches.predict(network.logits, tokens.take(np.array([7])))
    np.testing.assert_allclose(one[7], alone[0], rtol=0, atol=1e-6)


def test_predicting_imports_neither_keras_nor_tensorflow() -> None:
    code = "import sys, textrnn.modeling.predictor; sys.exit(bool({'keras', 'tensorflow'} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
