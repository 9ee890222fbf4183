from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from textrnn.config.sections import Encode
from textrnn.corpus import tables
from textrnn.corpus.tables import Corpus, open_table, read_slices, write_tables
from textrnn.errors import TextrnnError
from textrnn.text.encoder import TextEncoder, with_known
from textrnn.text.encoding import encode_corpus
from textrnn.text.tokenizer import tokenize
from textrnn.text.vocabulary import PADDING, UNKNOWN, SeenWords, Vocabulary

WORDS = ("<pad>", "<unk>", "a", "b", "c", "d", "e")
words = st.lists(st.sampled_from(["good", "bad", "film", "n't", "...", "été", "7/10"]), min_size=1, max_size=12)


ENCODER = TextEncoder(Vocabulary(WORDS), ("neg", "pos"))


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


def encoded(corpus: Corpus, settings: Encode) -> tuple[TextEncoder, dict[str, pl.DataFrame], dict[str, Any]]:
    """What `encode_corpus` makes of `corpus`, by way of folders: encoder, tables by split, report."""
    with tempfile.TemporaryDirectory() as scratch:
        folder, target = Path(scratch, "corpus"), Path(scratch, "tokens")
        folder.mkdir()
        target.mkdir()
        corpus.save(folder, {"corpus": corpus.name, "classes": corpus.classes})
        coder, report = encode_corpus(folder, settings, target)
        return coder, {file.stem: pl.read_parquet(file) for file in target.iterdir()}, report


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


def test_encodes_whole_texts() -> None:
    ids = ENCODER.encode(pl.Series(["a b c d e", "b"]))
    assert ids.dtype == pl.List(pl.Int32)
    assert ids.to_list() == [[2, 3, 4, 5, 6], [3]]


def test_a_text_without_tokens_is_one_unknown_word() -> None:
    assert ENCODER.encode(pl.Series(["", "\u200b", "zebra a"])).to_list() == [
        [UNKNOWN],
        [UNKNOWN],
        [UNKNOWN, 2],
    ]


def test_no_texts_and_one_text() -> None:
    assert ENCODER.encode(pl.Series([], dtype=pl.String)).to_list() == []
    assert ENCODER.encode(pl.Series(["a"])).to_list() == [[2]]


def test_decode_leaves_the_padding_out() -> None:
    assert ENCODER.decode([2, UNKNOWN, 3, PADDING, PADDING]) == ["a", "<unk>", "b"]


@settings(deadline=None, max_examples=50)
@given(st.lists(words, min_size=1, max_size=5))
def test_decode_gives_the_encoded_tokens_back(texts: list[list[str]]) -> None:
    series = pl.Series([" ".join(text) for text in texts])
    tokens = tokenize(series)
    seen = SeenWords()
    seen.add(tokens)
    coder = TextEncoder(Vocabulary.build(seen, 99, 1), ("neg", "pos"))
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
    params = Encode(vocabulary_size=99, min_count=1)
    coder, frames, _ = encoded(Corpus("tiny", ("neg", "pos"), tables), params)
    assert set(coder.vocabulary.words[2:]) == {word for text in train for word in text}
    assert set(frames["test"]["ids"].explode()) == {UNKNOWN}


def test_encodes_three_classes_and_counts_what_is_unknown() -> None:
    params = Encode(vocabulary_size=4, min_count=1)
    coder, frames, report = encoded(corpus(), params)
    assert coder.vocabulary.words == ("<pad>", "<unk>", "bad", "film")
    assert frames["train"].to_dict(as_series=False) == {
        "id": ["train0", "train1", "train2"],
        "ids": [[UNKNOWN, 3, UNKNOWN], [3], [2, 2, 2, 3]],
        "unknown": [["good", "!"], [], []],
        "label": [2, 1, 0],
    }
    assert frames["train"].schema == {
        "id": pl.String,
        "ids": pl.List(pl.Int32),
        "unknown": pl.List(pl.String),
        "label": pl.Int32,
    }
    assert frames["valid"]["unknown"].to_list() == [[""], [], []]
    assert frames["test"]["unknown"].to_list() == [["unseen"], ["good"], []]
    assert frames["unlabelled"]["label"].to_list() == [None]
    assert report["vocabulary"] == 4
    assert report["distinct_words_in_train"] == 4
    assert report["splits"]["train"] == {
        "texts": 3,
        "texts_without_tokens": 0,
        "tokens": 8,
        "unknown_tokens": 2,
        "unknown_share": 0.25,
        "tokens_per_text": {"min": 1, "mean": 2.67, "p50": 3, "p90": 3, "p99": 3, "max": 4},
    }
    assert report["splits"]["valid"]["texts_without_tokens"] == 1


def test_a_larger_vocabulary_finds_its_words_among_the_unknown_ones() -> None:
    table = pl.DataFrame(
        {"ids": [[UNKNOWN, 3, UNKNOWN], [UNKNOWN], [2]], "unknown": [["good", "!"], [""], []]},
        {"ids": pl.List(pl.Int32), "unknown": pl.List(pl.String)},
    )
    words = ("<pad>", "<unk>", "bad", "film")
    assert with_known(table, Vocabulary((*words, "!", "noir"))).to_list() == [[UNKNOWN, 3, 4], [UNKNOWN], [2]]
    assert with_known(table, Vocabulary((*words, "good", "!"))).to_list() == [[4, 3, 5], [UNKNOWN], [2]]
    assert with_known(table, Vocabulary(words)).equals(table["ids"])


