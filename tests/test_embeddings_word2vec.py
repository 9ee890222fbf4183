"""Training word vectors repeats to the last byte, and learns something."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import polars as pl
import pytest
from child import environment
from gensim.models import Word2Vec

from textrnn.embeddings import word2vec
from textrnn.embeddings.word2vec import _pieces, train
from textrnn.errors import TextrnnError

WORDS = ("<pad>", "<unk>", "tea", "coffee", "cup", "rock", "stone", "hill", "never")
DRINKS, GROUND = [2, 4, 3, 4], [5, 7, 6, 7]
IDS = pl.Series("ids", [DRINKS, GROUND, [1, *DRINKS[::-1]], GROUND[::-1]] * 60, dtype=pl.List(pl.Int32))


def digest() -> str:
    rows, index = train(IDS, WORDS, dimension=5, epochs=3, window=2)
    return hashlib.sha256(rows.tobytes() + index.tobytes()).hexdigest()


def series(texts: list[list[int]]) -> pl.Series:
    return pl.Series("ids", texts, dtype=pl.List(pl.Int32))


def gensim_alone(ids: pl.Series, words: Sequence[str], dimension: int, epochs: int, window: int) -> dict[str, bytes]:
    """Each word's vector from one plain call of gensim."""
    texts = [[words[i] for i in text] for text in ids]
    about = {"sg": 1, "vector_size": dimension, "window": window, "min_count": 1, "workers": 1, "seed": 0}
    vectors = Word2Vec(texts, epochs=epochs, **about).wv
    return {word: vectors[word].tobytes() for word in vectors.index_to_key}


def test_rows_belong_to_the_words_that_occur_except_the_unknown_word() -> None:
    rows, index = train(IDS, WORDS, dimension=5, epochs=1, window=2)
    assert rows.dtype == np.float32
    assert rows.shape == (6, 5)
    assert sorted(index.tolist()) == [2, 3, 4, 5, 6, 7]


def test_texts_of_up_to_10_000_words_get_the_bytes_of_one_plain_call_of_gensim() -> None:
    full = np.random.default_rng(0).integers(2, 8, 10_000).tolist()
    for ids in (IDS, series([full, [], [2, 3], full[:9_999]])):
        expected = gensim_alone(ids, WORDS, dimension=5, epochs=2, window=2)
        rows, index = train(ids, WORDS, dimension=5, epochs=2, window=2)
        assert sorted(index.tolist()) == [2, 3, 4, 5, 6, 7]
        assert {WORDS[i]: row.tobytes() for i, row in zip(index, rows, strict=True)} == {
            word: row for word, row in expected.items() if word != "<unk>"
        }


@pytest.mark.parametrize("length", [10_001, 20_000, 30_001])
def test_words_beyond_the_10_000th_of_a_text_are_trained(length: int) -> None:
    words = ("<pad>", "<unk>", *(f"w{i}" for i in range(400)))
    halves = [np.random.default_rng(half).integers(2 + 200 * half, 202 + 200 * half, length) for half in (0, 1)]
    text = np.concatenate(halves)[-length - 200 :].tolist()  # its last 10,000 words hold words of their own
    rows, index = train(series([text, text[::-1]]), words, dimension=5, epochs=1, window=2)
    assert sorted(index.tolist()) == sorted(set(text))
    assert len(np.unique(rows, axis=0)) == len(rows)


def test_pieces_are_as_few_as_can_be_and_of_one_length() -> None:
    for length, expected in {
        0: [0],
        1: [1],
        10: [10],
        11: [6, 5],
        20: [10, 10],
        21: [7, 7, 7],
        31: [8, 8, 8, 7],
    }.items():
        words = [str(i) for i in range(length)]
        pieces = list(_pieces(words, 10))
        assert [len(piece) for piece in pieces] == expected
        assert [word for piece in pieces for word in piece] == words


def test_a_word_that_is_alone_in_its_texts_has_no_vector() -> None:
    ids = series([*IDS, [8], [8], []])
    assert 8 not in train(ids, WORDS, dimension=5, epochs=3, window=2)[1]


def test_words_that_down_sampling_leaves_out_in_every_epoch_have_no_vector() -> None:
    words = ("<pad>", "<unk>", *(f"w{i}" for i in range(40)))
    ids = series([list(range(2 + start, 12 + start)) for start in (0, 10, 20, 30)] * 2)
    _, index = train(ids, words, dimension=5, epochs=1, window=2)
    expected = gensim_alone(ids, words, dimension=5, epochs=1, window=2)
    starts = np.random.default_rng(0).random((40, 5), dtype=np.float32) * 2 - 1
    start = {(row / np.float32(5)).tobytes() for row in starts}
    learned = {word for word, row in expected.items() if row not in start}
    assert 0 < len(learned) < 40
    assert {words[i] for i in index} == learned


