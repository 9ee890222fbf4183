"""Each format of word vectors, read out of real archives, and each way in which a file can be wrong."""

from __future__ import annotations

import gzip
import io
import zipfile
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from textrnn.catalog import VectorsEntry
from textrnn.embeddings.sources import read_vectors
from textrnn.errors import TextrnnError

WORDS = ["<pad>", "<unk>", "good", "café", "absent"]
VECTORS = {"the": [1, 2, 3], "café": [-0.5, 0.25, 1e-3], "good": [4, 5, 6.5]}
EXPECTED = {"café": [-0.5, 0.25, 1e-3], "good": [4, 5, 6.5]}


def make_entry(format: str, dimension: int = 3, member: str | None = None, words: str | None = None) -> VectorsEntry:
    return VectorsEntry(
        source="file:vectors",
        sha256="0" * 64,
        licence="CC0",
        citation="none",
        format=format,  # type: ignore[arg-type]
        dimension=dimension,
        member=member,
        words=words,
    )


def text(vectors: dict[str, list[float]] = VECTORS, end: str = "\n") -> bytes:
    return "".join(f"{word} {' '.join(map(str, row))}{end}" for word, row in vectors.items()).encode()


def binary(end: bytes = b"", vectors: dict[str, list[float]] = VECTORS) -> bytes:
    rows = (word.encode() + b" " + np.array(row, "<f4").tobytes() + end for word, row in vectors.items())
    return f"{len(vectors)} 3\n".encode() + b"".join(rows)


def npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def parquet(words: list[str | None]) -> bytes:
    stream = io.BytesIO()
    pl.DataFrame({"index": words, "rank": range(len(words))}).write_parquet(stream)
    return stream.getvalue()


def write(path: Path, content: bytes | dict[str, bytes]) -> Path:
    if isinstance(content, bytes):
        path.write_bytes(content)
        return path
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, data in content.items():
            archive.writestr(member, data)
    return path


def read(path: Path, entry: VectorsEntry) -> dict[str, list[float]]:
    rows, index = read_vectors(path, entry, WORDS)
    assert rows.dtype == np.float32
    assert index.dtype == np.int64
    return {WORDS[i]: pytest.approx(row) for i, row in zip(index, rows.tolist(), strict=True)}


# Compressed without the time of day: what is tested must not change between two collections.
FORMATS: dict[str, tuple[bytes | dict[str, bytes], VectorsEntry]] = {
    "glove.txt": (text(), make_entry("glove")),
    "windows.txt": (text(end="\r\n"), make_entry("glove")),
    "cut-line-feed.txt": (text()[:-1], make_entry("glove")),
    "glove.zip": ({"README": b"", "glove.3d.txt": text()}, make_entry("glove", member="glove.3d.txt")),
    "glove.txt.gz": (gzip.compress(text(), mtime=0), make_entry("glove")),
    "w2v.txt": (b"3 3\n" + text(), make_entry("word2vec-text")),
    "w2v-trailing-space.txt": (b"3 3\n" + text(end=" \n"), make_entry("word2vec-text")),
    "w2v.bin": (binary(), make_entry("word2vec-binary")),
    "w2v-line-feeds.bin": (binary(b"\n"), make_entry("word2vec-binary")),
    "w2v.bin.gz": (gzip.compress(binary(b"\n"), mtime=0), make_entry("word2vec-binary")),
    "rows.whl": (
        {"m.npy": npy(np.array(list(VECTORS.values()), "f4")), "w.parquet": parquet(list(VECTORS))},
        make_entry("npy", member="m.npy", words="w.parquet"),
    ),
    "columns.whl": (
        {"m.npy": npy(np.asfortranarray(list(VECTORS.values()))), "w.txt": "\n".join(VECTORS).encode()},
        make_entry("npy", member="m.npy", words="w.txt"),
    ),
}


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_the_vectors_of_the_words_it_has(tmp_path: Path, name: str) -> None:
    content, entry = FORMATS[name]
    assert read(write(tmp_path / name, content), entry) == EXPECTED


def test_words_with_spaces_as_in_glove_840b(tmp_path: Path) -> None:
    path = write(tmp_path / "840b.txt", b". . . 9 9 9\nat name@domain.com 8 8 8\n" + text())
    rows, index = read_vectors(path, make_entry("glove"), [*WORDS, ". . ."])
    assert index.tolist() == [5, 3, 2]
    assert rows[0].tolist() == [9, 9, 9]


def test_the_first_of_two_equal_words_counts(tmp_path: Path) -> None:
    path = write(tmp_path / "twice.txt", text() + b"good 7 7 7\n")
    assert read(path, make_entry("glove")) == EXPECTED


def test_a_token_that_is_not_utf8_disturbs_nobody(tmp_path: Path) -> None:
    path = write(tmp_path / "latin1.txt", b"caf\xe9 7 7 7\n\xc2\xa0 8 8 8\n" + text())
    assert read(path, make_entry("glove")) == EXPECTED


def test_one_dimension_is_not_mistaken_for_a_header(tmp_path: Path) -> None:
    path = write(tmp_path / "1d.txt", b"7 5\ngood 2\n")
    assert read(path, make_entry("glove", dimension=1)) == {"good": [2.0]}


@pytest.mark.parametrize("lines", [1, 2, 3])
def test_lines_are_parsed_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lines: int) -> None:
    monkeypatch.setattr("textrnn.embeddings.sources._PARSED_AT_ONCE", lines)
    assert read(write(tmp_path / "glove.txt", text()), make_entry("glove")) == EXPECTED
    bad = write(tmp_path / "bad.txt", text().replace(b"good 4 5 6.5", b"good 4 5 x"))
    with pytest.raises(TextrnnError, match="line 3 must hold a word and 3 numbers"):
        read_vectors(bad, make_entry("glove"), WORDS)


