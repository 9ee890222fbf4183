"""Padding and batches by hand, and what holds for any lengths."""

from __future__ import annotations

import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from child import environment
from hypothesis import given
from hypothesis import strategies as st
from sklearn.utils.class_weight import compute_sample_weight
from tiny_experiments import make_experiment
from tiny_models import LABELS, TEXTS, make_tokens

from textrnn.modeling import batches
from textrnn.modeling.batches import LENGTH_JITTER, Tokens, balanced_weights, length_buckets, rare_word_chances
from textrnn.text.encoding import SCHEMA
from textrnn.text.vocabulary import Vocabulary

many_lengths = st.lists(st.integers(1, 30), min_size=1, max_size=40).map(np.array)
batch_sizes = st.integers(1, 9)
seeds = st.none() | st.integers(0, 99)


def make_rng(seed: int | None) -> np.random.Generator | None:
    return None if seed is None else np.random.default_rng(seed)


def test_padding_is_on_the_left_and_a_batch_is_as_wide_as_its_longest_text() -> None:
    tokens = make_tokens()
    padded = tokens.padded(np.array([3, 1, 0]))
    assert padded.dtype == np.int32
    assert padded.tolist() == [[5, 1, 2, 0], [6, 0, 0, 0], [2, 3, 4, 5]]
    assert tokens.padded(np.array([4])).tolist() == [[4, 6, 2, 3, 5]]
    assert tokens.lengths.tolist() == [4, 1, 2, 3, 5]
    assert len(tokens) == 5


def test_joined_texts_are_those_of_the_first_and_then_those_of_the_second(tmp_path: Path) -> None:
    """An unlabelled text has the label -1."""
    columns = {"id": ["x", "y"], "ids": [[9, 8, 7], [5]], "unknown": [[], []], "label": [None, None]}
    pl.DataFrame(columns, SCHEMA).write_parquet(tmp_path / "unlabelled.parquet")
    unlabelled = Tokens.load(tmp_path / "unlabelled.parquet", make_experiment(max_tokens=2))
    joined = make_tokens().take(np.array([1, 3])).join(unlabelled)
    assert joined.ids.to_list() == ["1", "3", "x", "y"]
    assert (joined.labels.dtype, joined.labels.tolist()) == (np.int32, [1, 0, -1, -1])
    assert joined.padded(np.arange(4)).tolist() == [[6, 0, 0], [5, 1, 2], [9, 7, 0], [5, 0, 0]]
    assert joined.lengths.tolist() == [1, 3, 2, 1]
    assert joined.truncated == {"texts": 1, "tokens": 1}
    assert joined.counts().tolist() == [0, 1, 1, 0, 0, 2, 1, 1, 0, 1]


def test_load_reads_what_encode_corpus_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = pl.DataFrame(
        {"id": ["a", "b", "c", "d", "e"], "ids": TEXTS, "unknown": [[], [], [], ["seven"], []], "label": LABELS},
        SCHEMA,
    )
    more = Vocabulary(("<pad>", "<unk>", *"abcde", "seven"))
    table.write_parquet(tmp_path / "train.parquet", row_group_size=3)
    for size in (1, 2, 5, 9):
        monkeypatch.setattr(batches, "SLICE", size)
        tokens = Tokens.load(tmp_path / "train.parquet", make_experiment(max_tokens=9))
        assert tokens.ids.to_list() == ["a", "b", "c", "d", "e"]
        assert tokens.labels.dtype == np.int32
        assert tokens.labels.tolist() == LABELS
        assert tokens.lengths.tolist() == [4, 1, 2, 3, 5]
        for row, text in enumerate(TEXTS):
            assert tokens.padded(np.array([row])).tolist() == [text]
        known = Tokens.load(tmp_path / "train.parquet", make_experiment(max_tokens=9), more)
        assert known.padded(np.array([3, 4])).tolist() == [[5, 7, 2, 0, 0], [4, 6, 2, 3, 5]]
        cut = Tokens.load(tmp_path / "train.parquet", make_experiment(max_tokens=2, keep="end", padding="left"))
        assert cut.lengths.tolist() == [2] * 5
        assert cut.padded(np.arange(5)).tolist() == [[4, 5], [0, 6], [3, 3], [1, 2], [3, 5]]