@pytest.mark.parametrize("texts", [[[2], [3], []], [[1, 1, 1, 1]] * 50])
def test_texts_without_two_known_words_are_refused(texts: list[list[int]]) -> None:
    with pytest.raises(TextrnnError, match=rf"learned no vector from {len(texts)} texts.*at least two known words"):
        train(series(texts), WORDS, dimension=5, epochs=1, window=2)


def test_words_of_similar_contexts_get_similar_vectors() -> None:
    rows, index = train(IDS, WORDS, dimension=5, epochs=60, window=2)
    unit = dict(zip(index.tolist(), rows / np.linalg.norm(rows, axis=1, keepdims=True), strict=True))
    assert unit[2] @ unit[3] > unit[2] @ unit[6]
    assert unit[5] @ unit[6] > unit[5] @ unit[3]


@pytest.mark.parametrize("words", [2_000_000, 200], ids=["whole", "in shards"])
def test_repeats_in_a_process_with_other_hashes_and_fewer_cores(words: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(word2vec, "ROUND", words)
    hash_seed = "2" if os.environ.get("PYTHONHASHSEED") == "1" else "1"
    code = f"""if True:
        import os
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, {{min(os.sched_getaffinity(0))}})
        import test_embeddings_word2vec as test
        test.word2vec.ROUND = {words}
        print(test.digest())
    """
    output = subprocess.check_output([sys.executable, "-c", code], env=environment(PYTHONHASHSEED=hash_seed), text=True)
    assert output.strip() == digest() == digest()


def test_shards_train_copies_on_their_parts_and_are_averaged_each_round(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two epochs of two rounds of two shards, step by step: 16 texts of 50 words, 200 for a shard in a round."""
    monkeypatch.setattr(word2vec, "ROUND", 400)
    words = ("<pad>", "<unk>", *(f"w{i}" for i in range(100)))
    ids = np.random.default_rng(0).integers(2, 102, (16, 50)).tolist()
    texts = [[words[i] for i in text] for text in ids]
    about = {"sg": 1, "vector_size": 3, "window": 2, "min_count": 1, "workers": 1, "alpha": 0.05}
    shards = [Word2Vec(seed=seed, **about) for seed in (0, 1)]
    for shard in shards:
        shard.build_vocab(texts)
    weights = shards[0].wv.vectors.copy(), shards[0].syn1neg.copy()
    for step, (first, last) in enumerate(pairwise([0.05, 0.037525, 0.02505, 0.012575, 0.0001])):
        for number, shard in enumerate(shards):
            shard.wv.vectors[:], shard.syn1neg[:] = weights
            begin = step % 2 * 8 + number * 4
            shard.train(texts[begin : begin + 4], total_examples=4, epochs=1, start_alpha=first, end_alpha=last)
        one, other = shards
        weights = (one.wv.vectors + other.wv.vectors) / 2, (one.syn1neg + other.syn1neg) / 2
    expected = dict(zip(shards[0].wv.index_to_key, weights[0], strict=True))
    rows, index = train(series(ids), words, dimension=3, epochs=2, window=2)
    assert sorted(index.tolist()) == list(range(2, 102))
    np.testing.assert_allclose(rows, [expected[words[i]] for i in index], rtol=1e-5)


def test_a_corpus_is_trained_in_shards_from_a_number_of_words_on(monkeypatch: pytest.MonkeyPatch) -> None:
    words = IDS.list.len().sum()
    whole = digest()
    monkeypatch.setattr(word2vec, "ROUND", words + 1)
    assert digest() == whole
    monkeypatch.setattr(word2vec, "ROUND", words)
    assert digest() != whole


def test_shards_learn_what_one_model_learns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(word2vec, "ROUND", 100)
    rows, index = train(IDS, WORDS, dimension=5, epochs=60, window=2)
    unit = dict(zip(index.tolist(), rows / np.linalg.norm(rows, axis=1, keepdims=True), strict=True))
    assert unit[2] @ unit[3] > unit[2] @ unit[6]
    assert unit[5] @ unit[6] > unit[5] @ unit[3]


def test_shards_train_a_word_that_occurs_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(word2vec, "ROUND", 100)
    _, index = train(series([*IDS, [8, 2, 8, 3]]), WORDS, dimension=5, epochs=3, window=2)
    assert 8 in index