@pytest.mark.parametrize("block", [1, 7, 1 << 20])
def test_binary_rows_may_lie_across_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    monkeypatch.setattr("textrnn.embeddings.sources._BLOCK", block)
    assert read(write(tmp_path / "w2v.bin", binary(b"\n")), make_entry("word2vec-binary")) == EXPECTED


@pytest.mark.parametrize(
    ("content", "entry", "finding"),
    [
        (b"3 3\n" + text(), make_entry("glove"), "line 1 is a header .'3 3'. where none belongs"),
        (text(), make_entry("word2vec-text"), "line 1 must be word2vec's header .* begins b'the 1 2 3"),
        (text(), make_entry("word2vec-binary"), "line 1 must be word2vec's header"),
        (b"3 2\n" + text(), make_entry("word2vec-text"), "header says 2 dimensions, and catalog.yaml 3"),
        (b"4 3\n" + text(), make_entry("word2vec-text"), "header promises 4 vectors, and 3 are there"),
        (b"2 3\n", make_entry("word2vec-text"), "header promises 2 vectors, and 0 are there"),
        (text() + b"few 1 2\n", make_entry("glove"), "line 4 has 2 numbers, and each line must have 3"),
        (text() + b"many 1 2 3 4\n", make_entry("glove"), "line 4 has 4 numbers, and each line must have 3"),
        (text() + b"\n", make_entry("glove"), "line 4 has 0 numbers"),
        (text(), make_entry("glove", dimension=2), "line 1 has 3 numbers, and each line must have 2"),
        (b"the 1 2 3\ngood 1 2 x\n", make_entry("glove"), "line 2 must hold a word and 3 numbers"),
        (b"the 1 2 3\ngood 1  2\n", make_entry("glove"), "line 2 must hold a word and 3 numbers"),
        (binary()[:-1], make_entry("word2vec-binary"), "promises 3 vectors of 12 bytes, .* another length"),
        (
            binary() + b"more",
            make_entry("word2vec-binary"),
            "promises 3 vectors of 12 bytes, .* another length",
        ),
    ],
)
def test_a_file_that_breaks_its_format_is_refused(
    tmp_path: Path, content: bytes, entry: VectorsEntry, finding: str
) -> None:
    path = write(tmp_path / "vectors", content)
    with pytest.raises(TextrnnError, match=f"(?s)vectors: .*{finding}.*Check the entry's format, member and dim"):
        read_vectors(path, entry, WORDS)


@pytest.mark.parametrize(
    ("matrix", "words", "finding"),
    [
        (npy(np.ones((3, 4), "f4")), parquet(list(VECTORS)), "3 words, 3 dimensions.*holds float32 .3, 4."),
        (npy(np.ones((2, 3), "f4")), parquet(list(VECTORS)), "3 words, 3 dimensions.*holds float32 .2, 3."),
        (npy(np.ones((3, 3), "i4")), parquet(list(VECTORS)), "holds int32"),
        (npy(np.ones((3, 3), "f4"))[:-1], parquet(list(VECTORS)), "the matrix ends too early"),
        (b"the 1 2 3", parquet(list(VECTORS)), "member 'm' is no NumPy array"),
        (npy(np.ones((3, 3), "f4")), parquet(["the", None, "good"]), "one column of words, without gaps"),
    ],
)
def test_a_matrix_that_does_not_fit_its_words_is_refused(
    tmp_path: Path, matrix: bytes, words: bytes, finding: str
) -> None:
    path = write(tmp_path / "a.whl", {"m": matrix, "w": words})
    with pytest.raises(TextrnnError, match=f"(?s)a.whl: .*{finding}.*choose another source"):
        read_vectors(path, make_entry("npy", member="m", words="w"), WORDS)


def test_no_word_in_common_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "german.txt", b"gut 1 2 3\n")
    with pytest.raises(TextrnnError, match=r"none of the 5 words asked for, such as .*'absent'.*choose another"):
        read_vectors(path, make_entry("glove"), WORDS)


@pytest.mark.parametrize("number", ["nan", "-inf"])
def test_a_vector_that_is_not_finite_is_refused(tmp_path: Path, number: str) -> None:
    path = write(tmp_path / "nan.txt", f"the 1 2 3\ngood 1 {number} 3\n".encode())
    with pytest.raises(TextrnnError, match=r"vector of 'good' \(1 such.*not finite.*Mend the file"):
        read_vectors(path, make_entry("glove"), WORDS)


@settings(max_examples=30, deadline=None)
@given(
    st.dictionaries(
        st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=4),
        st.lists(st.floats(-1e6, 1e6, width=32), min_size=3, max_size=3),
        min_size=1,
        max_size=6,
    )
)
def test_text_and_binary_round_trip(tmp_path_factory: pytest.TempPathFactory, vectors: dict[str, list[float]]) -> None:
    folder, words = tmp_path_factory.mktemp("vectors"), list(vectors)
    as_text = write(folder / "v.txt", text(vectors))
    as_binary = write(folder / "v.bin", binary(b"\n", vectors))
    for path, entry in [(as_text, make_entry("glove")), (as_binary, make_entry("word2vec-binary"))]:
        rows, index = read_vectors(path, entry, words)
        assert index.tolist() == list(range(len(words)))
        np.testing.assert_array_equal(rows, np.array(list(vectors.values()), dtype=np.float32))
