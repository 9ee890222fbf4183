"""A training step that adds losses on texts whose vectors are perturbed, and on texts without a label.

Adversarial and virtual adversarial training of the embedded sequence are those of Miyato, Dai & Goodfellow (ICLR 2017),
entropy minimization that of Grandvalet & Bengio (NeurIPS 2004); all with labels are what Sachan, Zaheer & Salakhutdinov
(AAAI 2019) train with.

A network is read once for each loss, since a perturbation depends on a gradient of the pass before. One backward pass
through the labelled texts gives both the weights' gradients and the adversarial direction, and the vectors' gradients
of all passes are added before they reach the embedding. Perturbations are constants: nothing has a second derivative.
"""

from collections.abc import Callable
from typing import Any

from textrnn.config.experiment import Experiment
from textrnn.errors import TextrnnError
from textrnn.modeling import backend
from textrnn.modeling.backend import keras
from textrnn.modeling.cost import FORWARD_AND_BACKWARD
from textrnn.modeling.layers import time_major
from textrnn.text.vocabulary import PADDING

ops = keras.ops
Tensor = Any
Read = Callable[[Tensor], Tensor]

SMALL = 0.1
"""L2 norm of the step at whose end the virtual adversarial direction is measured, as in the code of Miyato et al."""

WEIGHTS = ("adversarial", "virtual_adversarial", "entropy_minimization")
"""The settings that add a loss."""


def adds_losses(experiment: Experiment) -> bool:
    """Returns whether any of the `WEIGHTS` is on."""
    return any(getattr(experiment, weight) for weight in WEIGHTS)


def check_backend(experiment: Experiment) -> None:
    """Raises `TextrnnError` if `experiment` adds losses, and this backend or precision cannot train with them.

    Each backend has gradients of its own; and bfloat16 would round `SMALL`, spread over a text, away.
    """
    if adds_losses(experiment) and (backend.name, backend.precision) != ("tensorflow", "float32"):
        raise TextrnnError(
            f"{', '.join(WEIGHTS)} need TensorFlow in float32. Received: {backend.name} in {backend.precision}. "
            "Unset KERAS_BACKEND and TEXTRNN_PRECISION, or set these weights to 0."
        )


def passes(experiment: Experiment) -> tuple[int, int]:
    """Returns the cost of a step for a labelled and for an unlabelled text, in forward passes.

    Each loss on perturbed texts costs as much as a plain step; the virtual adversarial direction two passes, forwards
    and backwards without the gradients of weights.
    """
    every = FORWARD_AND_BACKWARD + (2 + FORWARD_AND_BACKWARD if experiment.virtual_adversarial else 0)
    return every + (FORWARD_AND_BACKWARD if experiment.adversarial else 0), every


