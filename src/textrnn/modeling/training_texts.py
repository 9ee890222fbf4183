"""What a training reads: which texts with a seed, in which batches, and what a step gets of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from textrnn.config.experiment import Experiment
from textrnn.modeling.batches import (
    UNLABELLED,
    Tokens,
    balanced_weights,
    length_buckets,
    rare_word_chances,
    reads_unlabelled,
    word_counts,
)
from textrnn.modeling.unlabelled import Unlabelled
from textrnn.text.vocabulary import UNKNOWN

DRAW_ROWS, DROP_WORDS = 1, 2
"""With the seed, these start the generators for rows and for unknown words; batches have one from the seed alone."""


class TrainingTexts:
    """The texts that `experiment` is trained on: the `train` split, and the `unlabelled` ones if it reads such."""

    def __init__(self, experiment: Experiment, splits: Mapping[str, Tokens]) -> None:
        self.train = splits["train"]
        self.unlabelled = (
            Unlabelled(splits[UNLABELLED], experiment.unlabelled_batch) if reads_unlabelled(experiment) else None
        )
        self._experiment = experiment

    def drawn(self, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns the rows of the train split to train on with `seed`, and those held out.

        All experiments of a study draw the same rows, as far as they draw equally many.
        """
        rows = np.random.default_rng([seed, DRAW_ROWS]).permutation(len(self.train))
        held_out, kept = np.split(rows, [round(self._experiment.held_out * len(rows))])
        return np.sort(kept[: self._experiment.train_examples]), np.sort(held_out)

    def word_counts(self, rows: np.ndarray | None = None, words: int = 0) -> np.ndarray:
        """Returns how often each word occurs in `rows` of the train split, or in all, and in the unlabelled texts."""
        labelled = self.train if rows is None else self.train.take(rows)
        return word_counts([labelled, *([self.unlabelled.texts] if self.unlabelled else [])], words)

    def amount_read(self, seed: int, epochs: int) -> tuple[tuple[int, int], tuple[int, int]]:
        """Returns how many tokens and texts so many epochs read: of those with a label, and of those without."""
        rows = self.drawn(seed)[0]
        labelled = epochs * int(self.train.lengths[rows].sum()), epochs * len(rows)
        steps = epochs * -(-len(rows) // self._experiment.batch_size)
        return labelled, self.unlabelled.amount_read(seed, steps) if self.unlabelled else (0, 0)

    def of_seed(self, seed: int) -> SeedTexts:
        """Returns the texts that a training with `seed` reads."""
        rows, held_out = self.drawn(seed)
        rate = self._experiment.rare_word_dropout
        chances = rare_word_chances(self.word_counts(rows), rate) if rate else None
        weights = None
        if self._experiment.class_weights is not None:
            weights = np.zeros(len(self.train), np.float32)
            weights[rows] = balanced_weights(self.train.labels[rows])
        return SeedTexts(self, seed, rows, held_out, self._experiment.batch_size, chances, weights)


@dataclass(frozen=True)
class SeedTexts:
    """The texts of a training with one seed.

    Attributes:
        rows: of the train split, int64.
        held_out: rows of the train split that are measured, and not trained on.
        chances: with which each word is read as unknown, float32 [words]; None if none is.
        weights: float32 [train examples], or None. They are those of examples, not of targets, so they go with whatever
            targets there are.
    """

    texts: TrainingTexts
    seed: int
    rows: np.ndarray
    held_out: np.ndarray
    batch_size: int
    chances: np.ndarray | None
    weights: np.ndarray | None

    def epoch(self, number: int, rng: np.random.Generator) -> Epoch:
        """Returns the batches of an epoch, from 1, as `rng` draws them."""
        train, unlabelled = self.texts.train, self.texts.unlabelled
        batches = [self.rows[batch] for batch in length_buckets(train.lengths[self.rows], self.batch_size, rng)]
        longest = np.array([train.lengths[batch].max() for batch in batches])
        return Epoch(self, number, batches, unlabelled.batches(self.seed, number, longest) if unlabelled else [])


@dataclass(frozen=True)
class Epoch:
    """The batches of an epoch: rows of the train split, and of the unlabelled texts in the same step, if any."""

    texts: SeedTexts
    number: int
    batches: list[np.ndarray]
    unlabelled: list[np.ndarray]

    def __len__(self) -> int:
        return len(self.batches)

    def batch(self, step: int) -> np.ndarray:
        """Returns what a step, from 1, reads: int32 [texts, longest of them], the unlabelled texts at the end.

        Each step has its own generator, so a training that continues within an epoch draws the same unknown words.
        """
        texts, chances = self.texts.texts, self.texts.chances
        ids = texts.train.padded(self.batches[step - 1])
        if texts.unlabelled:
            ids = texts.unlabelled.joined(ids, self.unlabelled[step - 1])
        if chances is None:
            return ids
        drawn = np.random.default_rng([self.texts.seed, DROP_WORDS, self.number, step])
        return np.where(drawn.random(ids.shape, np.float32) < chances[ids], np.int32(UNKNOWN), ids)
