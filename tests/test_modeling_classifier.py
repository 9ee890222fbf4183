"""The classifier against the textbook equations, its indifference to padding, and every knob it has."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from itertools import product
from typing import Any

import numpy as np
import pytest
from covering import covering
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_experiments import CELLS, RECURRENT_CELLS, make_experiment
from tiny_models import LABELS, TEXTS, make_embedding, make_tokens, scramble, set_constant

from textrnn.config.experiment import Experiment
from textrnn.config.validation import validate
from textrnn.errors import TextrnnError
from textrnn.modeling import batches, optimizers, recurrence
from textrnn.modeling.backend import keras, train_function
from textrnn.modeling.batches import predict
from textrnn.modeling.classifier import build_classifier
from textrnn.modeling.layers import Attention

READOUTS = ("last", "max", "mean", "concat", "attention")
TARGETS = np.eye(2, dtype=np.float32)[LABELS]
LONG_TEXTS = [[1, 2, 3, 4, 5, 6, 1, 3, 2, 2, 4], [6, 5, 4, 3, 2, 1], [3] * 5]
"""Two rounds of the recurrent loop and more; and three windows of the pooling, two, and just one."""

Shape = tuple[str, bool, int, str]
SHAPES: list[Shape] = [
    *product(RECURRENT_CELLS, (False, True), (1, 2), READOUTS),
    *product(("conv1d", "feedforward"), (False,), (1, 2), READOUTS),
]
COVERING: list[Shape] = [
    tuple(setting.values())
    for setting in covering(cell=CELLS, bidirectional=(False, True), layers=(1, 2), readout=READOUTS)
]
SOME_SHAPES: list[Shape] = [
    ("simple_rnn", False, 1, "max"),
    ("simple_rnn", True, 2, "mean"),
    ("lstm", False, 2, "last"),
    ("lstm", True, 1, "max"),
    ("gru", False, 1, "mean"),
    ("gru", True, 2, "last"),
    ("gru", True, 1, "attention"),
    ("lstm", True, 1, "concat"),
    ("conv1d", False, 2, "max"),
    ("feedforward", False, 2, "mean"),
]


def build(classes: int = 2, seed: int = 0, **changes: Any) -> keras.Model:
    """A model that runs without a graph: tracing one takes far longer than these few steps."""
    model = build_classifier(make_experiment(**changes), make_embedding(), classes, seed)
    model.run_eagerly = True
    return model


def as_changes(cell: str, bidirectional: bool, layers: int, readout: str) -> dict[str, Any]:
    return {"cell": cell, "bidirectional": bidirectional, "layers": layers, "readout": readout}


@cache
def scrambled(*shape: Any) -> keras.Model:
    model = build(**as_changes(*shape))
    scramble(model)
    return model


@cache
def tuned(*shape: Any) -> keras.Model:
    """As `scrambled`, one large step of fine-tuning later."""
    model = build(learning_rate=0.5, **as_changes(*shape))
    scramble(model)
    train_on_a_batch(model)
    return model


def padded(texts: list[list[int]], width: int) -> np.ndarray:
    return np.array([text + [0] * (width - len(text)) for text in texts], np.int32)


def train_on_a_batch(model: keras.Model) -> float:
    """Returns the loss; the texts are of lengths 1, 2 and 3."""
    return model.train_on_batch(padded(TEXTS[1:4], 4), TARGETS[1:4], return_dict=True)["loss"]


def logits(model: keras.Model, ids: np.ndarray) -> np.ndarray:
    return keras.ops.convert_to_numpy(model(ids, training=False))


# --- the textbook equations -------------------------------------------------------------------------------


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def run_simple_rnn(x: np.ndarray, kernel: np.ndarray, recurrent: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """Elman (1990): h = tanh(W x + U h + b)."""
    states = [np.zeros(len(recurrent))]
    for word in x:
        states.append(np.tanh(word @ kernel + states[-1] @ recurrent + bias))
    return np.array(states[1:])


def run_lstm(x: np.ndarray, kernel: np.ndarray, recurrent: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """Hochreiter & Schmidhuber (1997) with the forget gate of Gers et al. (2000)."""
    hidden = memory = np.zeros(len(recurrent))
    states = []
    for word in x:
        i, f, c, o = np.split(word @ kernel + hidden @ recurrent + bias, 4)
        memory = sigmoid(f) * memory + sigmoid(i) * np.tanh(c)
        hidden = sigmoid(o) * np.tanh(memory)
        states.append(hidden)
    return np.array(states)


def run_gru(x: np.ndarray, kernel: np.ndarray, recurrent: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """Cho et al. (2014) as cuDNN has it: the reset gate comes after the product, which has its own bias."""
    hidden = np.zeros(len(recurrent))
    states = []
    for word in x:
        from_input = np.split(word @ kernel + bias[0], 3)
        from_state = np.split(hidden @ recurrent + bias[1], 3)
        update, reset = (sigmoid(a + b) for a, b in zip(from_input[:2], from_state[:2], strict=True))
        candidate = np.tanh(from_input[2] + reset * from_state[2])
        hidden = update * hidden + (1 - update) * candidate
        states.append(hidden)
    return np.array(states)


def run_convolution(x: np.ndarray, kernel: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """Seven words wide, zeros on both sides, ReLU."""
    around = np.pad(x, ((3, 3), (0, 0)))
    windows = [np.tensordot(around[start : start + 7], kernel, 2) for start in range(len(x))]
    return np.maximum(np.array(windows) + bias, 0)


RUN = {"simple_rnn": run_simple_rnn, "lstm": run_lstm, "gru": run_gru, "conv1d": run_convolution}


def read(directions: list[np.ndarray], readout: str, attention: list[np.ndarray]) -> np.ndarray:
    if readout == "attention":
        kernel, bias, query = attention
        words = aligned(directions)
        shares = np.exp(np.tanh(words @ kernel + bias) @ query)
        return (shares * words).sum(axis=0) / shares.sum()
    kinds: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "last": lambda states: states[-1],
        "max": lambda states: states.max(axis=0),
        "mean": lambda states: states.mean(axis=0),
        "concat": lambda states: np.concatenate([states[-1], states.max(axis=0), states.mean(axis=0)]),
        "flatten": np.ravel,
    }
    return np.concatenate([kinds[readout](states) for states in directions])


def aligned(directions: list[np.ndarray]) -> np.ndarray:
    """What both directions make of each word; the second one has the words in reverse."""
    return np.concatenate([directions[0], *(states[::-1] for states in directions[1:])], axis=1)


def weights_as_built(model: keras.Model) -> list[np.ndarray]:
    """Float64, attention first, then the layers as `build_classifier` makes them: Keras' order has a twin first."""
    attention = [layer for layer in model.layers if isinstance(layer, Attention)]
    others = {"embedding", "logits", *(layer.name for layer in attention)}
    cells = [layer for layer in model.layers if layer.weights and layer.name not in others]
    cells.sort(key=lambda layer: int("0" + layer.name.rpartition("_")[2].strip("abcdefghijklmnopqrstuvwxyz")))
    layers = [model.get_layer("embedding"), *attention, *cells, model.get_layer("logits")]
    return [weight.astype(np.float64) for layer in layers for weight in layer.get_weights()]


