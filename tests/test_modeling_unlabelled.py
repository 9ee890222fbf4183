"""Which unlabelled texts a step reads."""

from __future__ import annotations

import numpy as np
from tiny_models import make_tokens

from textrnn.modeling.unlabelled import Unlabelled

TEXTS = make_tokens([[2] * length for length in (7, 1, 5, 3, 2, 8, 4, 6)], [])


def test_every_text_is_read_as_often_as_any_other() -> None:
    """Three steps of four texts are an epoch: after two epochs each of the eight was read three times."""
    texts = Unlabelled(TEXTS, 4)
    epochs = [np.concatenate(texts.batches(5, epoch, np.array([3, 9, 6]))) for epoch in (1, 2)]
    assert np.bincount(np.concatenate(epochs)).tolist() == [3] * 8
    assert np.bincount(epochs[0], minlength=8).max() == 2
    assert texts.amount_read(5, 6) == (3 * 36, 24)
    assert texts.amount_read(5, 3) == (int(TEXTS.lengths[epochs[0]].sum()), 12)
    assert texts.amount_read(5, 0) == (0, 0)


def test_what_an_epoch_reads_follows_from_seed_and_epoch_alone() -> None:
    longest = np.array([4, 4, 4])
    drawn = {key: np.array(Unlabelled(TEXTS, 2).batches(*key, longest)).tobytes() for key in ((0, 1), (0, 2), (1, 1))}
    assert len(set(drawn.values())) == 3
    assert np.array(Unlabelled(TEXTS, 2).batches(0, 2, longest)).tobytes() == drawn[0, 2]


def test_longer_texts_are_read_beside_longer_ones() -> None:
    """All eight in four steps, in pairs by length."""
    rows = Unlabelled(TEXTS, 2).batches(0, 1, np.array([60, 9, 80, 10]))
    assert [TEXTS.lengths[each].tolist() for each in rows] == [[5, 6], [1, 2], [7, 8], [3, 4]]


def test_the_texts_are_below_those_with_a_label_in_one_batch() -> None:
    ids = np.array([[3, 4], [5, 0]], np.int32)
    joined = Unlabelled(TEXTS, 2).joined(ids, np.array([3, 1]))
    assert joined.dtype == np.int32
    assert joined.tolist() == [[3, 4, 0], [5, 0, 0], [2, 2, 2], [2, 0, 0]]
    assert Unlabelled(TEXTS, 1).joined(ids, np.array([1])).tolist() == [[3, 4], [5, 0], [2, 0]]
