"""Trains one experiment: all its seeds in one process, on one graph and one copy of the data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from textrnn.modeling.backend import keras
from textrnn.modeling.batches import Batches, Tokens, length_buckets
from textrnn.modeling.classifier import build_classifier
from textrnn.modeling.scores import accuracy, log_loss
from textrnn.params import Experiment

PREDICTION_BATCH = 512
Weights = list[np.ndarray]
OnEpoch = Callable[[dict[str, Any]], None]


@dataclass
class SeedResult:
    """What one seed's training leaves: a row per epoch, and weights and probabilities unless it failed.

    `probabilities` are float32 [examples, classes] by split.
    """

    seed: int
    history: list[dict[str, Any]] = field(default_factory=list)
    failure: str | None = None
    weights: Weights = field(default_factory=list)
    probabilities: dict[str, np.ndarray] = field(default_factory=dict)


class Trainer:
    """Trains `experiment` on `splits["train"]`, one seed after the other.

    The graph is traced once, for the first seed; every other seed takes over the variables of a
    freshly built model (weights, optimizer, random states), so a seed's result does not depend on
    the seeds before it.

    Args:
        splits: `train`, `valid` and `test`.
        draw: the embedding's first values for a seed, float32 [vocabulary, dimension].
        classes: how many there are.
    """

    def __init__(
        self,
        experiment: Experiment,
        splits: dict[str, Tokens],
        draw: Callable[[int], np.ndarray],
        classes: int,
    ) -> None:
        self.experiment = experiment
        self.splits = splits
        self.draw = draw
        self.classes = classes
        self.model: keras.Model | None = None

    def run(self, seed: int, on_epoch: OnEpoch = lambda row: None) -> SeedResult:
        """Trains with `seed`, calling `on_epoch` with each row of the history.

        A loss that is not a finite number ends the training: the result says so in `failure`.
        """
        model = self._fresh_model(seed)
        result = SeedResult(seed)
        rng = np.random.default_rng(seed)
        best = _Best(self.experiment.early_stopping)
        norms = 0.0
        for epoch in range(1, self.experiment.epochs + 1):
            rows = length_buckets(self.splits["train"].lengths, self.experiment.batch_size, rng)
            fitted = model.fit(Batches(self.splits["train"], rows, self.classes), shuffle=False, verbose=0)
            evaluated = self._weights(model)
            labels = self.splits["valid"].labels
            probabilities = self._predict(model, evaluated, "valid")
            total = float(keras.ops.convert_to_numpy(model.optimizer.gradient_norms))
            row = {
                "seed": seed,
                "epoch": epoch,
                "loss": float(fitted.history["loss"][0]),
                "accuracy": float(fitted.history["accuracy"][0]),
                "val_loss": log_loss(labels, probabilities),
                "val_accuracy": accuracy(labels, probabilities),
                "learning_rate": float(keras.ops.convert_to_numpy(model.optimizer.learning_rate)),
                "gradient_norm": (total - norms) / len(rows),
            }
            norms = total
            if not (np.isfinite(row["loss"]) and np.isfinite(row["val_loss"])):
                result.failure = f"the loss is no longer a finite number in epoch {epoch}"
                return result
            result.history.append(row)
            on_epoch(row)
            if best.update(row["val_loss"], evaluated, probabilities):
                break
        result.weights = best.weights
        result.probabilities = {"valid": best.probabilities, "test": self._predict(model, best.weights, "test")}
        return result

    @property
    def fitted(self) -> keras.Model:
        """The model, after a first `run`; its weights are those of the latest seed's last step."""
        assert self.model is not None, "nothing was trained yet"
        return self.model

    def parameter_counts(self) -> dict[str, int]:
        """Returns the `total` and `trainable` numbers of weights, after a first `run`."""
        trainable = sum(int(np.prod(weight.shape)) for weight in self.fitted.trainable_weights)
        return {"total": int(self.fitted.count_params()), "trainable": trainable}

    def _fresh_model(self, seed: int) -> keras.Model:
        fresh = build_classifier(self.experiment, self.draw(seed), self.classes, seed)
        if self.model is None:
            self.model = fresh
            return fresh
        for variable, initial in zip(_state(self.model), _state(fresh), strict=True):
            variable.assign(initial)
        return self.model

    def _weights(self, model: keras.Model) -> Weights:
        """The weights to evaluate: the averaged ones where the experiment averages."""
        if self.experiment.ema is None:
            return list(model.get_weights())
        averages = model.optimizer._model_variables_moving_average  # Keras has no public name for them
        by_weight = {id(v): average for v, average in zip(model.trainable_variables, averages, strict=True)}
        return [keras.ops.convert_to_numpy(by_weight.get(id(weight), weight)) for weight in model.weights]

    def _predict(self, model: keras.Model, weights: Weights, split: str) -> np.ndarray:
        """Probabilities of `split` under `weights`; the model keeps its own."""
        own = model.get_weights()
        model.set_weights(weights)
        probabilities = predict(model, self.splits[split])
        model.set_weights(own)
        return probabilities


class _Best:
    """Keeps what belongs to the epoch with the lowest validation loss, or just to the last one without patience."""

    def __init__(self, patience: int | None) -> None:
        self.patience = patience
        self.weights: Weights = []
        self.probabilities = np.empty((0, 0), np.float32)
        self._loss = np.inf
        self._waited = 0

    def update(self, loss: float, weights: Weights, probabilities: np.ndarray) -> bool:
        """Takes an epoch's validation results; returns whether to stop."""
        if self.patience is None or loss < self._loss:
            self._loss, self._waited = loss, 0
            self.weights, self.probabilities = weights, probabilities
            return False
        self._waited += 1
        return self._waited >= self.patience


def predict(model: keras.Model, tokens: Tokens) -> np.ndarray:
    """Returns the probabilities `float32 [examples, classes]` of every text, in the order of `tokens`."""
    logits = np.empty((len(tokens), model.output_shape[-1]))
    for rows in length_buckets(tokens.lengths, PREDICTION_BATCH):
        logits[rows] = model.predict_on_batch(tokens.padded(rows))
    with np.errstate(invalid="ignore"):  # of a training that diverged: what comes of it is NaN, and is told
        exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
        probabilities: np.ndarray = exponents / exponents.sum(axis=1, keepdims=True)
    return probabilities.astype(np.float32)


def _state(model: keras.Model) -> list[Any]:
    """Everything that training changes: weights, random states, optimizer. Not the metrics' counters."""
    counters = {id(variable) for variable in model.metrics_variables}
    return [*(v for v in model.variables if id(v) not in counters), *model.optimizer.variables]