def test_encoder_comes_back_from_its_folder(tmp_path: Path) -> None:
    ENCODER.save(tmp_path)
    assert TextEncoder.load(tmp_path) == ENCODER
    assert json.loads((tmp_path / "encoder.json").read_text())["classes"] == ["neg", "pos"]


def test_a_folder_without_encoder_is_reported(tmp_path: Path) -> None:
    with pytest.raises(TextrnnError, match=r"encoder\.json: no such file.*dvc repro"):
        TextEncoder.load(tmp_path)


def test_slices_of_any_size_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Words that occur in one slice only, more slices in one split than in another, and a split without texts."""
    frames = corpus().frames
    frames["train"] = frame([f"good film w{row} w{row % 7}" for row in range(50)], ["good", "bad"] * 25, "train")
    frames["unlabelled"] = frames["unlabelled"].clear()
    many = Corpus("tiny", corpus().classes, frames)
    params = Encode(vocabulary_size=30, min_count=1)
    coder, whole, report = encoded(many, params)
    for size in (1, 7, 25):
        monkeypatch.setattr(tables, "SLICE", size)
        again, sliced, same = encoded(many, params)
        assert again == coder
        assert same == report
        assert all(sliced[split].equals(whole[split]) for split in whole)
    assert whole["train"].height == 50 and whole["unlabelled"].height == 0
    assert report["splits"]["train"]["tokens"] == 200


ENCODE = """
import sys; from pathlib import Path; import polars as pl
from textrnn.corpus.tables import Corpus
from textrnn.config.sections import Encode
from textrnn.text.encoding import encode_corpus
folder, few = Path(sys.argv[1]), ["a b", "b", ""]
texts = {"train": [f"w{i % 9973} w{i % 31}" for i in range(70_000)], "valid": few, "test": few}
frames = {
    split: pl.DataFrame({"id": rows, "text": rows, "label": ["x"] * len(rows), "group": rows})
    for split, rows in texts.items()
}
Corpus("tiny", ("x", "y"), frames).save(folder, {"corpus": "tiny", "classes": ["x", "y"]})
(folder / "tokens").mkdir()
settings = Encode(vocabulary_size=5000, min_count=1)
encoder, _ = encode_corpus(folder, settings, folder / "tokens")
encoder.save(folder / "tokens")
"""


def test_bytes_do_not_depend_on_threads_or_hash_seed(tmp_path: Path) -> None:
    for threads in ("1", "5"):
        (tmp_path / threads).mkdir()
        environment = {**os.environ, "POLARS_MAX_THREADS": threads, "PYTHONHASHSEED": threads}
        subprocess.run([sys.executable, "-c", ENCODE, str(tmp_path / threads)], check=True, env=environment)
    for name in ("train.parquet", "tokens/train.parquet", "tokens/valid.parquet", "tokens/vocabulary.txt"):
        assert (tmp_path / "1" / name).read_bytes() == (tmp_path / "5" / name).read_bytes()


def test_a_table_is_written_and_read_in_slices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = corpus().frames["train"]
    for name in ("table", "again"):
        with open_table(tmp_path / f"{name}.parquet", rows.schema) as append:
            for start in range(rows.height):
                append(rows.slice(start, 1))
    assert pl.read_parquet(tmp_path / "table.parquet").equals(rows)
    assert (tmp_path / "again.parquet").read_bytes() == (tmp_path / "table.parquet").read_bytes()
    monkeypatch.setattr(tables, "SLICE", 2)
    slices = list(read_slices(tmp_path / "table.parquet", "text", "id"))
    assert [part.height for part in slices] == [2, 1]
    assert pl.concat(slices).equals(rows.select("text", "id"))


def test_a_table_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    rows = corpus().frames["train"]
    missing = tmp_path / "missing" / "table.parquet"
    with pytest.raises(FileNotFoundError), open_table(missing, rows.schema) as append:
        append(rows)


def test_an_error_among_the_rows_of_a_table_is_reported_at_once(tmp_path: Path) -> None:
    with pytest.raises(KeyError), open_table(tmp_path / "table.parquet", pl.Schema({"id": pl.String})):
        raise KeyError


def test_tables_come_back_in_the_order_of_the_splits(tmp_path: Path) -> None:
    frames = corpus().frames
    write_tables(tmp_path, dict(reversed(frames.items())))
    (tmp_path / "quality.json").write_text('{"corpus": "tiny", "classes": ["bad", "so-so", "good"]}')
    loaded = Corpus.load(tmp_path)
    assert list(loaded.frames) == ["train", "valid", "test", "unlabelled"]
    assert loaded.classes == corpus().classes
    assert all(loaded.frames[split].equals(frames[split]) for split in frames)


def test_a_missing_table_is_reported(tmp_path: Path) -> None:
    with pytest.raises(TextrnnError, match=r"quality\.json: no such file"):
        Corpus.load(tmp_path)
    (tmp_path / "quality.json").write_text('{"corpus": "tiny", "classes": ["a", "b"]}')
    with pytest.raises(TextrnnError, match=r"lacks train\.parquet, valid\.parquet, test\.parquet"):
        Corpus.load(tmp_path)
