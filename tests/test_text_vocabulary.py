from __future__ import annotations

from collections import Counter
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from textrnn.errors import TextrnnError
from textrnn.text import vocabulary
from textrnn.text.vocabulary import PADDING, UNKNOWN, SeenWords, Vocabulary


def seen(*slices: pl.Series) -> SeenWords:
    words = SeenWords()
    for tokens in slices:
        words.add(tokens)
    return words


SEEN = seen(pl.Series([["b", "a", "b", "c"], ["a", "b", "d"], []]))
word_lists = st.lists(st.lists(st.text("abcé'", min_size=1, max_size=2)), min_size=1)


def test_most_frequent_words_first_then_by_word() -> None:
    assert Vocabulary.build(SEEN, 99, 1).words == ("<pad>", "<unk>", "b", "a", "c", "d")


def test_size_counts_the_reserved_words() -> None:
    vocabulary = Vocabulary.build(SEEN, 4, 1)
    assert vocabulary.words == ("<pad>", "<unk>", "b", "a")
    assert len(vocabulary) == 4


def test_min_count_leaves_rare_words_out() -> None:
    assert Vocabulary.build(SEEN, 99, 2).words == ("<pad>", "<unk>", "b", "a")


@pytest.mark.parametrize("few", [0, 9], ids=["by polars", "by dictionary"])
def test_lookup_gives_indices_and_unknown(monkeypatch: pytest.MonkeyPatch, few: int) -> None:
    monkeypatch.setattr(vocabulary, "FEW", few)
    ids = Vocabulary.build(SEEN, 4, 1).lookup(pl.Series([["a", "zz", "b"], [], ["d"]], dtype=pl.List(pl.String)))
    assert ids.dtype == pl.List(pl.Int32)
    assert ids.to_list() == [[3, UNKNOWN, 2], [], [UNKNOWN]]


def test_no_word_often_enough_is_reported() -> None:
    with pytest.raises(TextrnnError, match=r"encode\.min_count: no word occurs 9 times .* Lower min_count"):
        Vocabulary.build(SEEN, 99, 9)


@settings(deadline=None, max_examples=50)
@given(word_lists, st.integers(3, 6), st.integers(1, 3))
def test_matches_a_plain_count(lists: list[list[str]], size: int, min_count: int) -> None:
    counts = Counter(word for words in lists for word in words)
    expected = sorted((word for word in counts if counts[word] >= min_count), key=lambda word: (-counts[word], word))
    slices = [pl.Series([words], dtype=pl.List(pl.String)) for words in lists]
    found = seen(*slices)
    assert dict(found.counts().iter_rows()) == counts
    assert found.counts().equals(seen(pl.concat(slices)).counts())
    assert len(found) == len(counts)
    if not expected:
        with pytest.raises(TextrnnError):
            Vocabulary.build(found, size, min_count)
    else:
        assert Vocabulary.build(found, size, min_count).words == ("<pad>", "<unk>", *expected[: size - 2])


@settings(deadline=None, max_examples=50)
@given(st.lists(word_lists, min_size=1))
def test_words_are_looked_up_by_number_as_by_name(slices: list[list[list[str]]]) -> None:
    words = SeenWords()
    tokens = [pl.Series(lists, dtype=pl.List(pl.String)) for lists in slices]
    numbers = [words.add(part) for part in tokens]
    vocabulary = Vocabulary(("<pad>", "<unk>", "a", "'", "éb"))
    lookup = words.lookup(vocabulary)
    for part, numbered in zip(tokens, numbers, strict=True):
        ids, unknown = lookup(numbered)
        assert ids.equals(vocabulary.lookup(part))
        assert unknown.to_list() == vocabulary.lacks(part).to_list()
        assert unknown.to_list() == [[word for word in text if word not in vocabulary.words] for text in part.to_list()]


def test_comes_back_from_its_file_one_word_per_line(tmp_path: Path) -> None:
    vocabulary = Vocabulary(("<pad>", "<unk>", "don", "é", "\x85x"))
    vocabulary.save(tmp_path / "v.txt")
    assert (tmp_path / "v.txt").read_bytes().split(b"\n")[2] == b"don"
    assert Vocabulary.load(tmp_path / "v.txt") == vocabulary
    assert vocabulary.words[PADDING] == "<pad>"


@pytest.mark.parametrize("content", ["", "the\na\n", "<pad>\n<unk>\na\na\n"])
def test_a_file_that_is_no_vocabulary_is_reported(tmp_path: Path, content: str) -> None:
    (tmp_path / "v.txt").write_text(content)
    with pytest.raises(TextrnnError, match="must hold unique words"):
        Vocabulary.load(tmp_path / "v.txt")


def test_a_missing_file_is_reported(tmp_path: Path) -> None:
    with pytest.raises(TextrnnError, match=r"v\.txt: no such file.*dvc repro"):
        Vocabulary.load(tmp_path / "v.txt")
