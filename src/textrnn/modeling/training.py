"""Trains one experiment: all its seeds in one process, on one graph and one copy of the data."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from textrnn.config.params import Experiment
from textrnn.modeling.backend import keras, predict_function, train_function
from textrnn.modeling.batches import Tokens, length_buckets, predict, rare_word_chances
from textrnn.modeling.checkpoint import Checkpoints
from textrnn.modeling.classifier import build_classifier
from textrnn.modeling.scores import accuracy, log_loss
from textrnn.run_folder import HELD_OUT
from textrnn.text.vocabulary import UNKNOWN

DRAWING, DROPPING = 1, 2
"""With the seed, what the generators start from that draw rows and unknown words: others than that of the batches."""

Weights = list[np.ndarray]
Row = dict[str, Any]


@dataclass
class SeedResult:
    """What one seed's training leaves: a row per epoch, and weights and probabilities unless it failed.

    `probabilities` are float32 [examples, classes] by split. `seconds` are what it took; of a
    process that was killed, those up to its last checkpoint.
    """

    seed: int
    history: list[Row] = field(default_factory=list)
    failure: str | None = None
    weights: Weights = field(default_factory=list)
    probabilities: dict[str, np.ndarray] = field(default_factory=dict)
    seconds: float = 0.0


class Trainer:
    """Trains `experiment` on `splits["train"]`, one seed after the other.

    The graph is traced once, for the first seed; every other seed takes over the variables of a
    freshly built model (weights, optimizer, random states), so a seed's result does not depend on
    the seeds before it.

    Args:
        splits: `train`, `valid` and `test`.
        draw: the embedding's first values for a seed, float32 [vocabulary, dimension].
        classes: how many there are.
        checkpoints: what a killed training goes on from, and saves itself to.
        fixed_rows: how many of the embedding's rows, at its end, belong to words that `splits["train"]` lacks.
    """

    def __init__(
        self,
        experiment: Experiment,
        splits: dict[str, Tokens],
        draw: Callable[[int], np.ndarray],
        classes: int,
        checkpoints: Checkpoints | None = None,
        fixed_rows: int = 0,
    ) -> None:
        self.experiment = experiment
        self.splits = splits
        self.draw = draw
        self.classes = classes
        self.checkpoints = checkpoints
        self.fixed_rows = fixed_rows
        self.model: keras.Model | None = None
        self._targets = np.eye(classes, dtype=np.float32)[splits["train"].labels]

    def drawn(self, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns the rows of the train split that are trained on with `seed`, and those that are held out of it.

        All experiments of a study draw the same ones, as far as they draw equally many.
        """
        rows = np.random.default_rng([seed, DRAWING]).permutation(len(self.splits["train"]))
        held_out, kept = np.split(rows, [round(self.experiment.held_out * len(rows))])
        return np.sort(kept[: self.experiment.train_examples]), np.sort(held_out)

    def run(
        self,
        seed: int,
        on_epoch: Callable[[Row], None] = lambda row: None,
        on_continue: Callable[[list[Row]], None] = lambda history: None,
    ) -> SeedResult:
        """Trains with `seed`, calling `on_epoch` with each row of the history.

        Where there is a checkpoint it calls `on_continue` with the history so far, and goes on from
        there to the same result. A loss that is not a finite number ends the training: the result
        says so in `failure`.
        """
        started = time.perf_counter()
        saved = self.checkpoints.load(seed) if self.checkpoints else None
        result = SeedResult(**saved["result"]) if saved else SeedResult(seed)
        position = saved["position"] if saved else None
        if saved:
            on_continue(result.history)
            if position is None:
                return result
        started -= result.seconds
        model = self._fresh_model(seed)
        rng, done = np.random.default_rng(seed), 0
        rows, held_out = self.drawn(seed)
        texts = self.splits["train"].take(rows)
        lengths, rare = texts.lengths, self.experiment.rare_word_dropout
        chances = rare_word_chances(texts.counts(), rare) if rare else None
        if position:
            rng.bit_generator.state, done = position["rng"], position["done"]
            self._restore(model, position["variables"])

        def offer_checkpoint(rng_state: Mapping[str, Any], done: int) -> None:
            """Saves, if it is time, that `done` batches are behind us of those that this state of `rng` draws."""
            if self.checkpoints and self.checkpoints.due(within_epoch=done > 0):
                variables = [keras.ops.convert_to_numpy(variable) for variable in _changing(model)]
                position = {"rng": rng_state, "done": done, "variables": variables}
                result.seconds = time.perf_counter() - started
                self.checkpoints.save(seed, {"result": vars(result), "position": position})

        for epoch in range(len(result.history) + 1, self.experiment.epochs + 1):
            rng_state = rng.bit_generator.state
            batches = [rows[batch] for batch in length_buckets(lengths, self.experiment.batch_size, rng)]
            read = partial(self._read, chances=chances, drawn=(seed, DROPPING, epoch))
            trained = self._train_epoch(model, batches, read, done, partial(offer_checkpoint, rng_state))
            evaluated = self._weights(model)
            probabilities = self._predict(model, evaluated, self.splits["valid"])
            row = {"seed": seed, "epoch": epoch, **self._measured(model, trained, probabilities)}
            if len(held_out):
                unseen = self.splits["train"].take(held_out)
                row[HELD_OUT] = accuracy(unseen.labels, self._predict(model, evaluated, unseen))
            if not (np.isfinite(row["loss"]) and np.isfinite(row["val_loss"])):
                result.failure = f"the loss is no longer a finite number in epoch {epoch}"
                result.weights, result.probabilities = [], {}
                break
            result.history.append(row)
            on_epoch(row)
            patience, waited = self.experiment.early_stopping, _epochs_since_best(result.history)
            if patience is None or waited == 0:
                result.weights, result.probabilities = evaluated, {"valid": probabilities}
            elif waited >= patience:
                break
            done = 0
            offer_checkpoint(rng.bit_generator.state, done)
        if result.failure is None:
            result.probabilities["test"] = self._predict(model, result.weights, self.splits["test"])
        result.seconds = time.perf_counter() - started
        if self.checkpoints:
            self.checkpoints.finish(seed, {"result": vars(result), "position": None})
        return result

    @property
    def fitted(self) -> keras.Model:
        """The model; its weights are those of the last step that was taken, if any was."""
        return self._fresh_model(seed=0) if self.model is None else self.model

    def parameter_counts(self) -> dict[str, int]:
        """Returns the `total` and `trainable` numbers of weights."""
        trainable = sum(int(np.prod(weight.shape)) for weight in self.fitted.trainable_weights)
        return {"total": int(self.fitted.count_params()), "trainable": trainable}

    def _fresh_model(self, seed: int) -> keras.Model:
        fresh = build_classifier(self.experiment, self.draw(seed), self.classes, seed, self.fixed_rows)
        if self.model is None:
            self.model = fresh
            self._step, self._logits = train_function(fresh), predict_function(fresh)
            return fresh
        for variable, initial in zip(_state(self.model), _state(fresh), strict=True):
            variable.assign(initial)
        return self.model

    def _restore(self, model: keras.Model, values: list[np.ndarray]) -> None:
        """Brings back what `_changing` held."""
        for variable, value in zip(_changing(model), values, strict=True):
            variable.assign(value)

    def _read(self, rows: np.ndarray, step: int, chances: np.ndarray | None, drawn: tuple[int, ...]) -> np.ndarray:
        """What training reads of `rows` in this step: int32 [rows, longest of them], rare words as unknown by chance.

        Each step has a generator of its own, so a training that continues within an epoch draws the same.
        """
        ids = self.splits["train"].padded(rows)
        if chances is None:
            return ids
        is_dropped = np.random.default_rng([*drawn, step]).random(ids.shape, np.float32) < chances[ids]
        return np.where(is_dropped, np.int32(UNKNOWN), ids)

    def _train_epoch(
        self,
        model: keras.Model,
        batches: list[np.ndarray],
        read: Callable[[np.ndarray, int], np.ndarray],
        done: int,
        on_step: Callable[[int], None],
    ) -> dict[str, float]:
        """Takes a step for each of `batches` but the first `done`, which a restored model has behind it.

        `read` gives the ids of a batch for the number of its step. Calls `on_step` with the number of each
        step but the last. Returns the mean `loss` and `accuracy` over the epoch's texts, and the mean
        `gradient_norm` over its steps.
        """
        if done == 0:
            model.reset_metrics()
            model.optimizer.gradient_norms.assign(0.0)
        for step, rows in enumerate(batches[done:], start=done + 1):
            metrics = self._step(read(rows, step), self._targets[rows])
            if step < len(batches):
                on_step(step)
        norms = float(keras.ops.convert_to_numpy(model.optimizer.gradient_norms))
        means = {name: float(metrics[name]) for name in ("loss", "accuracy")}
        return {**means, "gradient_norm": norms / len(batches)}

    def _measured(self, model: keras.Model, trained: dict[str, float], probabilities: np.ndarray) -> Row:
        """What a row of the history says of an epoch: what `_train_epoch` returned, and the validation split's."""
        labels = self.splits["valid"].labels
        return {
            "loss": trained["loss"],
            "accuracy": trained["accuracy"],
            "val_loss": log_loss(labels, probabilities),
            "val_accuracy": accuracy(labels, probabilities),
            "learning_rate": float(keras.ops.convert_to_numpy(model.optimizer.learning_rate)),
            "gradient_norm": trained["gradient_norm"],
        }

    def _weights(self, model: keras.Model) -> Weights:
        """The weights to evaluate: the averaged ones where the experiment averages."""
        if self.experiment.ema is None:
            return list(model.get_weights())
        averages = model.optimizer._model_variables_moving_average  # Keras has no public name for them
        by_weight = {id(v): average for v, average in zip(model.trainable_variables, averages, strict=True)}
        return [keras.ops.convert_to_numpy(by_weight.get(id(weight), weight)) for weight in model.weights]

    def _predict(self, model: keras.Model, weights: Weights, tokens: Tokens) -> np.ndarray:
        """Probabilities of `tokens` under `weights`; the model keeps its own."""
        own = model.get_weights()
        model.set_weights(weights)
        probabilities = predict(self._logits, tokens)
        model.set_weights(own)
        return probabilities


def _epochs_since_best(history: list[Row]) -> int:
    """How long ago the validation loss was lowest; of equal ones the first counts."""
    losses = [row["val_loss"] for row in history]
    return len(losses) - 1 - losses.index(min(losses))


def _state(model: keras.Model) -> list[Any]:
    """All variables that training changes: weights, random states, optimizer. Not the metrics' counters."""
    counters = {id(variable) for variable in model.metrics_variables}
    return [*(v for v in model.variables if id(v) not in counters), *model.optimizer.variables]


def _changing(model: keras.Model) -> list[Any]:
    """The same with the counters: what the next step depends on."""
    return [*_state(model), *model.metrics_variables]
