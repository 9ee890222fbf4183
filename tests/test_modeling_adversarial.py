"""The added losses and their gradients, by hand and against a step that is written without any trick."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from covering import covering
from tiny_experiments import CELLS, make_experiment
from tiny_models import LABELS, TEXTS, make_embedding, make_tokens, scramble

from textrnn.errors import TextrnnError
from textrnn.modeling import adversarial, backend
from textrnn.modeling.adversarial import AdversarialClassifier, check_backend, passes, scaled
from textrnn.modeling.backend import keras
from textrnn.modeling.classifier import build_classifier

pytestmark = pytest.mark.skipif(keras.config.backend() != "tensorflow", reason="other backends refuse these losses")

IDS = make_tokens().padded(np.arange(5))
TARGETS = np.eye(2, dtype=np.float32)[LABELS]
LINEAR: dict[str, Any] = {"cell": "feedforward", "layers": 0, "readout": "mean"}
ALL: dict[str, Any] = {
    "perturbation": 0.7,
    "adversarial": 0.5,
    "virtual_adversarial": 2.0,
    "entropy_minimization": 0.3,
    "unlabelled_batch": 2,
}
SHAPES = covering(cell=CELLS, bidirectional=(False, True), layers=(1, 2), readout=("last", "max", "mean"))


def build(**changes: Any) -> keras.Model:
    model = build_classifier(make_experiment(**changes), make_embedding(), 2, seed=0)
    scramble(model)
    return model


def linear(bias: float, **changes: Any) -> keras.Model:
    """The vectors are zeros, and the difference of the logits has the gradient (2, 4, 4), of norm 6, by their mean."""
    model = build_classifier(make_experiment(**LINEAR, **changes), np.zeros((7, 3), np.float32), 2, seed=0)
    model.layers[-1].set_weights([np.array([[1, -1], [2, -2], [2, -2]]), np.array([bias, 0])])
    return model


def step(model: keras.Model, ids: np.ndarray = IDS, targets: np.ndarray = TARGETS) -> float:
    """Takes a training step, and returns its loss."""
    model.reset_metrics()
    convert = keras.ops.convert_to_tensor
    return float(model.train_step((convert(ids), convert(targets)))["loss"])


def gradients(model: keras.Model) -> list[np.ndarray]:
    """Those of the first step: Adam's first moment is 0.1 of them."""
    return [10 * value.numpy() for value in model.optimizer.variables if "momentum" in value.path]


# --- by hand ----------------------------------------------------------------------------------------------


def test_the_adversarial_loss_by_hand() -> None:
    """The difference of the logits is ln 3, and an r of norm 1 over four words moves it by 6 / √4, over one by 6.

    Label 0: ln 4/3, then ln(1 + e^3 / 3). Label 1: ln 4, then ln(1 + 3 e^6).
    """
    ids, targets = np.array([[2, 3, 4, 5], [6, 0, 0, 0]], np.int32), np.eye(2, dtype=np.float32)
    plain, added = (0.287682 + 1.386294) / 2, (2.040594 + 7.099438) / 2
    assert step(linear(np.log(3), perturbation=1.0, adversarial=1.0), ids, targets) == pytest.approx(plain + added)
    assert step(linear(np.log(3), perturbation=1.0, adversarial=0.5), ids, targets) == pytest.approx(plain + added / 2)


def test_weights_of_texts_apply_to_both_cross_entropies() -> None:
    """As above: the second text counts for nothing, and the first twice."""
    ids, targets = np.array([[2, 3, 4, 5], [6, 0, 0, 0]], np.int32), np.eye(2, dtype=np.float32)
    model = linear(np.log(3), perturbation=1.0, adversarial=1.0)
    loss = model.train_step((ids, targets, np.array([2, 0], np.float32)))["loss"]
    assert float(loss) == pytest.approx(0.287682 + 2.040594)


def test_the_virtual_adversarial_loss_by_hand() -> None:
    """Both classes have the probability 1/2: r moves that to σ(3) or σ(-3), of one word to σ(±6), with any label.

    KL((1/2, 1/2) || (q, 1 - q)) = -ln 2 - ln(q (1 - q)) / 2.
    """
    ids, targets = np.array([[2, 3, 4, 5], [6, 0, 0, 0]], np.int32), np.eye(2, dtype=np.float32)[:1]
    model = linear(0.0, perturbation=1.0, virtual_adversarial=2.0, unlabelled_batch=1)
    assert step(model, ids, targets) == pytest.approx(0.693147 + 2 * (0.855440 + 2.309329) / 2, rel=1e-5)


