"""Each format of word vectors, read out of real archives, and each way in which a file can be wrong."""

from __future__ import annotations

import gzip
import io
import tracemalloc
import unicodedata
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from textrnn.config.catalog import VectorsEntry
from textrnn.embeddings.sources import read_vectors
from textrnn.errors import TextrnnError
from textrnn.text.tokenizer import tokenize

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
    return {word: pytest.approx(row) for word, row in read_all(path, entry, WORDS).items()}


def read_all(path: Path, entry: VectorsEntry, words: Sequence[str], more: int = 0) -> dict[str, list[float]]:
    """What `read_vectors` returns, by word, after a look at its types."""
    found = read_vectors(path, entry, words, more)
    assert found.rows.dtype == np.float32
    assert found.index.dtype == np.int64
    assert len(set(found.index.tolist())) == len(found.index) == len(found.rows)
    assert found.index[found.index >= len(words)].tolist() == [len(words) + i for i in range(len(found.further))]
    names = [*words, *found.further]
    return {names[i]: row for i, row in zip(found.index, found.rows.tolist(), strict=True)}


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
    found = read_vectors(path, make_entry("glove"), [*WORDS, ". . ."])
    assert found.index.tolist() == [5, 3, 2]
    assert found.rows[0].tolist() == [9, 9, 9]


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
    monkeypatch.setattr("textrnn.embeddings.vector_files._AT_ONCE", lines)
    assert read(write(tmp_path / "glove.txt", text()), make_entry("glove")) == EXPECTED
    bad = write(tmp_path / "bad.txt", text().replace(b"good 4 5 6.5", b"good 4 5 x"))
    with pytest.raises(TextrnnError, match="line 3 must hold a word and 3 numbers"):
        read_vectors(bad, make_entry("glove"), WORDS)


@pytest.mark.parametrize("block", [1, 7, 1 << 20])
def test_binary_rows_may_cross_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    monkeypatch.setattr("textrnn.embeddings.vector_files._BLOCK", block)
    assert read(write(tmp_path / "w2v.bin", binary(b"\n")), make_entry("word2vec-binary")) == EXPECTED


@pytest.mark.parametrize(
    ("content", "entry", "finding"),
    [
        (text(), make_entry("word2vec-text"), "line 1 must be word2vec's header .* begins b'the 1 2 3"),
        (text(), make_entry("word2vec-binary"), "line 1 must be word2vec's header"),
        (b"3 2\n" + text(), make_entry("word2vec-text"), "header says 2 dimensions, and catalog.yaml 3"),
        (b"3 2\n" + text(), make_entry("glove"), "header says 2 dimensions, and catalog.yaml 3"),
        (b"5 3\n" + text()[:-2], make_entry("word2vec-text"), "ends within line 4, after b'good 4 5 6.'"),
        (b"3 3\n" + text()[:-2], make_entry("word2vec-text"), "ends within line 4, after b'good 4 5 6.'"),
        (b"3 3\n" + text()[:-5], make_entry("word2vec-text"), "line 4 has 2 numbers, and each line must have 3"),
        (b"the 1 2 3\ngood 1e", make_entry("glove"), "line 2 has 0 numbers"),
        (text() + b"few 1 2\n", make_entry("glove"), "line 4 has 2 numbers, and each line must have 3"),
        (text() + b"1 2 3\n", make_entry("glove"), "line 4 has 2 numbers, and each line must have 3"),
        (text(), make_entry("glove", dimension=2), "lines have 3 numbers, and each line must have 2"),
        (text() + b"\n", make_entry("glove", dimension=2), "lines have 3 numbers, and each line must have 2"),
        (b"good\t1\t\t3\n", make_entry("glove"), "line 1 must hold a word and 3 numbers"),
        (b"good 1 2_0 3\n", make_entry("glove"), "line 1 must hold a word and 3 numbers"),
        (b"good 1,5 2 3\n", make_entry("glove"), "line 1 must hold a word and 3 numbers"),
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
        (b"the 1 2 3", parquet(list(VECTORS)), "magic string is not correct.*a NumPy array"),
        (npy(np.ones((3, 3), "f4")), parquet(["the", None, "good"]), "one column of words, without gaps"),
    ],
)
def test_a_matrix_that_does_not_fit_its_words_is_refused(
    tmp_path: Path, matrix: bytes, words: bytes, finding: str
) -> None:
    path = write(tmp_path / "a.whl", {"m": matrix, "w": words})
    with pytest.raises(TextrnnError, match=f"(?s)a.whl.*{finding}.*choose another source"):
        read_vectors(path, make_entry("npy", member="m", words="w"), WORDS)


