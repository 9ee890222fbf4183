"""Trains a language model, window by window, on texts without their labels."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from textrnn.config.experiment import Experiment
from textrnn.config.pretraining import Pretraining
from textrnn.errors import TextrnnError
from textrnn.modeling.backend import keras, language_model_functions, number
from textrnn.modeling.batches import Tokens, length_buckets
from textrnn.modeling.checkpoint import Checkpoints
from textrnn.modeling.cost import FORWARD_AND_BACKWARD
from textrnn.modeling.language_model import PARTS, LanguageModel, draw_words
from textrnn.text.vocabulary import PADDING

ORDER, DRAW = 1, 2
"""With seed and epoch, these start the generators for the order of texts and, with the step, for the words drawn."""

WHOLE = 2**31
"""No text has as many words."""

SCORES = 1 << 26
"""So many words' scores are computed at once when all words are scored: 256 MiB."""

Row = dict[str, Any]
Step = tuple[np.ndarray, int]
"""The rows of a batch, and the position where its window begins."""


def load_texts(tokens: Path, settings: Pretraining, *splits: str) -> list[Tokens]:
    """Returns what a language model reads of `splits` in the folder `tokens`, as far as it has them, per direction.

    Raises:
        TextrnnError: it cannot learn from these texts.
    """
    files = [file for split in splits if (file := tokens / f"{split}.parquet").is_file()]
    read = [pl.read_parquet(file, columns=["ids"])["ids"] for file in files]
    least = 2 if settings.target == "next_word" else 1
    texts = [each.filter(each.list.len() >= least) for each in read]
    limit = settings.window if settings.target == "autoencoder" else WHOLE
    whole = Experiment(embedding=settings.embedding, max_tokens=limit, keep="start")
    ends = [settings.reverse, not settings.reverse][: 1 + settings.bidirectional]
    if not sum(map(len, texts)):
        raise TextrnnError(
            f"{' and '.join(map(str, files)) or tokens}: no text of at least two words, and a language model predicts "
            "a word from those before it. Give it texts."
        )
    return [Tokens(texts, whole.model_copy(update={"reverse": reverse})) for reverse in ends]


def positions(lengths: np.ndarray, settings: Pretraining) -> np.ndarray:
    """Returns how many inputs a model reads of texts of these `lengths` (int64 [texts])."""
    return lengths - 1 if settings.target == "next_word" else 2 * lengths


def exercise(texts: np.ndarray, lengths: np.ndarray, settings: Pretraining) -> tuple[np.ndarray, np.ndarray]:
    """Returns what is read, and what is to be predicted after each word of it: int32 [texts, positions], both.

    Example:
        Of `2 3 4`, `next_word` reads `2 3` and predicts `3 4`. `autoencoder` reads `2 3 4 0 2 3`, where 0 marks the
        end, and predicts `0 0 0 2 3 4`, where 0 is no word.

    Args:
        texts: int32 [texts, longest], zeros behind each.
        lengths: int64 [texts].
    """
    if settings.target == "next_word":
        return texts[:, :-1], texts[:, 1:]
    place, ends = np.arange(2 * texts.shape[1] + 1), lengths[:, None]
    is_inside = (place != ends) & (place <= 2 * ends)
    source = np.where(is_inside, np.where(place < ends, place, place - ends - 1), 0)
    twice = np.where(is_inside, np.take_along_axis(texts, source, axis=1), PADDING).astype(np.int32)
    return twice[:, :-1], np.where(place[1:] > ends, twice[:, 1:], PADDING).astype(np.int32)


