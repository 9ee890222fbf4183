"""One step of an optimizer, with weight decay and with rates by layer, for every cell."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from covering import covering
from tiny_experiments import CELLS, make_experiment
from tiny_models import LABELS, TEXTS, make_embedding, scramble, set_constant

from textrnn.modeling.backend import keras
from textrnn.modeling.classifier import build_classifier
from textrnn.modeling.rates import set_rates

TARGETS = np.eye(2, dtype=np.float32)[LABELS]
WEIGHTS = {"simple_rnn": 3, "lstm": 3, "gru": 3, "conv1d": 2, "feedforward": 2}  # kernels and biases of a layer
SHAPES = covering(
    cell=CELLS,
    bidirectional=(False, True),
    layers=(1, 2, 3),
    optimizer=("adam", "rmsprop"),
    trainable_embedding=(False, True),
)


def build(**changes: Any) -> keras.Model:
    model = build_classifier(make_experiment(readout="mean", **changes), make_embedding(), 2, seed=0)
    model.run_eagerly = True
    return model


def train_on_a_batch(model: keras.Model, width: int = 5) -> None:
    ids = np.array([text + [0] * (width - len(text)) for text in TEXTS], np.int32)
    model.train_on_batch(ids, TARGETS)


def step(first_epoch: bool = True, **changes: Any) -> list[np.ndarray]:
    """How far a training's first step moves each weight, or that of the epoch in which all layers are trained."""
    experiment, model = make_experiment(readout="mean", **changes), build(**changes)
    scramble(model)
    before = model.get_weights()
    set_rates(model.optimizer, experiment, 1 if first_epoch else experiment.epochs, 1, 1)
    train_on_a_batch(model)
    return [new - old for old, new in zip(before, model.get_weights(), strict=True)]


def depths(setting: dict[str, Any]) -> list[int]:
    """How deep each weight is, in the order of the model's: embedding, layers from below, logits."""
    directions, layers = 1 + setting["bidirectional"], setting["layers"]
    inner = [depth for depth in range(layers, 0, -1) for _ in range(directions * WEIGHTS[setting["cell"]])]
    return [layers + 1, *inner, 0, 0]


def is_kernel(weights: list[Any]) -> list[bool]:
    return ["kernel" in weight.name for weight in weights]


@pytest.mark.parametrize("cell", CELLS)
def test_weight_decay_takes_a_part_of_kernels_alone(cell: str) -> None:
    """With every weight 0.5, the rate 0.1 and the decay 0.2 a step takes 0.01."""
    after = []
    for decay in ({}, {"optimizer": "adamw", "weight_decay": 0.2}):
        model = build(cell=cell, learning_rate=0.1, **decay)
        set_constant(model, 0.5)
        train_on_a_batch(model)
        after.append(model.get_weights())
    kernels = is_kernel(model.weights)
    assert kernels.count(True) == WEIGHTS[cell]  # a layer without its bias, and the logits
    for plain, decayed, kernel in zip(*after, kernels, strict=True):
        np.testing.assert_allclose(plain - decayed, 0.01 if kernel else 0.0, atol=1e-6)


def test_adamw_is_kerass_own() -> None:
    """After several steps; the embedding is frozen, because Keras squares the parts of its gradient."""
    ours = build(trainable_embedding=False, learning_rate=0.1, optimizer="adamw", weight_decay=0.3, gradient_clip=0.5)
    theirs = build(trainable_embedding=False)
    optimizer = keras.optimizers.AdamW(0.1, weight_decay=0.3, global_clipnorm=0.5)
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    theirs.compile(optimizer, keras.losses.CategoricalCrossentropy(from_logits=True), run_eagerly=True)
    for model in (ours, theirs):
        scramble(model)
        for width in (5, 6, 7):
            train_on_a_batch(model, width)
    for one, other in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("setting", SHAPES, ids=lambda setting: "-".join(map(str, setting.values())))
def test_a_layers_step_is_smaller_by_its_depth(setting: dict[str, Any]) -> None:
    """From a fresh optimizer a step is proportional to its rate."""
    plain, decayed = step(**setting), step(**setting, layer_rate_decay=0.5)
    assert any(np.abs(move).max() > 0 for move in plain[:-2])
    for full, part, depth in zip(plain, decayed, depths(setting), strict=True):
        np.testing.assert_allclose(part, full * 0.5**depth, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("setting", SHAPES, ids=lambda setting: "-".join(map(str, setting.values())))
def test_frozen_layers_keep_every_bit(setting: dict[str, Any]) -> None:
    """Also their kernels keep what weight decay would take; and in the end all layers are trained as without."""
    adamw = {"optimizer": "adamw", "weight_decay": 0.3} if setting["optimizer"] == "adam" else {}
    unfreezing = {**setting, **adamw, "gradual_unfreezing": 1, "epochs": 9}
    for move, depth in zip(step(**unfreezing), depths(setting), strict=True):
        assert (np.abs(move).max() > 0) == (depth == 0)
    for move, whole in zip(step(**unfreezing, first_epoch=False), step(**{**setting, **adamw}), strict=True):
        np.testing.assert_array_equal(move, whole)


def test_weight_decay_is_smaller_by_depth_too() -> None:
    """The decay of a kernel at depth 1 is half of 0.01, of the logits' kernel all of it."""
    after = []
    for decay in ({}, {"optimizer": "adamw", "weight_decay": 0.2}):
        model = build(learning_rate=0.1, layer_rate_decay=0.5, **decay)
        set_constant(model, 0.5)
        model.optimizer.layer_rates.assign([1.0, 0.5, 0.25])
        train_on_a_batch(model)
        after.append(model.get_weights())
    lost = [float((plain - decayed).max()) for plain, decayed in zip(*after, strict=True)]
    assert lost == pytest.approx([0, 0.005, 0.005, 0, 0.01, 0], abs=1e-6)


def test_without_rates_by_layer_there_is_no_variable_for_them() -> None:
    plain, layered = build(), build(layer_rate_decay=0.5)
    assert len(layered.optimizer.variables) == len(plain.optimizer.variables) + 1
    assert not hasattr(plain.optimizer, "layer_rates")