def test_no_word_in_common_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "german.txt", b"gut 1 2 3\n")
    with pytest.raises(TextrnnError, match=r"none of the 3 words asked for, such as .*'absent'.*choose another"):
        read_vectors(path, make_entry("glove"), WORDS)


@pytest.mark.parametrize("number", ["nan", "-inf"])
def test_a_vector_that_is_not_finite_is_refused(tmp_path: Path, number: str) -> None:
    path = write(tmp_path / "nan.txt", f"the 1 2 3\ngood 1 {number} 3\n".encode())
    with pytest.raises(TextrnnError, match=r"vector of 'good' \(1 such.*not finite.*Fix the file"):
        read_vectors(path, make_entry("glove"), WORDS)


def gensim_binary(vectors: dict[str, list[float]], dimension: int = 4) -> bytes:
    """What gensim's `save_word2vec_format(binary=True)` writes: no line feeds, words as they are."""
    rows = (word.encode() + b" " + np.array(row, "<f4").tobytes() for word, row in vectors.items())
    return f"{len(vectors)} {dimension}\n".encode() + b"".join(rows)


def test_the_binary_writer_above_is_gensims(tmp_path: Path) -> None:
    from gensim.models import KeyedVectors

    vectors = {"good": [1.0, 2.0, 3.0, 4.0], "new york": [0.1, 0.2, 0.3, 0.4]}
    gensim = KeyedVectors(4)
    gensim.add_vectors(list(vectors), np.array(list(vectors.values()), "f4"))
    gensim.save_word2vec_format(str(tmp_path / "v.bin"), binary=True)
    assert (tmp_path / "v.bin").read_bytes() == gensim_binary(vectors)


@pytest.mark.parametrize(
    "phrase", ["new york", "a b", "x ABC", "area 51", "area 2049", "서울 부산", "a b c d", " x", "x "]
)
@pytest.mark.parametrize("end", [b"", b"\n"], ids=["gensim", "line-feeds"])
def test_a_binary_word_with_spaces_costs_no_other_word_its_vector(tmp_path: Path, phrase: str, end: bytes) -> None:
    numbers = np.random.default_rng(5).normal(0, 0.3, (5, 24)).astype("<f4")
    names = ["good", phrase, "bad", "number", phrase + " end"]
    rows = (name.encode() + b" " + row.tobytes() + end for name, row in zip(names, numbers, strict=True))
    path = write(tmp_path / "v.bin", b"5 24\n" + b"".join(rows))
    words = ["<pad>", "<unk>", *names, *{"new", "york", "area", "a", "x"} - set(names)]
    found = read_all(path, make_entry("word2vec-binary", dimension=24), words)
    assert found == dict(zip(names, numbers.tolist(), strict=True))


def test_binary_words_with_spaces_and_round_numbers(tmp_path: Path) -> None:
    vectors = {word: [0.25 * n] * 4 for n, word in enumerate(["good", "new york", "bad", "to 2049", "number"])}
    path = write(tmp_path / "v.bin", gensim_binary(vectors))
    assert read_all(path, make_entry("word2vec-binary", dimension=4), list(vectors)) == vectors


@pytest.mark.parametrize("word", ["a\tb", "good\n", "new york\n", "new\tyork city", "a\x01"])
def test_a_binary_word_with_control_characters_is_refused(tmp_path: Path, word: str) -> None:
    path = write(tmp_path / "v.bin", gensim_binary({"good": [1, 2, 3, 4], word: [0.5] * 4, "bad": [5, 6, 7, 8]}))
    with pytest.raises(
        TextrnnError, match=r"where the word ends .* is ambiguous.*no control char.*save the vectors as"
    ):
        read_vectors(path, make_entry("word2vec-binary", dimension=4), WORDS)