def test_the_entropy_of_unlabelled_texts_by_hand() -> None:
    """The probabilities are 3/4 and 1/4; the one text with a label counts for the cross-entropy alone."""
    for targets, cross_entropy in ((TARGETS[:1], 0.287682), (TARGETS[1:2], 1.386294)):
        model = linear(np.log(3), entropy_minimization=0.5, unlabelled_batch=4)
        assert step(model, targets=targets) == pytest.approx(cross_entropy + 0.5 * 0.562335, rel=1e-5)


def test_a_perturbation_has_the_norm_for_each_text_however_small_its_direction_is() -> None:
    direction = np.zeros((4, 2, 2), np.float32)
    direction[0] = [[3, 0], [0, 4]]
    direction[1] = [[3e-30, 0], [0, 4e-30]]  # squares that float32 cannot hold
    direction[2, 1] = [1e30, 0]
    found = keras.ops.convert_to_numpy(scaled(keras.ops.convert_to_tensor(direction), 10.0))
    expected = np.array([[[6, 0], [0, 8]], [[6, 0], [0, 8]], [[0, 0], [10, 0]], [[0, 0], [0, 0]]])
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_noise_is_zero_at_padding_and_does_not_depend_on_how_much_there_is() -> None:
    drawn = []
    for width in (5, 8):
        model = build(perturbation=1.0, virtual_adversarial=1.0)
        ids = keras.ops.convert_to_tensor(make_tokens().padded(np.arange(5)))
        ids = keras.ops.pad(ids, ((0, 0), (0, width - 5)))
        drawn.append(keras.ops.convert_to_numpy(model._noise(ids, model.embed(ids))))
    np.testing.assert_array_equal(drawn[1][:, :5], drawn[0])
    assert ((drawn[0] != 0) == (IDS != 0)[..., None]).all()
    assert (drawn[1][:, 5:] == 0).all()


# --- against a step without tricks ------------------------------------------------------------------------


def fixed_noise(self: AdversarialClassifier, ids: Any, vectors: Any) -> Any:
    """A number for each place and channel, the same in every batch."""
    time, features = vectors.shape[1:]
    numbers = np.sin(1.0 + np.arange(time)[:, None] + 3 * np.arange(features)[None])
    return keras.ops.cast(numbers[None] * (keras.ops.convert_to_numpy(ids) != 0)[..., None], "float32")


