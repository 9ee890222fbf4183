from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Literal

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from textrnn.corpus.tables import Corpus, write_tables
from textrnn.errors import TextrnnError
from textrnn.params import Encode
from textrnn.text.encoder import TextEncoder
from textrnn.text.encoding import encode_corpus
from textrnn.text.tokenizer import tokenize
from textrnn.text.vocabulary import PADDING, UNKNOWN, Vocabulary

WORDS = ("<pad>", "<unk>", "a", "b", "c", "d", "e")
words = st.lists(st.sampled_from(["good", "bad", "film", "n't", "...", "été", "7/10"]), min_size=1, max_size=12)


def encoder(max_tokens: int = 4, keep: Literal["start", "end", "both"] = "start") -> TextEncoder:
    return TextEncoder(Vocabulary(WORDS), ("neg", "pos"), max_tokens, keep)


def frame(texts: list[str], labels: list[str | None], split: str) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "id": [f"{split}{i}" for i in range(len(texts))],
            "text": texts,
            "label": labels,
            "group": [None] * len(texts),
        },
        schema={"id": pl.String, "text": pl.String, "label": pl.String, "group": pl.String},
    )


def corpus() -> Corpus:
    """Three classes, and an unlabelled split."""
    return Corpus(
        "tiny",
        ("bad", "so-so", "good"),
        {
            "train": frame(["Good film!", "film", "bad bad bad film"], ["good", "so-so", "bad"], "train"),
            "valid": frame(["\u200b", "film film", "bad"], ["bad", "so-so", "good"], "valid"),
            "test": frame(["unseen", "good", "film"], ["good", "bad", "so-so"], "test"),
            "unlabelled": frame(["film noir"], [None], "unlabelled"),
        },
    )


@pytest.mark.parametrize(
    ("keep", "max_tokens", "expected"),
    [
        ("start", 3, [2, 3, 4]),
        ("end", 3, [4, 5, 6]),
        ("both", 3, [2, 3, 6]),
        ("both", 4, [2, 3, 5, 6]),
        ("both", 1, [2]),
        ("both", 5, [2, 3, 4, 5, 6]),
        ("start", 9, [2, 3, 4, 5, 6]),
    ],
)
def test_keeps_the_wanted_end(keep: Literal["start", "end", "both"], max_tokens: int, expected: list[int]) -> None:
    ids = encoder(max_tokens, keep).encode(pl.Series(["a b c d e", "b"]))
    assert ids.dtype == pl.List(pl.Int32)
    assert ids.to_list() == [expected, [3]]


def test_a_text_without_tokens_is_one_unknown_word() -> None:
    assert encoder().encode(pl.Series(["", "\u200b", "zebra a"])).to_list() == [
        [UNKNOWN],
        [UNKNOWN],
        [UNKNOWN, 2],
    ]


def test_no_texts_and_one_text() -> None:
    assert encoder().encode(pl.Series([], dtype=pl.String)).to_list() == []
    assert encoder(keep="both").encode(pl.Series(["a"])).to_list() == [[2]]


def test_decode_leaves_the_padding_out() -> None:
    assert encoder().decode([2, UNKNOWN, 3, PADDING, PADDING]) == ["a", "<unk>", "b"]


@settings(deadline=None, max_examples=50)
@given(st.lists(words, min_size=1, max_size=5))
def test_decode_gives_the_encoded_tokens_back(texts: list[list[str]]) -> None:
    series = pl.Series([" ".join(text) for text in texts])
    tokens = tokenize(series)
    coder = TextEncoder(Vocabulary.build(tokens, 99, 1), ("neg", "pos"), 12, "both")
    assert [coder.decode(ids) for ids in coder.encode(series)] == tokens.to_list() == texts


@settings(deadline=None, max_examples=50)
@given(
    st.lists(words, min_size=1, max_size=4),
    st.lists(st.text("xyz", min_size=1, max_size=3), min_size=1, max_size=4),
)
def test_no_test_word_reaches_the_vocabulary(train: list[list[str]], test: list[str]) -> None:
    tables = {
        "train": frame([" ".join(text) for text in train], ["neg"] * len(train), "train"),
        "valid": frame(test, ["neg"] * len(test), "valid"),
        "test": frame(test, ["pos"] * len(test), "test"),
        "unlabelled": frame(test, [None] * len(test), "unlabelled"),
    }
    params = Encode(vocabulary_size=99, min_count=1, max_tokens=9, keep="start")
    coder, frames, _ = encode_corpus(Corpus("tiny", ("neg", "pos"), tables), params)
    assert set(coder.vocabulary.words[2:]) == {word for text in train for word in text}
    assert set(frames["test"]["ids"].explode()) == {UNKNOWN}


