"""Trains one experiment: all its seeds in one process, on one graph and one copy of the data."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Self

import numpy as np

from textrnn.config.experiment import Experiment
from textrnn.embeddings.pretrained import read_layers
from textrnn.modeling.adversarial import check_backend, passes
from textrnn.modeling.backend import keras, number, predict_function, train_function
from textrnn.modeling.batches import Tokens, predict
from textrnn.modeling.checkpoint import Checkpoints
from textrnn.modeling.classifier import build_classifier
from textrnn.modeling.cost import prediction_flops, training_flops
from textrnn.modeling.rates import set_rates
from textrnn.modeling.scores import accuracy, log_loss
from textrnn.modeling.start import Start
from textrnn.modeling.training_texts import Epoch, TrainingTexts
from textrnn.run_folder import HELD_OUT, kept_epoch

Weights = list[np.ndarray]
Row = dict[str, Any]


@dataclass
class SeedResult:
    """The result of one seed: a row per epoch, and unless it failed weights, and probabilities by split.

    `probabilities` are float32 [examples, classes]. `seconds` count all processes that trained the seed, each killed
    one up to its last checkpoint. `is_over` is false where training stopped on the way, to go on later.
    """

    seed: int
    history: list[Row] = field(default_factory=list)
    failure: str | None = None
    weights: Weights = field(default_factory=list)
    probabilities: dict[str, np.ndarray] = field(default_factory=dict)
    seconds: float = 0.0
    is_over: bool = False

    def fail(self, reason: str) -> None:
        """Sets `failure`, and drops what such a training has no use for."""
        self.failure, self.weights, self.probabilities = reason, [], {}


@dataclass
class Trainer:
    """Trains `experiment` on the `train` split, one seed after the other.

    The graph is traced once, for the first seed. Every other seed takes over the variables of a freshly built model
    (weights, optimizer, random states), so a seed's result does not depend on the seeds before it.

    Attributes:
        splits: `train`; `valid` and `test`, unless nothing is to be measured on them; `unlabelled` if it is trained on.
        texts: those of `splits` that are trained on.
        draw: from a seed to the embedding's first values, float32 [vocabulary, dimension].
        classes: their number.
        checkpoints: where a killed training continues from.
        fixed_rows: how many rows at the end of the embedding belong to words that the train split lacks.
        targets: what is learned of the training texts instead of their labels, float32 [train examples, classes].
        layers: the recurrent layers' first weights, see `build_classifier`.
        model: None until the first seed is trained.
    """

    experiment: Experiment
    splits: dict[str, Tokens]
    draw: Callable[[int], np.ndarray]
    classes: int
    checkpoints: Checkpoints | None = None
    fixed_rows: int = 0
    targets: np.ndarray | None = None
    layers: Sequence[np.ndarray] = ()
    model: keras.Model | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        check_backend(self.experiment)
        labels = self.splits["train"].labels
        self._targets = np.eye(self.classes, dtype=np.float32)[labels] if self.targets is None else self.targets
        self.texts = TrainingTexts(self.experiment, self.splits)

    @classmethod
    def of(
        cls,
        start: Start,
        experiment: Experiment,
        splits: dict[str, Tokens],
        targets: np.ndarray | None = None,
        checkpoints: Checkpoints | None = None,
    ) -> Self:
        """Returns the trainer of an experiment that begins from `start`."""
        return cls(
            experiment,
            splits,
            start.embedding.draw,
            len(start.encoder.classes),
            checkpoints,
            fixed_rows=len(start.embedding.file_words) if experiment.trainable_embedding else 0,
            targets=targets,
            layers=read_layers(start.folder) if experiment.pretrained_layers else [],
        )

    def run(
        self,
        seed: int,
        on_epoch: Callable[[Row], None] = lambda row: None,
        on_continue: Callable[[list[Row]], None] = lambda history: None,
        until: int | None = None,
        ends: bool = False,
    ) -> SeedResult:
        """Trains with `seed`, calling `on_epoch` with each row of the history.

        With a checkpoint it calls `on_continue` with the history so far, and continues to the same result. A loss that
        is not a finite number ends the training and sets `failure`. After the epoch `until` a training that is not at
        its end stops at a checkpoint, from which the next call continues; with `ends` that is its end.
        """
        started = time.perf_counter()
        saved = self.checkpoints.load(seed) if self.checkpoints else None
        result = SeedResult(**saved["result"]) if saved else SeedResult(seed)
        position = saved["position"] if saved else None
        last = min(until or self.experiment.epochs, self.experiment.epochs)
        if saved:
            on_continue(result.history)
            if position is None or (not ends and len(result.history) >= last < self.experiment.epochs):
                return result
        started -= result.seconds
        model, rng, done = self._fresh_model(seed), np.random.default_rng(seed), 0
        if position:
            rng.bit_generator.state, done = position["rng"], position["done"]
            _assign(_training_state(model), position["variables"])
        drawn = self.texts.of_seed(seed)
        unseen = {"valid": self.splits["valid"]} if "valid" in self.splits else {}
        if len(drawn.held_out):
            unseen[HELD_OUT] = self.splits["train"].take(drawn.held_out)
        for epoch in range(len(result.history) + 1, last + 1):
            save = partial(self._save_if_due, result, started, rng.bit_generator.state)
            metrics = self._train_epoch(drawn.epoch(epoch, rng), done, drawn.weights, save)
            evaluated = self._weights(model)
            probabilities = {split: self._predict(model, evaluated, some) for split, some in unseen.items()}
            row = {"seed": seed, "epoch": epoch, **metrics, **_measures(unseen, probabilities)}
            if not np.isfinite([row["loss"], row.get("val_loss", 0.0)]).all():
                result.fail(f"the loss is no longer a finite number in epoch {epoch}")
                break
            result.history.append(row)
            on_epoch(row)
            patience, kept = self.experiment.early_stopping, kept_epoch(result.history, self.experiment)
            if kept == epoch:
                probabilities.pop(HELD_OUT, None)
                result.weights, result.probabilities = evaluated, probabilities
            elif patience is not None and epoch - kept >= patience:
                break
            done = 0
            self._save_if_due(result, started, rng.bit_generator.state, done)
        else:
            if last < self.experiment.epochs and not ends:
                self._save(result, started, rng.bit_generator.state)
                return result
        return self._end(result, started)

    @property
    def network(self) -> keras.Model:
        """The model, which is built with the seed 0 if none was trained.

        Its weights are those of the last step, not those that a result keeps.
        """
        return self._fresh_model(seed=0) if self.model is None else self.model

    def parameter_counts(self) -> dict[str, int]:
        """Returns the `total` and `trainable` numbers of weights."""
        weights = {"total": self.network.weights, "trainable": self.network.trainable_weights}
        return {kind: sum(math.prod(weight.shape) for weight in each) for kind, each in weights.items()}

    def training_flops(self, results: list[SeedResult]) -> float:
        """Returns the mean operations of a training over `results`."""
        return self._flops([self.texts.amount_read(result.seed, len(result.history)) for result in results])

    def epoch_flops(self, seed: int) -> float:
        """Returns the operations of an epoch with `seed`."""
        return self._flops([self.texts.amount_read(seed, epochs=1)])

    def _flops(self, amounts: list[tuple[tuple[int, int], tuple[int, int]]]) -> float:
        read = np.mean(amounts, axis=0)
        costs = zip(read.tolist(), passes(self.experiment), strict=True)
        return sum(training_flops(self.network, tokens, texts, times) for (tokens, texts), times in costs)

    def prediction_flops(self) -> float:
        """Returns the operations of the prediction of a mean validation text."""
        return prediction_flops(self.network, float(self.splits["valid"].lengths.mean()))

    def tokens_read(self, result: SeedResult) -> int:
        """Returns how many tokens the training of `result` read, over all epochs; each once, for all its losses."""
        return sum(tokens for tokens, _ in self.texts.amount_read(result.seed, len(result.history)))

    def _fresh_model(self, seed: int) -> keras.Model:
        embedding, counts = self.draw(seed), None
        if self.experiment.normalize_embedding:  # of all training texts, as the vocabulary: the same for each seed
            counts = self.texts.word_counts(words=len(embedding) - self.fixed_rows)
        fresh = build_classifier(self.experiment, embedding, self.classes, seed, self.fixed_rows, counts, self.layers)
        if self.model is None:
            self.model = fresh
            weighted = self.experiment.class_weights is not None
            self._step, self._logits = train_function(fresh, weighted), predict_function(fresh)
        else:
            _assign(_state(self.model), _state(fresh))
        return self.model

    def _train_epoch(self, texts: Epoch, done: int, weights: np.ndarray | None, save: Callable[[int], None]) -> Row:
        """Takes a step for each batch of `texts`, except the first `done`, which a restored model has taken.

        `save` is called with the number of steps taken so far. Returns the mean `loss` and `accuracy` over the epoch's
        texts, the last `learning_rate`, and the mean `gradient_norm` over its steps.
        """
        optimizer = self.network.optimizer
        if done == 0:
            self.network.reset_metrics()
            optimizer.gradient_norms.assign(0.0)
        for step, rows in enumerate(texts.batches[done:], start=done + 1):
            set_rates(optimizer, self.experiment, texts.number, step, len(texts))
            weighted = [] if weights is None else [weights[rows]]
            metrics = self._step(texts.batch(step), self._targets[rows], *weighted)
            if step < len(texts):
                save(step)
        return {
            "loss": float(metrics["loss"]),
            "accuracy": float(metrics["accuracy"]),
            "learning_rate": number(optimizer.learning_rate),
            "gradient_norm": number(optimizer.gradient_norms) / len(texts),
        }

    def _end(self, result: SeedResult, started: float) -> SeedResult:
        """Adds what comes after the last epoch: the test split is predicted once, with the weights that were kept."""
        if result.failure is None and "test" in self.splits:
            result.probabilities["test"] = test = self._predict(self.network, result.weights, self.splits["test"])
            if not np.isfinite(test).all():
                result.fail("its predictions are not finite numbers")
        result.is_over = True
        result.seconds = time.perf_counter() - started
        if self.checkpoints:
            self.checkpoints.finish(result.seed, {"result": vars(result), "position": None})
        return result

    def _save_if_due(self, result: SeedResult, started: float, rng_state: Any, done: int) -> None:
        """Offers a checkpoint after `done` of the batches that a generator in `rng_state` draws next."""
        if self.checkpoints and self.checkpoints.due(within_epoch=done > 0):
            self._save(result, started, rng_state, done)

    def _save(self, result: SeedResult, started: float, rng_state: Any, done: int = 0) -> None:
        if self.checkpoints:
            variables = [keras.ops.convert_to_numpy(variable) for variable in _training_state(self.network)]
            position = {"rng": rng_state, "done": done, "variables": variables}
            result.seconds = time.perf_counter() - started
            self.checkpoints.save(result.seed, {"result": vars(result), "position": position})

    def _weights(self, model: keras.Model) -> Weights:
        """The weights to evaluate: the averaged ones if the experiment averages."""
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


def _measures(unseen: dict[str, Tokens], probabilities: dict[str, np.ndarray]) -> Row:
    """What a row of the history says of the texts that are not trained on."""
    row = {}
    if valid := unseen.get("valid"):
        row["val_loss"] = log_loss(valid.labels, probabilities["valid"])
        row["val_accuracy"] = accuracy(valid.labels, probabilities["valid"])
    if held_out := unseen.get(HELD_OUT):
        row[HELD_OUT] = accuracy(held_out.labels, probabilities[HELD_OUT])
    return row


def _assign(variables: list[Any], values: list[Any]) -> None:
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def _state(model: keras.Model) -> list[Any]:
    """All variables that training changes, except the metrics' counters: weights, random states, optimizer."""
    counters = {id(variable) for variable in model.metrics_variables}
    return [*(v for v in model.variables if id(v) not in counters), *model.optimizer.variables]


def _training_state(model: keras.Model) -> list[Any]:
    """Everything that the next step depends on: the same with the counters."""
    return [*_state(model), *model.metrics_variables]