def test_a_binary_word_whose_end_could_be_two_places_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "v.bin", gensim_binary({"good ": [3, 3, 3, 3], "bad": [1, 2, 3, 4]}))
    with pytest.raises(
        TextrnnError, match=r"the word ends that begins b'good .*2 spaces in it are followed by 16 bytes"
    ):
        read_vectors(path, make_entry("word2vec-binary", dimension=4), WORDS)


def test_a_binary_word_that_the_original_program_cut_within_a_character(tmp_path: Path) -> None:
    rows = [b"good", "가".encode()[:2], b"bad"]
    numbers = np.frombuffer(b"  ab" * 3, "<f4").tobytes()  # numbers that look like words and spaces
    content = b"3 3\n" + b"".join(row + b" " + numbers[:12] + b"\n" for row in rows[1:2])
    content += b"".join(row + b" " + np.array([1, 2, 3], "<f4").tobytes() + b"\n" for row in (rows[0], rows[2]))
    assert read(write(tmp_path / "v.bin", content), make_entry("word2vec-binary")) == {"good": [1, 2, 3]}


def test_binary_rows_end_alike(tmp_path: Path) -> None:
    content = binary(b"\n").replace(b"\ncaf", b"caf")
    with pytest.raises(TextrnnError, match=r"row 2 does not end as the rows before|has another length|is ambiguous"):
        read_vectors(write(tmp_path / "v.bin", content), make_entry("word2vec-binary"), WORDS)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (text() + b"area 51 9 9 9\narea 52 8 8 8\n", {**EXPECTED, "area 51": [9, 9, 9]}),
        (b"3 3\n" + text(), EXPECTED),
        (text() + b"\n\r\n", EXPECTED),
        (b"\xef\xbb\xbfgood 1 2 3\n", {"good": [1, 2, 3]}),
        (b"\xef\xbb\xbf1 3\r\ngood 1 2 3\r\n", {"good": [1, 2, 3]}),
        (b"good\t1\t2\t3\nnew york\t4\t5\t6\n", {"good": [1, 2, 3]}),
        (b"good\t1 2 3\ngood york\t4 5 6\ncaf\xc3\xa9\t4 5 6\n", {"good": [1, 2, 3], "café": [4, 5, 6]}),
        (b"good york\t4 5 6\ngood 1 2 3\n", {"good": [1, 2, 3]}),
        (b"good  1 2   3 \ncaf\xc3\xa9 4 5 6  \n", {"good": [1, 2, 3], "café": [4, 5, 6]}),
    ],
    ids=["numbers", "header", "blank", "bom", "bom-header", "tabs", "tab-after-word", "tab-first", "double-spaces"],
)
def test_lines_are_read_by_the_known_dimension(
    tmp_path: Path, content: bytes, expected: dict[str, list[float]], capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path / "v.txt", content)
    assert read_all(path, make_entry("glove"), [*WORDS, "area 51"]) == {
        word: pytest.approx(row) for word, row in expected.items()
    }
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("format", ["word2vec-text", "glove"])
@pytest.mark.parametrize("promised", [2, 4, 1000])
def test_a_header_with_another_count_is_warned_about_in_one_line(
    tmp_path: Path, format: str, promised: int, capsys: pytest.CaptureFixture[str]
) -> None:
    for content in (text(), text().removesuffix(b"\n")):
        path = write(tmp_path / "v.vec", f"{promised} 3\n".encode() + content)
        assert read(path, make_entry(format)) == EXPECTED
        promise = f"the header promises {promised:,} vectors, and 3 are there: all are read"
        assert capsys.readouterr().err == f"warning: {path}: {promise}\n"


def test_a_header_settles_the_dimension_where_every_word_ends_in_a_number(tmp_path: Path) -> None:
    path = write(tmp_path / "v.vec", b"2 3\narea 51 1 2 3\nroute 66 4 5 6\n")
    assert read_all(path, make_entry("word2vec-text"), ["<pad>", "<unk>", "route 66"]) == {"route 66": [4, 5, 6]}


NFD = {unicodedata.normalize("NFD", word): row for word, row in {"café": [1, 2, 3], "재밌어요": [4, 5, 6]}.items()}


