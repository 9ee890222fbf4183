"""Which texts a seed is trained on, and what a step reads of them."""

from __future__ import annotations

from typing import Any

import numpy as np
from tiny_experiments import make_experiment
from tiny_models import make_tokens

from textrnn.modeling.training_texts import SeedTexts, TrainingTexts

TRAIN = make_tokens([[2, 3, 4], [6], [3, 3], [5, 1, 2, 4], [4, 6, 2], [2, 2]], [0, 1, 1, 0, 1, 0])


def of_seed(seed: int, **changes: Any) -> SeedTexts:
    return TrainingTexts(make_experiment(**changes), {"train": TRAIN}).of_seed(seed)


def test_classes_are_counted_in_the_texts_that_are_trained_on() -> None:
    """Rows 1, 2 and 3 have the labels 1, 1 and 0: weights 3 / (2 x 2) and 3 / (2 x 1)."""
    texts = of_seed(13, train_examples=3, class_weights="balanced")
    assert texts.rows.tolist() == [1, 2, 3]
    assert texts.weights is not None and texts.weights.tolist() == [0, 0.75, 0.75, 1.5, 0, 0]
    assert of_seed(13, train_examples=3).weights is None


def test_what_is_drawn_as_unknown_differs_between_steps_epochs_and_seeds() -> None:
    """Of the same rows, in the same batches: all in one, again and again."""
    changes = {"rare_word_dropout": 2.0, "batch_size": 6}

    def read(seed: int, number: int, step: int) -> bytes:
        epoch = of_seed(seed, **changes).epoch(number, np.random.default_rng(9))
        return type(epoch)(epoch.texts, number, epoch.batches * 2, []).batch(step).tobytes()

    drawn = {key: read(*key) for key in ((0, 1, 1), (0, 1, 2), (0, 2, 1), (1, 1, 1))}
    assert len(set(drawn.values())) == 4
    assert read(0, 1, 1) == drawn[0, 1, 1]
    plain = of_seed(0, batch_size=6).epoch(1, np.random.default_rng(9))
    np.testing.assert_array_equal(plain.batch(1), TRAIN.padded(plain.batches[0]))


def test_an_epoch_reads_each_text_once() -> None:
    """Six in batches of four: two steps, which differ between epochs."""
    texts, rng = of_seed(0, batch_size=4), np.random.default_rng(0)
    epochs = [texts.epoch(number, rng) for number in (1, 2, 3, 4)]
    assert all(len(epoch) == 2 and sorted(np.concatenate(epoch.batches)) == [*range(6)] for epoch in epochs)
    assert len({tuple(map(bytes, epoch.batches)) for epoch in epochs}) > 1


def test_words_are_counted_in_rows_or_everywhere() -> None:
    texts = TrainingTexts(make_experiment(), {"train": TRAIN})
    assert texts.word_counts(np.array([1, 2])).tolist() == [0, 0, 0, 2, 0, 0, 1]
    assert texts.word_counts(words=9).tolist() == [0, 1, 5, 3, 3, 1, 2, 0, 0]


def test_what_epochs_read_is_counted() -> None:
    """15 tokens in six texts, two of which are held out with the seed 1."""
    assert TrainingTexts(make_experiment(), {"train": TRAIN}).amount_read(1, 3) == ((45, 18), (0, 0))
    texts = TrainingTexts(make_experiment(held_out=0.3), {"train": TRAIN})
    kept = int(TRAIN.lengths[texts.drawn(1)[0]].sum())
    assert texts.amount_read(1, 2) == ((2 * kept, 8), (0, 0))