def naive(model: AdversarialClassifier, ids: np.ndarray, targets: np.ndarray) -> tuple[float, list[np.ndarray]]:
    """The loss and its gradients on one tape; the perturbations have tapes of their own."""
    import tensorflow as tf

    settings, labelled, ids = model.experiment, len(targets), tf.constant(ids)

    def unit(direction: tf.Tensor) -> tf.Tensor:
        length = tf.sqrt(tf.reduce_sum(direction**2, axis=(1, 2), keepdims=True))
        return tf.math.divide_no_nan(direction, length)  # a text may have no gradient: where units are off

    def cross_entropy(logits: tf.Tensor) -> tf.Tensor:
        return tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(targets, logits))

    def kl(logits: tf.Tensor, others: tf.Tensor) -> tf.Tensor:
        p = tf.stop_gradient(tf.nn.softmax(logits))
        return tf.reduce_sum(p * (tf.math.log(p) - tf.nn.log_softmax(others)), axis=1)

    def of(loss: Any, vectors: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            tape.watch(vectors)
            value = loss(vectors)
        return tf.stop_gradient(tape.gradient(value, vectors))

    def read(vectors: tf.Tensor) -> tf.Tensor:
        return model.network([ids, vectors], training=True)

    with tf.GradientTape() as tape:
        vectors = model.embed(ids, training=True)
        logits = read(vectors)
        worst = settings.perturbation * unit(of(lambda x: cross_entropy(read(x)[:labelled]), vectors)[:labelled])
        nothing = tf.zeros_like(vectors[labelled:])
        moved = read(vectors + tf.concat([worst, nothing], 0))[:labelled]
        small = adversarial.SMALL * unit(fixed_noise(model, ids, vectors))
        virtual = settings.perturbation * unit(of(lambda x: tf.reduce_sum(kl(logits, read(x))), vectors + small))
        p = tf.nn.softmax(logits[labelled:])
        loss = (
            cross_entropy(logits[:labelled])
            + sum(model.losses)
            + settings.adversarial * cross_entropy(moved)
            + settings.virtual_adversarial * tf.reduce_mean(kl(logits, read(vectors + virtual)))
            - settings.entropy_minimization * tf.reduce_mean(tf.reduce_sum(p * tf.math.log(p), axis=1))
        )
    found = tape.gradient(loss, [weight.value for weight in model.trainable_weights])
    return float(loss), [tf.convert_to_tensor(each).numpy() for each in found]


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: "-".join(map(str, shape.values())))
def test_loss_and_gradients_are_those_of_a_step_without_tricks(
    shape: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(AdversarialClassifier, "_noise", fixed_noise)
    frozen = shape["readout"] == "mean"
    model = build(**shape, **ALL, l2=0.01, trainable_embedding=not frozen)
    loss, expected = naive(model, IDS, TARGETS[:3])
    assert step(model, IDS, TARGETS[:3]) == pytest.approx(loss, rel=1e-5)
    found = gradients(model)
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert np.abs(one).max() > 1e-4
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: "-".join(map(str, shape.values())))
def test_a_padded_batch_has_the_mean_loss_of_its_texts(shape: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Each alone, without padding, and both in one batch with more padding than they need."""
    monkeypatch.setattr(AdversarialClassifier, "_noise", fixed_noise)
    losses = {**ALL, "entropy_minimization": 0.0, "unlabelled_batch": 0}
    rows = [2, 3]
    alone = [step(build(**shape, **losses), np.array([TEXTS[row]], np.int32), TARGETS[row : row + 1]) for row in rows]
    together = step(build(**shape, **losses), IDS[rows], TARGETS[rows])
    assert together == pytest.approx(np.mean(alone), rel=1e-5)


@pytest.mark.parametrize("added", [{"adversarial": 1.0}, {"virtual_adversarial": 100.0}], ids=str)
@pytest.mark.parametrize("of_states", ["recurrent_dropout", "recurrent_weight_dropout"])
@pytest.mark.parametrize("cell", CELLS[:3])
def test_all_passes_of_a_step_drop_the_same(cell: str, of_states: str, added: dict[str, float]) -> None:
    """With other masks a perturbation of nearly nothing would change much; the next step has other masks.

    The texts with a label, which the adversarial loss reads alone, have the masks that they have in the whole batch.
    """
    drops = {"cell": cell, "dropout": 0.5, of_states: 0.5, "spatial_dropout": 0.3}
    batch = {"unlabelled_batch": 2, "learning_rate": 1e-9}
    plain = build(**drops, entropy_minimization=1e-30, **batch)
    model = build(**drops, **batch, **added, perturbation=1e-6)
    expected = [step(plain, IDS, TARGETS[:3]) for _ in range(2)]
    found = [step(model, IDS, TARGETS[:3]) for _ in range(2)]
    times = 2 if "adversarial" in added else 1
    assert expected[0] != pytest.approx(expected[1], rel=5e-3)  # by more than what is compared next
    assert found == pytest.approx([times * each for each in expected], rel=1e-3)


# --- in the project ---------------------------------------------------------------------------------------


def test_without_an_added_loss_a_model_is_kerass_own() -> None:
    assert type(build()) is not AdversarialClassifier
    assert type(build(perturbation=5.0, unlabelled_batch=3)) is type(build())
    assert type(build(**ALL)) is AdversarialClassifier


def test_added_losses_change_no_weight_and_no_random_state_at_the_start() -> None:
    drops = {"dropout": 0.5, "recurrent_dropout": 0.5}
    plain, more = (build_classifier(make_experiment(**drops, **each), make_embedding(), 2, 3) for each in ({}, ALL))
    for one, other in zip(plain.get_weights(), more.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    states = [
        [variable.numpy().tolist() for variable in model.variables if variable.name == "seed_generator_state"]
        for model in (plain, more)
    ]
    assert all(state in states[1] for state in states[0])
    assert len(states[1]) == len(states[0]) + 1


def test_the_cost_of_a_step_in_forward_passes() -> None:
    """Of texts with a label, and of those without."""
    assert passes(make_experiment()) == (3, 3)
    assert passes(make_experiment(adversarial=1.0, perturbation=5.0)) == (6, 3)
    assert passes(make_experiment(virtual_adversarial=1.0, perturbation=5.0)) == (8, 8)
    assert passes(make_experiment(**ALL)) == (11, 8)


@pytest.mark.parametrize(("name", "value"), [("name", "jax"), ("precision", "mixed_bfloat16")])
def test_other_backends_and_precisions_are_refused(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setattr(backend, name, value)
    check_backend(make_experiment())
    with pytest.raises(TextrnnError) as error:
        check_backend(make_experiment(**ALL))
    assert str(error.value) == (
        "adversarial, virtual_adversarial, entropy_minimization need TensorFlow in float32. Received: "
        f"{backend.name} in {backend.precision}. Unset KERAS_BACKEND and TEXTRNN_PRECISION, or set these weights to 0."
    )