@pytest.mark.parametrize(
    ("content", "entry"),
    [
        (text(NFD) + "café 9 9 9\n".encode(), make_entry("glove")),
        (b"3 3\n" + text(NFD, " \n") + "café 9 9 9\n".encode(), make_entry("word2vec-text")),
        (binary(b"", {**NFD, "café": [9, 9, 9]}), make_entry("word2vec-binary")),
        (
            {
                "m": npy(np.array([*NFD.values(), [9, 9, 9]], "f4")),
                "w": b"\xef\xbb\xbf" + "\r\n".join([*NFD, "café"]).encode(),
            },
            make_entry("npy", member="m", words="w"),
        ),
        (
            {"m": npy(np.array([*NFD.values(), [9, 9, 9]], "f4")), "w": parquet([*NFD, "café"])},
            make_entry("npy", member="m", words="w"),
        ),
    ],
    ids=["glove", "word2vec-text", "word2vec-binary", "npy-text", "npy-parquet"],
)
def test_words_are_compared_in_nfc_and_the_first_vector_wins(
    tmp_path: Path, content: bytes | dict[str, bytes], entry: VectorsEntry
) -> None:
    path = write(tmp_path / "v", content)
    assert read_all(path, entry, ["<pad>", "<unk>", "재밌어요", "café"]) == {"café": [1, 2, 3], "재밌어요": [4, 5, 6]}


def test_vectors_of_reserved_words_alone_cover_nothing(tmp_path: Path) -> None:
    path = write(tmp_path / "v.txt", b"<unk> 1 2 3\n<pad> 0 0 0\nother 1 2 3\n")
    for more in (0, 5):
        with pytest.raises(TextrnnError, match="vectors for none of the 3 words asked for"):
            read_vectors(path, make_entry("glove"), WORDS, more)


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_further_words_too(tmp_path: Path, name: str) -> None:
    content, entry = FORMATS[name]
    path = write(tmp_path / name, content)
    everything = {word: pytest.approx(row) for word, row in VECTORS.items()}
    assert read_all(path, entry, WORDS, more=1) == everything
    assert read_all(path, entry, ["<pad>", "<unk>", "good"], more=5) == everything
    assert read_vectors(path, entry, ["<pad>", "<unk>", "good"], more=5).further == ["the", "café"]


