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
from textrnn.modeling.backend import keras, predict_function, train_function
from textrnn.modeling.batches import (
    UNLABELLED,
    Tokens,
    balanced_weights,
    length_buckets,
    predict,
    rare_word_chances,
    reads_unlabelled,
    word_counts,
)
from textrnn.modeling.checkpoint import Checkpoints
from textrnn.modeling.classifier import build_classifier
from textrnn.modeling.cost import prediction_flops, training_flops
from textrnn.modeling.inputs import Start
from textrnn.modeling.rates import set_rates
from textrnn.modeling.scores import accuracy, log_loss
from textrnn.modeling.unlabelled import Unlabelled
from textrnn.run_folder import HELD_OUT, kept_epoch
from textrnn.text.vocabulary import UNKNOWN

DRAW_ROWS, DROP_WORDS = 1, 2
"""With the seed, these start the generators for rows and for unknown words; batches have one from the seed alone."""

Weights = list[np.ndarray]
Row = dict[str, Any]
Read = Callable[[int, np.ndarray], np.ndarray]


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


@dataclass
class Trainer:
    """Trains `experiment` on the `train` split, one seed after the other.

    The graph is traced once, for the first seed. Every other seed takes over the variables of a freshly built model
    (weights, optimizer, random states), so a seed's result does not depend on the seeds before it.

    Attributes:
        splits: `train`; `valid` and `test`, unless nothing is to be measured on them; `unlabelled` if it is trained on.
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
        self._unlabelled = (
            Unlabelled(self.splits[UNLABELLED], self.experiment.unlabelled_batch)
            if reads_unlabelled(self.experiment)
            else None
        )

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
            if position is None or len(result.history) >= last < self.experiment.epochs:
                return result
        started -= result.seconds
        model, rng, done = self._fresh_model(seed), np.random.default_rng(seed), 0
        if position:
            rng.bit_generator.state, done = position["rng"], position["done"]
            _assign(_training_state(model), position["variables"])
        rows, held_out = self.drawn(seed)
        train, unseen = self.splits["train"], {"valid": self.splits["valid"]} if "valid" in self.splits else {}
        texts = train.take(rows)
        if len(held_out):
            unseen[HELD_OUT] = train.take(held_out)
        rate = self.experiment.rare_word_dropout
        chances = rare_word_chances(word_counts(self._all_read(texts)), rate) if rate else None
        weights = self._example_weights(rows)
        for epoch in range(len(result.history) + 1, last + 1):
            save = partial(self._save_if_due, result, started, rng.bit_generator.state)
            batches = [rows[batch] for batch in length_buckets(texts.lengths, self.experiment.batch_size, rng)]
            longest = np.array([train.lengths[batch].max() for batch in batches])
            others = self._unlabelled.batches(seed, epoch, longest) if self._unlabelled else []
            read = partial(self._read, chances, (seed, DROP_WORDS, epoch), others)
            metrics = self._train_epoch(epoch, batches, done, read, weights, save)
            evaluated = self._weights(model)
            probabilities = {split: self._predict(model, evaluated, some) for split, some in unseen.items()}
            row = {
                "seed": seed,
                "epoch": epoch,
                "loss": float(metrics["loss"]),
                "accuracy": float(metrics["accuracy"]),
                **_measures(unseen, probabilities),
                "learning_rate": _number(model.optimizer.learning_rate),
                "gradient_norm": _number(model.optimizer.gradient_norms) / len(batches),
            }
            if not np.isfinite([row["loss"], row.get("val_loss", 0.0)]).all():
                result.failure = f"the loss is no longer a finite number in epoch {epoch}"
                result.weights, result.probabilities = [], {}
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
        if result.failure is None and "test" in self.splits:
            result.probabilities["test"] = test = self._predict(model, result.weights, self.splits["test"])
            if not np.isfinite(test).all():
                result.failure = "its predictions are not finite numbers"
                result.weights, result.probabilities = [], {}
        result.is_over = True
        result.seconds = time.perf_counter() - started
        if self.checkpoints:
            self.checkpoints.finish(seed, {"result": vars(result), "position": None})
        return result

    def drawn(self, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns the rows of the train split to train on with `seed`, and those held out.

        All experiments of a study draw the same rows, as far as they draw equally many.
        """
        rows = np.random.default_rng([seed, DRAW_ROWS]).permutation(len(self.splits["train"]))
        held_out, kept = np.split(rows, [round(self.experiment.held_out * len(rows))])
        return np.sort(kept[: self.experiment.train_examples]), np.sort(held_out)

    @property
    def fitted(self) -> keras.Model:
        """The model, with the weights of the last step that was taken, if any."""
        return self._fresh_model(seed=0) if self.model is None else self.model

    def parameter_counts(self) -> dict[str, int]:
        """Returns the `total` and `trainable` numbers of weights."""
        weights = {"total": self.fitted.weights, "trainable": self.fitted.trainable_weights}
        return {kind: sum(math.prod(weight.shape) for weight in each) for kind, each in weights.items()}

    def training_flops(self, results: list[SeedResult]) -> float:
        """Returns the mean operations of a training over `results`."""
        read = np.mean([self._read_by(result) for result in results], axis=0)
        costs = zip(read.tolist(), passes(self.experiment), strict=True)
        return sum(training_flops(self.fitted, tokens, texts, times) for (tokens, texts), times in costs)

    def prediction_flops(self) -> float:
        """Returns the operations of the prediction of a mean validation text."""
        return prediction_flops(self.fitted, float(self.splits["valid"].lengths.mean()))

    def tokens_read(self, result: SeedResult) -> int:
        """Returns how many tokens the training of `result` read, over all epochs; each once, for all its losses."""
        return sum(tokens for tokens, _ in self._read_by(result))

    def _read_by(self, result: SeedResult) -> tuple[tuple[int, int], tuple[int, int]]:
        """How many tokens and texts the training of `result` read: of those with a label, and of those without."""
        epochs, rows = len(result.history), self.drawn(result.seed)[0]
        labelled = epochs * int(self.splits["train"].lengths[rows].sum()), epochs * len(rows)
        steps = epochs * -(-len(rows) // self.experiment.batch_size)
        return labelled, self._unlabelled.read(result.seed, steps) if self._unlabelled else (0, 0)

    def _fresh_model(self, seed: int) -> keras.Model:
        embedding, counts = self.draw(seed), None
        if self.experiment.normalize_embedding:  # of all training texts, as the vocabulary: the same for each seed
            counts = word_counts(self._all_read(self.splits["train"]), len(embedding) - self.fixed_rows)
        fresh = build_classifier(self.experiment, embedding, self.classes, seed, self.fixed_rows, counts, self.layers)
        if self.model is None:
            self.model = fresh
            weighted = self.experiment.class_weights is not None
            self._step, self._logits = train_function(fresh, weighted), predict_function(fresh)
        else:
            _assign(_state(self.model), _state(fresh))
        return self.model

    def _example_weights(self, rows: np.ndarray) -> list[np.ndarray]:
        """What a step gets besides ids and targets: nothing, or weights, float32 [train examples], for those in `rows`.

        They are weights of examples, not of targets, so they go with whatever targets there are.
        """
        if self.experiment.class_weights is None:
            return []
        labels = self.splits["train"].labels
        weights = np.zeros(len(labels), np.float32)
        weights[rows] = balanced_weights(labels[rows])
        return [weights]

    def _train_epoch(
        self,
        epoch: int,
        batches: list[np.ndarray],
        done: int,
        read: Read,
        weights: list[np.ndarray],
        save: Callable[[int], None],
    ) -> Row:
        """Takes a step for each of `batches`, except the first `done`, which a restored model has taken.

        `read` returns what a step reads of its rows; `save` is called with the number of steps taken so far. Returns
        the mean `loss` and `accuracy` over the epoch's texts.
        """
        if done == 0:
            self.fitted.reset_metrics()
            self.fitted.optimizer.gradient_norms.assign(0.0)
        for step, rows in enumerate(batches[done:], start=done + 1):
            set_rates(self.fitted.optimizer, self.experiment, epoch, step, len(batches))
            metrics = self._step(read(step, rows), self._targets[rows], *(each[rows] for each in weights))
            if step < len(batches):
                save(step)
        return metrics

    def _all_read(self, labelled: Tokens) -> list[Tokens]:
        """All texts that training reads, if it reads these of the labelled ones."""
        return [labelled, *([self._unlabelled.texts] if self._unlabelled else [])]

    def _read(
        self,
        chances: np.ndarray | None,
        drawn: tuple[int, ...],
        others: list[np.ndarray],
        step: int,
        rows: np.ndarray,
    ) -> np.ndarray:
        """What a step, from 1, reads of `rows`: int32 [rows, longest of them], rare words as unknown by `chances`.

        Below them are the unlabelled texts in that step's rows of `others`, if any. Each step has its own generator, so
        a training that continues within an epoch draws the same.
        """
        ids = self.splits["train"].padded(rows)
        if self._unlabelled:
            ids = self._unlabelled.joined(ids, others[step - 1])
        if chances is None:
            return ids
        is_dropped = np.random.default_rng([*drawn, step]).random(ids.shape, np.float32) < chances[ids]
        return np.where(is_dropped, np.int32(UNKNOWN), ids)

    def _save_if_due(self, result: SeedResult, started: float, rng_state: Any, done: int) -> None:
        """Offers a checkpoint after `done` of the batches that a generator in `rng_state` draws next."""
        if self.checkpoints and self.checkpoints.due(within_epoch=done > 0):
            self._save(result, started, rng_state, done)

    def _save(self, result: SeedResult, started: float, rng_state: Any, done: int = 0) -> None:
        if self.checkpoints:
            variables = [keras.ops.convert_to_numpy(variable) for variable in _training_state(self.fitted)]
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


def _number(variable: Any) -> float:
    return float(keras.ops.convert_to_numpy(variable))


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