@dataclass
class Pretrainer:
    """Trains the language model of `settings`.

    Attributes:
        train: what it learns from, per direction.
        valid: what its perplexity is measured on, per direction.
        start: the first vectors, float32 [words, dimension].
        checkpoints: where a killed training continues from.
        history: a row per epoch.
        seconds: of training, without the evaluations; those of killed processes up to their last checkpoint count.
    """

    settings: Pretraining
    train: Sequence[Tokens]
    valid: Sequence[Tokens]
    start: np.ndarray
    checkpoints: Checkpoints | None = None
    history: list[Row] = field(default_factory=list, init=False)
    seconds: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        settings = self.settings
        counts = np.zeros(len(self.start), np.int64)
        own = self.train[0].counts()
        counts[: len(own)] = own
        self.counts = counts
        steps = sum(len(self._steps(epoch)) for epoch in range(1, 1 + settings.epochs))
        keras.utils.set_random_seed(settings.seed)
        words = self._predicted(self.train) * settings.epochs / steps
        self.model = LanguageModel(settings, self.start, counts, steps, words)
        self._train_step, self._test_step = language_model_functions(self.model)

    @property
    def valid_predicted(self) -> int:
        """The validation words whose loss is measured, in all directions."""
        return self._predicted(self.valid)

    @property
    def parameters(self) -> int:
        """The number of weights that are trained."""
        return sum(math.prod(weight.shape) for weight in self.model.trainable_weights)

    @property
    def words_per_epoch(self) -> int:
        """The words that are read in an epoch, in all directions."""
        return int(positions(self.train[0].lengths, self.settings).sum()) * len(self.train)

    @property
    def flops(self) -> float:
        """The operations of the whole training, counted as in `cost.py`."""
        return FORWARD_AND_BACKWARD * self.model.flops * self.words_per_epoch * self.settings.epochs

    def run(
        self, on_epoch: Callable[[Row], None] = lambda row: None, on_continue: Callable[[], None] = lambda: None
    ) -> None:
        """Trains to the end, or continues from a checkpoint, and calls `on_epoch` with each row of the history.

        Raises:
            TextrnnError: the loss is no longer a finite number.
        """
        settings, done = self.settings, 0
        if saved := self.checkpoints.load(settings.seed) if self.checkpoints else None:
            self.history, self.seconds, done = saved["history"], saved["seconds"], saved["done"]
            for variable, value in zip(self._variables(), saved["variables"], strict=True):
                variable.assign(value)
            on_continue()
        for epoch in range(1 + len(self.history), 1 + settings.epochs):
            row = {"epoch": epoch, **self._train_epoch(epoch, done), **self._evaluate()}
            if not np.isfinite([row["loss"], row["val_loss"]]).all():
                raise TextrnnError(
                    f"the loss of the language model is no longer a finite number in epoch {epoch}. Lower its "
                    "learning_rate or its gradient_clip."
                )
            self.history.append(row)
            on_epoch(row)
            done = 0
            self._save_if_due(done)

    def matrix(self) -> np.ndarray:
        """Returns the trained vectors, float32 [words, dimension]."""
        return np.array(keras.ops.convert_to_numpy(self.model.vectors))

    def _train_epoch(self, epoch: int, done: int) -> Row:
        """Takes the steps of an epoch, except the first `done`, which a restored model has taken."""
        model, steps = self.model, self._steps(epoch)
        if done == 0:
            model.reset_metrics()
            model.optimizer.gradient_norms.assign(0.0)
        began = time.perf_counter() - self.seconds
        for step, (rows, at) in enumerate(steps[done:], start=done + 1):
            if at == 0:
                model.reset()
            ids, targets = self._window(self.train, rows, at, self._size)
            self._train_step((ids, self._drawn(epoch, step)), targets)
            self.seconds = time.perf_counter() - began
            if step < len(steps):
                self._save_if_due(step)
        return {
            "loss": self._loss(),
            "learning_rate": number(model.optimizer.learning_rate),
            "gradient_norm": number(model.optimizer.gradient_norms) / len(steps),
        }

    def _evaluate(self) -> Row:
        """The loss of the validation texts, with the scores of all words, and the perplexity: its exponential."""
        self.model.reset_metrics()
        size = max(1, SCORES // (self.settings.batch_size * len(self.start)))
        for rows, at in self._windows(self.valid[0], size):
            if at == 0:
                self.model.reset()
            ids, targets = self._window(self.valid, rows, at, size)
            self._test_step((ids, np.zeros(0, np.int32)), targets)
        loss = self._loss()
        return {"val_loss": loss, "perplexity": math.exp(min(loss, 700.0))}

    def _loss(self) -> float:
        """Nats per word since the metrics were reset."""
        return number(self.model.nats.result()) / number(self.model.predicted.result())

    @property
    def _size(self) -> int:
        """The inputs of a window."""
        return self.settings.window if self.settings.target == "next_word" else WHOLE

    def _steps(self, epoch: int) -> list[Step]:
        return self._windows(self.train[0], self._size, np.random.default_rng([self.settings.seed, ORDER, epoch]))

    def _windows(self, texts: Tokens, size: int, rng: np.random.Generator | None = None) -> list[Step]:
        """Every window of every batch; in a batch, longer texts come first."""
        found: list[Step] = []
        for rows in length_buckets(texts.lengths, self.settings.batch_size, rng):
            lengths = positions(texts.lengths[rows], self.settings)
            ordered = rows[np.argsort(-lengths, kind="stable")]
            found += [(ordered, at) for at in range(0, int(lengths.max()), size)]
        return found

    def _window(
        self, directions: Sequence[Tokens], rows: np.ndarray, at: int, size: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Inputs and targets, int32 [PARTS, texts, time] each, of those texts that go on at the window's beginning.

        Where these cannot be dealt evenly, there is a text of padding.
        """
        share = PARTS // len(directions)
        lengths = directions[0].lengths[rows]
        going_on = int((positions(lengths, self.settings) > at).sum())
        fill = (0, -going_on % share), (0, 0)
        parts = []
        for texts in directions:
            pair = exercise(texts.padded(rows), lengths, self.settings)
            cut = [np.pad(each[:going_on, at : at + size], fill) for each in pair]
            parts += [[each[part::share] for each in cut] for part in range(share)]
        ids, targets = (np.stack(each) for each in zip(*parts, strict=True))
        return ids, targets

    def _drawn(self, epoch: int, step: int) -> np.ndarray:
        """The words that the right one is compared with, int32 [samples]; none where that is all words."""
        if self.model.chances is None:
            return np.zeros(0, np.int32)
        at = np.random.default_rng([self.settings.seed, DRAW, epoch, step]).random()
        return draw_words(self.model.chances, at)

    def _predicted(self, directions: Sequence[Tokens]) -> int:
        lengths = directions[0].lengths
        own = lengths - 1 if self.settings.target == "next_word" else lengths
        return int(own.sum()) * len(directions)

    def _variables(self) -> list[Any]:
        """Everything that the next step depends on."""
        model = self.model
        found = [*model.variables, *model.optimizer.variables, *model.metrics_variables]
        return list({id(variable): variable for variable in found}.values())

    def _save_if_due(self, done: int) -> None:
        if self.checkpoints and self.checkpoints.due(within_epoch=done > 0):
            variables = [keras.ops.convert_to_numpy(variable) for variable in self._variables()]
            state = {"history": self.history, "seconds": self.seconds, "done": done, "variables": variables}
            self.checkpoints.save(self.settings.seed, state)