@pytest.mark.parametrize("at_once", [1, 2, 1024])
def test_further_words_are_the_first_that_the_tokenizer_leaves_as_they_are(
    tmp_path: Path, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("textrnn.embeddings.vector_files._AT_ONCE", at_once)
    names = [
        *["The", "good", "the", "the", "don't", "n't", "<unk>", "<pad>", "new-york", "3.5", "!", "�", "!!"],
        "new york",
        "영화",
        "last",
    ]
    content = b"".join(f"{name} {i} 0 1\n".encode() for i, name in enumerate(names)) + b"caf\xe9 9 9 9\n"
    path = write(tmp_path / "v.txt", content + unicodedata.normalize("NFD", "영화 7 7 7\n").encode())
    expected = ["the", "n't", "3.5", "!", "영화", "last"]
    for more in range(8):
        found = read_all(path, make_entry("glove"), ["<pad>", "<unk>", "good"], more)
        assert list(found) == sorted(["good", *expected[:more]], key=names.index)
        assert all(row == [names.index(word), 0, 1] for word, row in found.items())


def test_memory_is_that_of_the_rows_that_are_kept(tmp_path: Path) -> None:
    """Ten times the file, and not even twice the memory; the files' own sizes are 2 and 20 MB."""
    dimension, peaks = 50, {}
    numbers = " ".join(["0.12345"] * dimension)
    for rows in (5_000, 50_000):
        path = write(tmp_path / f"{rows}.txt", "".join(f"w{i} {numbers}\n" for i in range(rows)).encode())
        for more in (0, 1000):
            tracemalloc.start()
            found = read_vectors(path, make_entry("glove", dimension), ["<pad>", "<unk>", f"w{rows - 1}", "w7"], more)
            peaks[rows, more] = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            assert found.rows.shape == (2 + more, dimension)
    assert peaks[50_000, 0] < 1.5 * peaks[5_000, 0]
    assert peaks[50_000, 1000] < 1.5 * peaks[5_000, 1000]


@pytest.mark.parametrize(
    ("content", "entry"),
    [
        (text({**VECTORS, "good": [1, 2e26, 3]}), make_entry("glove")),
        (b"3 3\n" + text({**VECTORS, "good": [1, -9e9, 3]}), make_entry("word2vec-text")),
        (binary(b"", {**VECTORS, "good": [1, 2e26, 3]}), make_entry("word2vec-binary")),
        ({"m": npy(np.array([[1.0, 2, 3], [9e8, 0, 0]])), "w": b"caf\xc3\xa9\ngood"}, make_entry("npy", 3, "m", "w")),
        (b"good 1e13 2 3\n", make_entry("glove")),
    ],
    ids=["glove", "word2vec-text", "word2vec-binary", "npy", "alone"],
)
def test_a_vector_out_of_all_proportion_is_refused(
    tmp_path: Path, content: bytes | dict[str, bytes], entry: VectorsEntry
) -> None:
    path = write(tmp_path / "v", content)
    with pytest.raises(TextrnnError, match=r"vector of 'good' \(1 such in all\) has norm .*out of all proportion"):
        read_vectors(path, entry, WORDS)
    with pytest.raises(TextrnnError, match="out of all proportion"):
        read_vectors(path, entry, ["<pad>", "<unk>", "café", "good"], more=2)


def test_vectors_of_zeros_and_small_ones_are_no_reason_to_refuse(tmp_path: Path) -> None:
    path = write(tmp_path / "v.txt", b"good 0 0 0\ncaf\xc3\xa9 1e-8 0 0\nabsent 0.5 0.25 1\n")
    assert len(read(path, make_entry("glove"))) == 3
    assert read(write(path, b"good 0 0 0\n"), make_entry("glove")) == {"good": [0, 0, 0]}


LETTERS = st.sampled_from(
    ["a", "ß", "é", "e\u0301", "7", "51", "-", "가", "\u1112\u1161\u11ab", "ॐ", "Ω", "\u2126", "x.y"]
)
PHRASES = st.lists(st.lists(LETTERS, min_size=1, max_size=4).map("".join), min_size=1, max_size=3).map(" ".join)
NUMBERS = st.floats(-100, 100, width=32).filter(lambda number: number == 0 or abs(number) > 1e-3)


def ends_in_a_number(word: str) -> bool:
    """Whether a line of such a word looks as if it had a number more."""
    _, space, last = word.rpartition(" ")
    try:
        return bool(space) and "_" not in last and float(last) is not None
    except ValueError:
        return False


@settings(max_examples=150, deadline=None)
@example(vectors={"a -7": [0.0] * 5}, end="\n", more=0, asked=1)
@given(
    vectors=st.dictionaries(PHRASES, st.lists(NUMBERS, min_size=5, max_size=5), min_size=1, max_size=8),
    end=st.sampled_from(["\n", "\r\n", " \n"]),
    more=st.integers(0, 4),
    asked=st.integers(1, 8),
)
def test_whatever_was_written_is_read_back_or_refused(
    tmp_path_factory: pytest.TempPathFactory, vectors: dict[str, list[float]], end: str, more: int, asked: int
) -> None:
    first: dict[str, list[float]] = {}
    for word, row in vectors.items():
        first.setdefault(unicodedata.normalize("NFC", word), row)
    words = ["<pad>", "<unk>", *list(first)[-asked:]]
    tokens = tokenize(pl.Series(list(first), dtype=pl.String)).to_list()
    further = [word for word, found in zip(first, tokens, strict=True) if found == [word] and word not in words][:more]
    expected = {word: row for word, row in first.items() if word in words or word in further}

    folder, count = tmp_path_factory.mktemp("vectors"), len(vectors)
    header, lines = f"{count} 5\n".encode(), text(vectors, end)
    matrix, names = npy(np.array(list(vectors.values()), "f4")), "\n".join(vectors).encode()
    files: list[tuple[bytes | dict[str, bytes], VectorsEntry, bool]] = [
        (lines, make_entry("glove", 5), all(ends_in_a_number(word) for word in vectors)),
        (header + lines, make_entry("word2vec-text", 5), False),
        (gensim_binary(vectors, 5), make_entry("word2vec-binary", 5), True),
        ({"m": matrix, "w": names}, make_entry("npy", 5, "m", "w"), False),
    ]
    for content, entry, may_refuse in files:
        path = write(folder / entry.format, content)
        try:
            assert read_all(path, entry, words, more) == expected, entry.format
        except TextrnnError:
            assert may_refuse, entry.format