def encode(
    x: np.ndarray, weights: list[np.ndarray], experiment: Experiment
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """What is read of the words x, one array per direction, and the weights that are left."""
    directions = [x]
    if experiment.cell == "feedforward":
        return directions, weights
    run = RUN[experiment.cell]
    size = 2 if experiment.cell == "conv1d" else 3
    for _ in range(experiment.layers):
        directions, weights = [run(x, *weights[:size])], weights[size:]
        if experiment.bidirectional:
            directions, weights = [*directions, run(x[::-1], *weights[:size])], weights[size:]
        x = aligned(directions)
        if experiment.cell == "conv1d":
            x = np.array([x[start : start + 5].max(axis=0) for start in range(0, len(x), 5)])
    return directions, weights


def compute(model: keras.Model, text: list[int], experiment: Experiment) -> np.ndarray:
    """The logits of one text, with no batch and no padding anywhere, in float64."""
    embedding, *weights, head, head_bias = weights_as_built(model)
    attention = weights[:3] if experiment.readout == "attention" else []
    directions, dense = encode(embedding[text], weights[len(attention) :], experiment)
    features = read(directions, experiment.readout, attention)
    for kernel, bias in zip(dense[::2], dense[1::2], strict=True):
        features = np.maximum(features @ kernel + bias, 0)
    return features @ head + head_bias


# Two words, (1, 0, -2) and (2, 1, 0), of which every kernel of 0.5 makes -0.5 and 1.5; two units, so
# every recurrent kernel of 0.25 makes half of h; every bias is 0.
TWO_WORDS = np.array([[[1, 0, -2], [2, 1, 0]]], np.float32)
CONSTANT = {
    # tanh(-0.5); tanh(1.5 + 0.5 * -0.462117) = tanh(1.268941)
    "simple_rnn": [-0.462117, 0.853510],
    # gate = sigmoid(-0.5) = 0.377541, c = gate * tanh(-0.5) = -0.174468, h = gate * tanh(c);
    # a = 1.5 + 0.5 h = 1.467396, gate = sigmoid(a) = 0.812641, c = gate * (c + tanh(a)), h = gate * tanh(c)
    "lstm": [-0.065208, 0.429961],
    # h = (1 - 0.377541) * tanh(-0.5); a = 1.5 + 0.5 h = 1.356175, gate = sigmoid(a) = 0.795149,
    # h = gate * h + (1 - gate) * tanh(1.5 + gate * 0.5 h)
    "gru": [-0.287649, -0.047989],
}


@pytest.mark.parametrize("cell", RECURRENT_CELLS)
def test_constant_weights_by_hand(cell: str) -> None:
    layer = recurrence.CELLS[cell](2, return_sequences=True)
    layer.build(TWO_WORDS.shape)
    kernel, recurrent, bias = layer.get_weights()
    weights = [np.full_like(kernel, 0.5), np.full_like(recurrent, 0.25), np.zeros_like(bias)]
    layer.set_weights(weights)
    states = keras.ops.convert_to_numpy(layer(TWO_WORDS))[0]
    np.testing.assert_allclose(states, np.array([CONSTANT[cell]] * 2).T, atol=1e-6)
    np.testing.assert_allclose(states, RUN[cell](TWO_WORDS[0], *weights), atol=1e-6)


@pytest.mark.parametrize("loop", ["fast", "Keras'"])
@pytest.mark.parametrize("cell", RECURRENT_CELLS)
def test_each_batch_does_without_a_part_of_the_recurrent_weights(
    monkeypatch: pytest.MonkeyPatch, cell: str, loop: str
) -> None:
    """The same part for all its texts and steps; what stays is scaled by 1 / (1 - 0.75). Scoring takes all weights."""
    if loop == "Keras'":
        monkeypatch.setattr(recurrence, "on_cpu_tensorflow", False)
    keras.utils.set_random_seed(0)
    layer = recurrence.CELLS[cell](5, return_sequences=True, recurrent_weight_dropout=0.75)
    layer.build((2, None, 3))
    rng = np.random.default_rng(0)
    kernel, recurrent, bias = (rng.normal(0, 0.2, weight.shape) for weight in layer.weights)
    layer.set_weights([kernel, recurrent, bias])
    texts = make_embedding()[np.array([[2, 3, 4, 5, 6, 2], [6, 4, 4, 2, 1, 3]])]
    masks = []
    for _ in range(2):
        state = keras.ops.convert_to_numpy(layer.weight_seeds.state)
        seeds = keras.random.SeedGenerator(0)
        seeds.state.assign(state)
        masks.append(
            keras.ops.convert_to_numpy(keras.random.dropout(np.ones(recurrent.shape, np.float32), 0.75, seed=seeds))
        )
        assert set(np.unique(masks[-1])) == {0, 4}
        states = keras.ops.convert_to_numpy(layer(texts, training=True))
        expected = [RUN[cell](text, kernel, recurrent * masks[-1], bias) for text in texts]
        np.testing.assert_allclose(states, expected, atol=2e-6)
    assert (masks[0] != masks[1]).any()
    states = keras.ops.convert_to_numpy(layer(texts, training=False))
    np.testing.assert_allclose(states, [RUN[cell](text, kernel, recurrent, bias) for text in texts], atol=2e-6)
    np.testing.assert_array_equal(layer.get_weights()[1], recurrent.astype(np.float32))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_logits_follow_the_textbook(shape: Shape) -> None:
    """Each text is computed alone; the model has them in one batch, all of them padded."""
    model, texts = scrambled(*shape), [*TEXTS, *LONG_TEXTS]
    expected = [compute(model, text, make_experiment(**as_changes(*shape))) for text in texts]
    np.testing.assert_allclose(logits(model, padded(texts, 13)), expected, atol=2e-6)


@pytest.mark.parametrize(
    "shape", [*SOME_SHAPES, ("feedforward", False, 0, "flatten"), ("lstm", True, 1, "flatten")], ids=str
)
def test_left_padding_is_read_like_words(shape: Shape) -> None:
    """As Keras' layers without a mask do: zeros in front are words, with a vector that is trained."""
    experiment = make_experiment(**as_changes(*shape), padding="left", max_tokens=5)
    model = build_classifier(experiment, make_embedding(), 2, 0)
    model.run_eagerly = True
    scramble(model)
    weights = model.get_weights()
    weights[0][0] = [0.3, -0.4, 0.5]
    model.set_weights(weights)
    texts = [[0] * (5 - len(text)) + text for text in TEXTS]
    expected = [compute(model, text, experiment) for text in texts]
    np.testing.assert_allclose(logits(model, np.array(texts, np.int32)), expected, atol=2e-6)
    model.train_on_batch(np.array(texts, np.int32), TARGETS)
    assert (model.get_weights()[0][0] != weights[0][0]).any()


# --- padding ----------------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(
    network=st.sampled_from([*((scrambled, shape) for shape in SHAPES), *((tuned, shape) for shape in SOME_SHAPES)]),
    text=st.lists(st.integers(1, 6), min_size=1, max_size=6),
    neighbour=st.lists(st.integers(1, 6), min_size=1, max_size=6),
    extra=st.integers(0, 3),
)
def test_extra_padding_never_changes_a_prediction(
    network: tuple[Callable[..., keras.Model], Shape], text: list[int], neighbour: list[int], extra: int
) -> None:
    make, shape = network
    model = make(*shape)
    alone = logits(model, np.array([text], np.int32))[0]
    width = max(len(text), len(neighbour)) + extra
    batch = logits(model, padded([neighbour, text], width))
    np.testing.assert_allclose(batch[1], alone, rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize("shape", SOME_SHAPES, ids=str)
def test_fine_tuning_leaves_the_padding_row_zero(shape: Shape) -> None:
    before = scrambled(*shape).get_weights()[0]
    after = tuned(*shape).get_weights()[0]
    assert (after[0] == 0).all()
    assert not np.array_equal(after[1:], before[1:])


@pytest.mark.skipif(keras.config.backend() != "tensorflow", reason="it takes the gradients with TensorFlow's tape")
@pytest.mark.parametrize("shape", COVERING, ids=str)
def test_gradients_of_a_padded_batch_are_the_mean_of_its_texts(shape: Shape) -> None:
    """As a training step takes them. Of texts that are several rounds of the loop long, one shorter than the other."""
    import tensorflow as tf

    model = scrambled(*shape)

    def gradients(ids: np.ndarray, targets: np.ndarray) -> list[np.ndarray]:
        with tf.GradientTape() as tape:
            loss = model.compute_loss(y=targets, y_pred=model(ids, training=True))
        found = tape.gradient(loss, [weight.value for weight in model.trainable_weights])
        return [keras.ops.convert_to_numpy(tf.convert_to_tensor(gradient)) for gradient in found]

    texts, targets = LONG_TEXTS[:2], TARGETS[:2]
    each = [gradients(np.array([text]), targets[row : row + 1]) for row, text in enumerate(texts)]
    together = gradients(padded(texts, 13), targets)
    assert (together[0][0] == 0).all()
    for index, gradient in enumerate(together):
        assert np.abs(gradient).max() > 1e-4  # there is something to compare
        np.testing.assert_allclose(gradient, np.mean([one[index] for one in each], axis=0), atol=2e-6)


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("cell", RECURRENT_CELLS)
def test_successive_outputs_of_the_last_layer_add_to_the_loss(cell: str, bidirectional: bool) -> None:
    """The mean over texts of what each has alone, whatever they are padded to; both directions count alike."""
    changes = as_changes(cell, bidirectional, 2, "last")
    losses = []
    for weight in (0.0, 0.3):
        model = build(temporal_activation_regularization=weight, **changes)
        scramble(model)
        losses.append(model.test_on_batch(padded(TEXTS, 9), TARGETS, return_dict=True)["loss"])
    embedding, *weights = weights_as_built(model)
    each = []
    for text in TEXTS:
        directions, _ = encode(embedding[text], weights, make_experiment(**changes))
        squares = np.square(np.diff(directions, axis=1))
        each.append(squares.mean() if squares.size else 0)
    assert losses[1] - losses[0] == pytest.approx(0.3 * np.mean(each), rel=1e-4)


def test_predict_gives_each_text_what_it_gets_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches of similar length, the last one smaller: probabilities come back in the rows' own order."""
    monkeypatch.setattr(batches, "PREDICTION_BATCH", 2)
    model = build(cell="simple_rnn", readout="mean", classes=3)
    scramble(model)
    model.run_eagerly = False
    texts = [[5, 2, 3], [1], [4, 4], [6, 5, 4, 3, 2], [2], [3, 1], [6]]
    probabilities = predict(model, make_tokens(texts, [0] * 7))
    assert probabilities.dtype == np.float32
    exponents = np.exp([logits(model, np.array([text]))[0] for text in texts])
    np.testing.assert_allclose(probabilities, exponents / exponents.sum(axis=1, keepdims=True), atol=2e-6)


# --- knobs ------------------------------------------------------------------------------------------------

# Between them, the settings give every knob a value of its own.
KNOBS: dict[str, dict[str, Any]] = {
    "architecture": {"trainable_embedding": False, "units": 5, "layers": 3, "readout": "mean"},
    "dropouts": {"embedding_dropout": 0.5, "spatial_dropout": 0.4, "dropout": 0.3, "readout": "max"},
    "training": {
        "l2": 0.1,
        "label_smoothing": 0.2,
        "gradient_clip": 0.5,
        "ema": 0.9,
        "early_stopping": 1,
        "optimizer": "rmsprop",
        "learning_rate": 0.3,
    },
    "rates": {"optimizer": "adamw", "weight_decay": 0.1, "layer_rate_decay": 0.4},
    "added losses": {
        "normalize_embedding": True,
        "perturbation": 0.5,
        "adversarial": 1.0,
        "virtual_adversarial": 1.0,
    },
    "reading": {"max_tokens": 4, "keep": "end", "reverse": True, "padding": "left", "readout": "flatten"},
    "recurrent": {
        "bidirectional": True,
        "recurrent_dropout": 0.5,
        "recurrent_weight_dropout": 0.4,
        "layer_dropout": 0.3,
        "temporal_activation_regularization": 0.2,
        "layers": 2,
    },
}


def test_knobs_are_complete() -> None:
    tried = {key for setting in KNOBS.values() for key in setting}
    of_the_trainer = {
        "batch_size",
        "class_weights",
        "entropy_minimization",
        "epochs",
        "gradual_unfreezing",
        "hard_targets",
        "held_out",
        "pretrained_layers",
        "rare_word_dropout",
        "refit",
        "schedule",
        "teacher",
        "train_examples",
        "unlabelled_batch",
        "warm_up",
    }
    assert tried == set(Experiment.model_fields) - {"cell", "embedding"} - of_the_trainer


@pytest.mark.parametrize("knobs", KNOBS)
@pytest.mark.parametrize("cell", CELLS)
def test_every_knob_trains_with_every_cell(cell: str, knobs: str) -> None:
    if knobs == "recurrent" and cell not in RECURRENT_CELLS:
        return  # refused: see below
    model = build(cell=cell, **KNOBS[knobs])
    before = model.get_weights()
    assert np.isfinite(train_on_a_batch(model))
    changed = [not np.array_equal(old, new) for old, new in zip(before, model.get_weights(), strict=True)]
    assert changed[-1]
    assert changed[0] == (knobs != "architecture")


@pytest.mark.parametrize("cell", ["conv1d", "feedforward"])
@pytest.mark.parametrize(
    "knob",
    [
        {"bidirectional": True},
        {"recurrent_dropout": 0.5},
        {"recurrent_weight_dropout": 0.5},
        {"layer_dropout": 0.5},
        {"temporal_activation_regularization": 0.5},
    ],
    ids=lambda knob: next(iter(knob)),
)
def test_recurrent_knobs_are_refused_without_recurrence(cell: str, knob: dict[str, Any]) -> None:
    content = {**make_experiment().model_dump(), "cell": cell, **knob}
    name = next(iter(knob))
    with pytest.raises(TextrnnError) as error:
        validate(Experiment, content, "params.yaml: experiments.mine")
    assert str(error.value) == (
        f"params.yaml: experiments.mine: {name} needs a recurrent cell (simple_rnn, lstm, gru), "
        f"and cell is {cell}: switch {name} off or change the cell."
    )


@pytest.mark.parametrize(
    ("knob", "units_kept_together"),
    [("embedding_dropout", "word"), ("spatial_dropout", "channel")],
)
def test_dropout_takes_whole_words_or_whole_channels(knob: str, units_kept_together: str) -> None:
    """The mean of `ones` shows what was dropped: a word's share of it, or a channel altogether."""
    model = build(cell="feedforward", readout="mean", **{knob: 0.5})
    dropped = keras.Model(model.inputs, next(x for x in model.layers if "dropout" in x.name).output)
    weights = model.get_weights()
    weights[0][1:] = 1
    model.set_weights(weights)
    ids = np.full((40, 5), 3, np.int32)
    ones = keras.ops.convert_to_numpy(dropped([ids], training=True))
    assert set(np.unique(ones)) == {0, 2}  # what stays is scaled by 1 / (1 - 0.5)
    axis = 2 if units_kept_together == "word" else 1
    assert (ones.min(axis=axis) == ones.max(axis=axis)).all()
    assert 0.3 < ones.mean() / 2 < 0.7
    assert (ones.std(axis=3 - axis) > 0).any()


@pytest.mark.parametrize("bidirectional", [False, True])
def test_between_layers_a_channel_is_dropped_for_a_whole_text(bidirectional: bool) -> None:
    model = build(cell="gru", layers=3, bidirectional=bidirectional, layer_dropout=0.75)
    scramble(model)
    dropouts = [layer for layer in model.layers if "dropout" in layer.name]
    assert len(dropouts) == 2  # of three layers
    for dropout in dropouts:
        before_and_after = keras.Model(model.inputs, [dropout.input, dropout.output])
        outputs = before_and_after([np.full((40, 5), 3, np.int32)], training=True)
        before, after = (keras.ops.convert_to_numpy(each) for each in outputs)
        factors = np.round(after / before, 4)
        assert set(np.unique(factors)) == {0, 4}
        assert (factors.min(axis=1) == factors.max(axis=1)).all()
        assert (factors.std(axis=0) > 0).all() and (factors.std(axis=2) > 0).any()


# Every weight is 0.5, so each of a kernel adds 0.25 to the sum of squares: dimension 3, units 2, classes 2.
@pytest.mark.parametrize(
    ("cell", "readout", "weights"),
    [
        ("simple_rnn", "last", 3 * 2 + 2 * 2 + 2 * 2),
        ("lstm", "last", 3 * 8 + 2 * 8 + 2 * 2),
        ("gru", "last", 3 * 6 + 2 * 6 + 2 * 2),
        ("conv1d", "last", 7 * 3 * 2 + 2 * 2),
        ("feedforward", "last", 3 * 2 + 2 * 2),
        ("lstm", "attention", 3 * 8 + 2 * 8 + 2 * 2 + 2 + 2 * 2),
    ],
)
def test_l2_adds_the_kernels_squares_and_nothing_else(cell: str, readout: str, weights: int) -> None:
    losses = []
    for l2 in (0.0, 0.01):
        model = build(cell=cell, readout=readout, l2=l2)
        set_constant(model, 0.5)
        losses.append(model.test_on_batch(padded(TEXTS, 5), TARGETS, return_dict=True)["loss"])
    assert losses[1] - losses[0] == pytest.approx(0.01 * weights * 0.25, rel=1e-5)


def test_label_smoothing_moves_the_targets() -> None:
    """Probabilities 3/4 and 1/4 for any text: -ln 3/4, and with targets 0.9 and 0.1 the mixture."""
    for smoothing, expected in ((0.0, 0.287682), (0.2, 0.9 * 0.287682 + 0.1 * 1.386294)):
        model = build(label_smoothing=smoothing)
        set_constant(model, 0.0)
        model.layers[-1].set_weights([np.zeros((2, 2)), np.log([3.0, 1.0])])
        loss = model.test_on_batch(padded(TEXTS, 5), np.eye(2)[[0] * 5], return_dict=True)["loss"]
        assert loss == pytest.approx(expected, rel=1e-5)


def test_weights_of_examples_weigh_smoothed_targets_too() -> None:
    """With targets 0.9 and 0.1 the losses are 0.397543 and 1.276433; weights 0.5 and 2, mean over two texts."""
    model = build(label_smoothing=0.2)
    set_constant(model, 0.0)
    model.layers[-1].set_weights([np.zeros((2, 2)), np.log([3.0, 1.0])])
    weights = np.array([0.5, 2.0], np.float32)
    metrics = train_function(model, weighted=True)(padded(TEXTS[:2], 4), np.eye(2, dtype=np.float32), weights)
    assert float(metrics["loss"]) == pytest.approx((0.5 * 0.397543 + 2 * 1.276433) / 2, rel=1e-5)
    assert float(metrics["accuracy"]) == 0.5


def moments_after_one_step(model: keras.Model) -> dict[str, list[np.ndarray]]:
    """Adam's first moment is 0.1 of the first gradient, its second 0.001 of that gradient's square."""
    model.train_on_batch(padded(TEXTS, 5), TARGETS)
    return {
        kind: [value.numpy() for value in model.optimizer.variables if kind in value.path]
        for kind in ("momentum", "velocity")
    }


def test_a_word_that_occurs_often_in_a_batch_has_one_gradient() -> None:
    """Its square is that of the sum over places, not a sum of squares: words 2 to 6 occur repeatedly."""
    model = build()
    scramble(model)
    moments = moments_after_one_step(model)
    for first, second in zip(moments["momentum"], moments["velocity"], strict=True):
        np.testing.assert_allclose(second / 0.001, np.square(first / 0.1), rtol=1e-4, atol=1e-9)


def test_the_fused_adam_is_kerass_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """After several steps, so that the moments and their correction count."""

    def trained() -> list[np.ndarray]:
        model = build(learning_rate=0.1)
        scramble(model)
        for width in (5, 6, 7):
            model.train_on_batch(padded(TEXTS, width), TARGETS)
        return list(model.get_weights())

    fused = trained()
    monkeypatch.setattr(optimizers, "has_fused_adam", False)
    for ours, theirs in zip(fused, trained(), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)


def test_gradient_clip_bounds_the_step_and_the_history_has_the_norm_before() -> None:
    def norms(clip: float | None) -> tuple[float, float]:
        model = build(gradient_clip=clip)
        scramble(model)
        moments = moments_after_one_step(model)["momentum"]
        given = 10 * np.sqrt(sum(np.square(moment).sum() for moment in moments))
        return float(given), float(model.optimizer.gradient_norms.numpy())

    free, seen = norms(None)
    assert seen == pytest.approx(free, rel=1e-4)
    assert seen > 0.05
    assert norms(0.05) == (pytest.approx(0.05, rel=1e-4), pytest.approx(seen, rel=1e-5))
    assert norms(100.0) == (pytest.approx(free, rel=1e-4), pytest.approx(seen, rel=1e-5))


def test_weights_follow_the_seed_and_the_embedding_is_what_was_given() -> None:
    first, again, other = (build(seed=seed, cell="gru").get_weights() for seed in (1, 1, 2))
    np.testing.assert_array_equal(first[0], make_embedding())
    for one, same in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, same)
    assert not np.array_equal(first[1], other[1])