def test_taken_rows_are_those_of_the_whole() -> None:
    taken = make_tokens().take(np.array([3, 0]))
    assert (len(taken), taken.ids.to_list(), taken.labels.tolist(), taken.lengths.tolist()) == (
        2,
        ["3", "0"],
        [0, 0],
        [3, 4],
    )
    assert taken.padded(np.array([0, 1])).tolist() == [[5, 1, 2, 0], [2, 3, 4, 5]]


def test_words_and_unknown_words_are_counted_in_the_texts_that_were_taken() -> None:
    tokens = make_tokens([[2, 1, 3], [1, 1], [0, 3, 3], [1]], [0, 0, 0, 0])
    assert tokens.counts().tolist() == [1, 4, 1, 3]
    assert tokens.take(np.array([2, 0])).counts().tolist() == [1, 1, 1, 3]
    assert tokens.unknown() == {"tokens": 8, "unknown": 4, "texts": 2}
    assert tokens.take(np.array([3, 2])).unknown() == {"tokens": 3, "unknown": 1, "texts": 1}


def test_a_rare_word_is_unknown_with_the_probability_a_over_a_plus_n() -> None:
    chances = rare_word_chances(np.array([9, 5, 1, 3, 0]), 1.0)
    assert chances.dtype == np.float32
    assert chances.tolist() == [0, 0, 0.5, 0.25, 1]
    assert rare_word_chances(np.array([0, 0, 1]), 0.25).tolist() == [0, 0, pytest.approx(0.2)]


LOAD = """
import sys; import numpy as np; import polars as pl
from pathlib import Path
from textrnn.modeling.batches import Tokens
from tiny_experiments import make_experiment
peak = lambda: next(int(line.split()[1]) << 10 for line in open("/proc/self/status") if line.startswith("VmHWM"))
whole = make_experiment(max_tokens=400)
Tokens.load(Path(sys.argv[1], "few.parquet"), whole)
before = peak()
tokens = Tokens.load(Path(sys.argv[1], "many.parquet"), whole)
print(peak() - before, 4 * tokens.lengths.sum() + tokens.lengths.nbytes)
"""


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="reads the peak of memory from Linux")
def test_load_holds_the_tokens_once(tmp_path: Path) -> None:
    text = pl.DataFrame({"id": ["x"], "ids": [[*range(400)]], "unknown": [["w"]], "label": [0]}, SCHEMA)
    for name, texts in (("few", batches.SLICE), ("many", 1 << 17)):
        pl.concat([text] * texts).write_parquet(tmp_path / f"{name}.parquet", row_group_size=1 << 16)
    done = subprocess.run(
        [sys.executable, "-c", LOAD, str(tmp_path)],
        env=environment(),
        check=True,
        capture_output=True,
        text=True,
    )
    grown, size = map(int, done.stdout.split())
    assert size > 200e6
    assert grown < 1.5 * size


def test_without_a_generator_batches_go_by_length_and_then_by_row() -> None:
    lengths = np.array([4, 1, 2, 1, 4, 3])
    assert [rows.tolist() for rows in length_buckets(lengths, 4)] == [[1, 3, 2, 5], [0, 4]]


@given(many_lengths, batch_sizes, seeds)
def test_every_row_is_in_one_batch(lengths: np.ndarray, batch_size: int, seed: int | None) -> None:
    batches = length_buckets(lengths, batch_size, make_rng(seed))
    assert sorted(np.concatenate(batches)) == list(range(len(lengths)))
    sizes = sorted(len(rows) for rows in batches)
    assert sizes[1:] == [batch_size] * (len(sizes) - 1)
    assert 1 <= sizes[0] <= batch_size


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


def test_all_classes_weigh_the_same() -> None:
    """Five texts of two classes, and none of class 1: 5 / (2 x 4) and 5 / (2 x 1)."""
    weights = balanced_weights(np.array([2, 2, 0, 2, 2], np.int32))
    assert weights.dtype == np.float32
    assert weights.tolist() == [0.625, 0.625, 2.5, 0.625, 0.625]
    expected = compute_sample_weight("balanced", labels := [0, 1, 3, 1, 1, 3, 1])
    np.testing.assert_allclose(balanced_weights(np.array(labels)), expected, rtol=1e-6)
