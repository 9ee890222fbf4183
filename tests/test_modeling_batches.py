"""Padding and batches by hand, and what holds for any lengths."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl
from hypothesis import given
from hypothesis import strategies as st
from tiny_models import LABELS, TEXTS, make_tokens

from textrnn.modeling.batches import LENGTH_JITTER, Batches, Tokens, length_buckets

many_lengths = st.lists(st.integers(1, 30), min_size=1, max_size=40).map(np.array)
batch_sizes = st.integers(1, 9)
seeds = st.none() | st.integers(0, 99)


def make_rng(seed: int | None) -> np.random.Generator | None:
    return None if seed is None else np.random.default_rng(seed)


def test_padded_stands_on_the_left_and_is_as_wide_as_its_longest_text() -> None:
    tokens = make_tokens()
    padded = tokens.padded(np.array([3, 1, 0]))
    assert padded.dtype == np.int32
    assert padded.tolist() == [[5, 1, 2, 0], [6, 0, 0, 0], [2, 3, 4, 5]]
    assert tokens.padded(np.array([4])).tolist() == [[4, 6, 2, 3, 5]]
    assert tokens.lengths.tolist() == [4, 1, 2, 3, 5]
    assert len(tokens) == 5


def test_load_reads_what_encode_corpus_writes(tmp_path: Path) -> None:
    table = pl.DataFrame(
        {"id": ["a", "b", "c", "d", "e"], "ids": TEXTS, "label": LABELS},
        schema={"id": pl.String, "ids": pl.List(pl.Int32), "label": pl.Int32},
    )
    table.write_parquet(tmp_path / "train.parquet")
    tokens = Tokens.load(tmp_path / "train.parquet")
    assert tokens.ids == ["a", "b", "c", "d", "e"]
    assert tokens.labels.tolist() == LABELS
    assert tokens.padded(np.arange(5)).tolist() == make_tokens().padded(np.arange(5)).tolist()


def test_without_a_generator_batches_go_by_length_and_then_by_row() -> None:
    lengths = np.array([4, 1, 2, 1, 4, 3])
    assert [rows.tolist() for rows in length_buckets(lengths, 4)] == [[1, 3, 2, 5], [0, 4]]
    # Keras looks at the first two batches to learn whether widths vary: the third comes forward.
    lengths = np.array([1, 1, 1, 1, 5])
    assert [rows.tolist() for rows in length_buckets(lengths, 2)] == [[0, 1], [4], [2, 3]]


@given(many_lengths, batch_sizes, seeds)
def test_every_row_is_in_one_batch(lengths: np.ndarray, batch_size: int, seed: int | None) -> None:
    batches = length_buckets(lengths, batch_size, make_rng(seed))
    assert sorted(np.concatenate(batches)) == list(range(len(lengths)))
    sizes = sorted(len(rows) for rows in batches)
    assert sizes[1:] == [batch_size] * (len(sizes) - 1)
    assert 1 <= sizes[0] <= batch_size


@given(many_lengths, batch_sizes, seeds)
def test_first_two_batches_differ_in_width_where_any_do(lengths: np.ndarray, batch_size: int, seed: int | None) -> None:
    widths = [lengths[rows].max() for rows in length_buckets(lengths, batch_size, make_rng(seed))]
    if len(set(widths)) > 1:
        assert widths[0] != widths[1]


@given(many_lengths, batch_sizes, st.integers(0, 99))
def test_neighbours_are_of_similar_length(lengths: np.ndarray, batch_size: int, seed: int) -> None:
    batches = length_buckets(lengths, batch_size, np.random.default_rng(seed))
    by_length = sorted(batches, key=lambda rows: int(lengths[rows].sum()) / len(rows))
    for shorter, longer in pairwise(by_length):
        assert lengths[shorter].max() < lengths[longer].min() + 2 * LENGTH_JITTER


def test_batches_are_drawn_anew_in_every_epoch_and_alike_for_a_seed() -> None:
    lengths = np.tile([3, 4, 5, 6], 25)

    def epochs() -> list[list[list[int]]]:
        rng = np.random.default_rng(4)
        return [[rows.tolist() for rows in length_buckets(lengths, 8, rng)] for _ in range(2)]

    first, second = epochs()
    assert first != second
    assert sorted(map(sorted, first)) != sorted(map(sorted, second))
    assert epochs() == [first, second]


def test_a_batch_holds_ids_and_one_hot_labels() -> None:
    ids, targets = Batches(make_tokens(labels=[0, 1, 2, 0, 2]), [np.array([2, 1])], classes=3)[0]
    assert ids.tolist() == [[3, 3], [6, 0]]
    assert targets.dtype == np.float32
    assert targets.tolist() == [[0, 0, 1], [0, 1, 0]]