@pytest.mark.parametrize("cell", ["lstm", "feedforward"])
def test_fixed_rows_are_read_in_scoring_and_neither_seen_nor_changed_by_training(cell: str) -> None:
    """Words 5 and 6 are fixed: scoring is that of a model with all rows alike, and a training step leaves them."""
    readout = "mean" if cell == "feedforward" else "last"
    experiment = make_experiment(cell=cell, readout=readout, learning_rate=0.5)
    whole = build_classifier(experiment, make_embedding(), 2, seed=3)
    apart = build_classifier(experiment, make_embedding(), 2, seed=3, fixed_rows=2)
    whole.run_eagerly = apart.run_eagerly = True
    ids = np.array([[2, 5, 6], [3, 4, 0]], np.int32)
    np.testing.assert_array_equal(apart.predict_on_batch(ids), whole.predict_on_batch(ids))
    seen = np.array([[2, 3, 4], [3, 4, 0]], np.int32)
    targets = np.eye(2, dtype=np.float32)
    for model in (whole, apart):
        model.train_on_batch(seen, targets)
    layer = apart.get_layer("embedding")
    after = np.concatenate([keras.ops.convert_to_numpy(layer.embeddings), keras.ops.convert_to_numpy(layer.fixed)])
    np.testing.assert_array_equal(after, whole.get_weights()[0])
    np.testing.assert_array_equal(after[5:], make_embedding()[5:])
    assert not np.allclose(after[2:5], make_embedding()[2:5])