class AdversarialClassifier(keras.Model):
    """The model from `ids` to `logits`, trained with the losses that `experiment` adds.

    A training step takes ids `int32 [batch, time]` and targets `float32 [labelled, classes]`, which are those of the
    first texts; the others have no label. Its loss is the sum of

    - what it is without this class: cross-entropy and regularizers;
    - `adversarial` times the cross-entropy at vectors + r, where r has the direction of the first loss' gradient;
    - `virtual_adversarial` times the divergence KL(p || p at vectors + r), where p is constant, and r has the direction
      of this divergence's gradient at the end of a small random step (one power iteration);
    - `entropy_minimization` times the entropy of p, of the texts without a label.

    Each is the mean over its texts. The r of a text, over all its words, has the L2 norm `perturbation`.

    What is perturbed is `vectors`, float32 [batch, time, features]: what the first layer reads, behind the dropout of
    words and channels, as in the code of Miyato et al. All passes of a step have the same dropout masks: the difference
    of two masks would outweigh that of a small step.
    """

    def __init__(self, ids: Tensor, vectors: Tensor, logits: Tensor, experiment: Experiment) -> None:
        super().__init__(ids, logits)
        self.experiment = experiment
        self.embed = keras.Model(ids, vectors)
        self.network = keras.Model([ids, vectors], logits)
        self.noise = keras.random.SeedGenerator()

    def train_step(self, data: tuple[Tensor, ...]) -> dict[str, Tensor]:
        """Overrides what Keras does with TensorFlow. Behind ids and targets, `data` may have weights [labelled]."""
        ids, targets, of_texts = keras.utils.unpack_x_y_sample_weight(data)
        ids, labelled = ops.convert_to_tensor(ids), ops.shape(targets)[0]
        of_embedding = len(self.embed.trainable_weights)
        rows, weights = self.trainable_weights[:of_embedding], self.trainable_weights[of_embedding:]
        with backend.tensorflow.GradientTape() as lookup:
            vectors = self.embed(ids, training=True)
        read = self._reader(ids)
        with backend.tensorflow.GradientTape() as tape:
            tape.watch(vectors)
            logits = read(vectors)
            loss = self.compute_loss(ids, targets, logits[:labelled], of_texts)
            if self.experiment.entropy_minimization:
                loss += self.experiment.entropy_minimization * ops.mean(entropy(logits[labelled:]))
        gradients = tape.gradient(loss, [*weights, vectors])
        if perturbed := self._perturbed_losses(read, ids, (targets, of_texts), vectors, logits, gradients[-1]):
            with backend.tensorflow.GradientTape() as tape:
                tape.watch(vectors)
                added = sum(each(vectors) for each in perturbed)
            more = tape.gradient(added, [*weights, vectors])
            gradients = [ops.add(*both) for both in zip(gradients, more, strict=True)]
            loss += added
        *gradients, of_vectors = gradients
        of_rows = lookup.gradient(vectors, rows, output_gradients=of_vectors)
        self.optimizer.apply([*of_rows, *gradients], [*rows, *weights])
        self._loss_tracker.update_state(loss, sample_weight=labelled)
        metrics: dict[str, Tensor] = self.compute_metrics(ids, targets, logits[:labelled], of_texts)
        return metrics

    def _reader(self, ids: Tensor) -> Read:
        """Returns the function from the vectors of the first texts to their logits; it always drops the same."""
        states = [each for each in self.network.variables if each.name == "seed_generator_state"]
        start = [state.value * 1 for state in states]

        def read(vectors: Tensor) -> Tensor:
            for state, value in zip(states, start, strict=True):
                state.assign(value)
            return self.network([ids[: ops.shape(vectors)[0]], vectors], training=True)

        return read

    def _perturbed_losses(
        self, read: Read, ids: Tensor, labels: tuple[Tensor, Tensor], vectors: Tensor, logits: Tensor, gradient: Tensor
    ) -> list[Callable[[Tensor], Tensor]]:
        """Returns the functions from vectors to each weighted loss; `gradient` is that of the first loss by vectors."""
        experiment, losses = self.experiment, []
        if experiment.adversarial:
            targets, of_texts = labels
            labelled = ops.shape(targets)[0]
            worst = scaled(gradient[:labelled], experiment.perturbation)
            losses.append(lambda x: experiment.adversarial * self.loss(targets, read(x[:labelled] + worst), of_texts))
        if experiment.virtual_adversarial:
            expected = ops.log_softmax(logits)
            step = scaled(self._noise(ids, vectors), SMALL)
            with backend.tensorflow.GradientTape() as tape:
                tape.watch(step)
                far = ops.sum(divergence(expected, read(vectors + step)))
            virtual = scaled(tape.gradient(far, step), experiment.perturbation)
            losses.append(lambda x: experiment.virtual_adversarial * ops.mean(divergence(expected, read(x + virtual))))
        return losses

    def _noise(self, ids: Tensor, vectors: Tensor) -> Tensor:
        """Draws numbers for the words of each text, zeros at padding: float32 [batch, time, features].

        It draws time-major, so that padding at the end of a batch changes no number before it.
        """
        batch, time, features = ops.shape(vectors)
        drawn = time_major(keras.random.normal((time, batch, features), seed=self.noise))
        return drawn * ops.cast(ops.expand_dims(ops.not_equal(ids, PADDING), -1), drawn.dtype)


def scaled(direction: Tensor, norm: float) -> Tensor:
    """Returns `direction`, float32 [batch, time, features], with the L2 norm `norm` for each text; zeros stay zeros."""
    # The square of a small number would be 0.
    largest = ops.max(ops.abs(direction), axis=(1, 2), keepdims=True)
    unit = ops.divide_no_nan(direction, largest)
    length = ops.sqrt(ops.einsum("btf,btf->b", unit, unit))
    return unit * ops.reshape(ops.divide_no_nan(norm, length), (-1, 1, 1))


def divergence(expected: Tensor, logits: Tensor) -> Tensor:
    """Returns KL(p || q) of each text, float32 [batch]; `expected` is log p, and `logits` give q."""
    return ops.sum(ops.exp(expected) * (expected - ops.log_softmax(logits)), axis=-1)


def entropy(logits: Tensor) -> Tensor:
    """Returns the entropy of each text's prediction in nats, float32 [batch]."""
    logs = ops.log_softmax(logits)
    return -ops.sum(ops.exp(logs) * logs, axis=-1)