def test_encodes_three_classes_and_counts_what_is_lost() -> None:
    params = Encode(vocabulary_size=4, min_count=1, max_tokens=3, keep="start")
    coder, frames, report = encode_corpus(corpus(), params)
    assert coder.vocabulary.words == ("<pad>", "<unk>", "bad", "film")
    assert frames["train"].to_dict(as_series=False) == {
        "id": ["train0", "train1", "train2"],
        "ids": [[UNKNOWN, 3, UNKNOWN], [3], [2, 2, 2]],
        "label": [2, 1, 0],
    }
    assert frames["train"].schema == {"id": pl.String, "ids": pl.List(pl.Int32), "label": pl.Int32}
    assert frames["unlabelled"]["label"].to_list() == [None]
    assert report["vocabulary"] == 4
    assert report["distinct_words_in_train"] == 4
    assert report["splits"]["train"] == {
        "texts": 3,
        "texts_without_tokens": 0,
        "truncated_texts": 1,
        "tokens": 8,
        "dropped_tokens": 1,
        "unknown_tokens": 2,
        "unknown_share": 0.285714,
        "tokens_per_text": {"min": 1, "mean": 2.67, "p50": 3, "p90": 3, "p99": 3, "max": 4},
    }
    assert report["splits"]["valid"]["texts_without_tokens"] == 1


def test_encoder_comes_back_from_its_folder(tmp_path: Path) -> None:
    encoder(5, "both").save(tmp_path)
    assert TextEncoder.load(tmp_path) == encoder(5, "both")
    assert json.loads((tmp_path / "encoder.json").read_text())["classes"] == ["neg", "pos"]


def test_a_folder_without_encoder_is_told(tmp_path: Path) -> None:
    with pytest.raises(TextrnnError, match=r"encoder\.json: no such file.*dvc repro"):
        TextEncoder.load(tmp_path)


WRITE = """
import sys; from pathlib import Path; import polars as pl
from textrnn.corpus.tables import write_tables
from textrnn.text.tokenizer import tokenize
from textrnn.text.vocabulary import Vocabulary
texts = pl.Series([f"w{i % 997} w{i % 31} w{i}" for i in range(70_000)])
tokens = tokenize(texts); vocabulary = Vocabulary.build(tokens, 5000, 1)
vocabulary.save(Path(sys.argv[1], "v.txt"))
write_tables(Path(sys.argv[1]), {"train": pl.DataFrame({"id": texts, "ids": vocabulary.lookup(tokens)})})
"""


def test_bytes_do_not_depend_on_threads_or_hash_seed(tmp_path: Path) -> None:
    for threads in ("1", "5"):
        (tmp_path / threads).mkdir()
        environment = {**os.environ, "POLARS_MAX_THREADS": threads, "PYTHONHASHSEED": threads}
        subprocess.run([sys.executable, "-c", WRITE, str(tmp_path / threads)], check=True, env=environment)
    for name in ("v.txt", "train.parquet"):
        assert (tmp_path / "1" / name).read_bytes() == (tmp_path / "5" / name).read_bytes()


def test_tables_come_back_in_the_order_of_the_splits(tmp_path: Path) -> None:
    frames = corpus().frames
    write_tables(tmp_path, dict(reversed(frames.items())))
    (tmp_path / "quality.json").write_text('{"corpus": "tiny", "classes": ["bad", "so-so", "good"]}')
    loaded = Corpus.load(tmp_path)
    assert list(loaded.frames) == ["train", "valid", "test", "unlabelled"]
    assert loaded.classes == corpus().classes
    assert all(loaded.frames[split].equals(frames[split]) for split in frames)


def test_a_missing_table_is_told(tmp_path: Path) -> None:
    with pytest.raises(TextrnnError, match=r"quality\.json: no such file"):
        Corpus.load(tmp_path)
    (tmp_path / "quality.json").write_text('{"corpus": "tiny", "classes": ["a", "b"]}')
    with pytest.raises(TextrnnError, match=r"lacks train\.parquet, valid\.parquet, test\.parquet"):
        Corpus.load(tmp_path)
