"""`textrnn predict`: what it reads and writes, and what it says of what it cannot read."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import polars as pl
import pytest

from textrnn.errors import TextrnnError
from textrnn.prediction import read_table, write_table

TABLE = pl.DataFrame({"text": ['a "quoted", text', "zwei\nZeilen", "👍"], "more": ["x", "y", "z"]})


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_what_is_written_is_read_again(tmp_path: Path, kind: str) -> None:
    file = tmp_path / f"texts.{kind}"
    write_table(TABLE, file, None)
    assert read_table(file, None).equals(TABLE)
    plain = file.rename(tmp_path / "texts")
    assert read_table(plain, kind).equals(TABLE)


def test_standard_input_and_output(monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"text\nlovely\n")))
    table = read_table(Path("-"), None)
    assert table["text"].to_list() == ["lovely"]
    write_table(table, Path("-"), "jsonl")
    assert capfdbinary.readouterr().out == b'{"text":"lovely"}\n'


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("texts.txt", b"text\na\n", r"unknown format 'txt'. Known: csv, jsonl, parquet. Name it with --format"),
        ("texts.csv", b"body\na\n", r"no column 'text'. It has: body"),
        ("texts.csv", b"text,label,given_label\na,b,c\n", r"a column given_label, and another"),
        ("texts.csv", b"", r"no column 'text'. It has: none"),
        ("texts.csv", b"text,n\na,1\n,2\nb,3\n", r"no text in row 1 \(counted from 0\), 1 in all"),
        ("texts.csv", b"text\n\xff\xfe\n", r"line 2: byte 0xff is not UTF-8"),
        ("texts.jsonl", b'{"text": "a"}\n{"text"\n', r"is not readable as jsonl: line 2, character 8: "),
        ("texts.jsonl", b'{"text": 3}\n', r"column 'text' holds no text in row 1 .* Int64: 3"),
        ("texts.parquet", b"PAR1", r"is not readable as parquet: "),
    ],
)
def test_what_cannot_be_read_is_reported(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(TextrnnError, match=message):
        read_table(tmp_path / name, None)


def test_a_missing_file_is_reported(tmp_path: Path) -> None:
    with pytest.raises(TextrnnError, match=r"No such file or directory. Name a file that can be read"):
        read_table(tmp_path / "none.csv", None)


def test_a_label_of_the_files_own_is_kept_under_another_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "texts.csv").write_text("text,label,probability_pos\na,neg,0.5\n", encoding="utf-8")
    table = read_table(tmp_path / "texts.csv", None)
    assert table.rows(named=True) == [{"text": "a", "given_label": "neg", "given_probability_pos": "0.5"}]
    assert "kept as given_label, given_probability_pos" in capsys.readouterr().err


def test_predict_reads_what_a_corpus_reads(tmp_path: Path) -> None:
    (tmp_path / "bom.csv").write_text('text,n\n\nthe 5" screen,1\n\n', encoding="utf-8-sig")
    assert read_table(tmp_path / "bom.csv", None).rows() == [('the 5" screen', "1")]
    (tmp_path / "half.jsonl").write_text('{"text": "a \\ud83d", "n": [1, {"a": 2}]}\n\n', encoding="utf-8")
    assert read_table(tmp_path / "half.jsonl", None).rows() == [("a \ufffd", '[1, {"a": 2}]')]
    (tmp_path / "wide.csv").write_text("text\na\n", encoding="utf-16")
    with pytest.raises(TextrnnError, match="this is text in UTF-16; save it as UTF-8"):
        read_table(tmp_path / "wide.csv", None)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (['"x"', "7", "null", '["é"]', "true"], ["x", "7", None, '["é"]', "true"]),
        (["9007199254740993", "0.5", "null"], ["9007199254740993", "0.5", None]),
        (["3", "0.5", "null"], [3.0, 0.5, None]),
        (["9007199254740993", "null"], [9007199254740993, None]),
        (["1" + "0" * 44, "null"], ["1" + "0" * 44, None]),
    ],
)
def test_the_callers_own_json_values_stay_as_they_are(
    tmp_path: Path, values: list[str], expected: list[object]
) -> None:
    lines = [f'{{"text": "a", "own": {value}}}' for value in values]
    (tmp_path / "texts.jsonl").write_text("\n".join(lines), encoding="utf-8")
    assert read_table(tmp_path / "texts.jsonl", None)["own"].to_list() == expected


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_the_callers_text_is_not_composed(tmp_path: Path, kind: str) -> None:
    texts = ["cafe\u0301", "\u212b"]
    write_table(pl.DataFrame({"text": texts}), tmp_path / f"texts.{kind}", None)
    assert read_table(tmp_path / f"texts.{kind}", None)["text"].to_list() == texts


def test_columns_that_csv_cannot_hold_are_written_as_text(tmp_path: Path) -> None:
    frame = pl.DataFrame({"text": ["a", ""], "tags": [["x", "y"], None], "raw": [b"\x00\xff", b""], "n": [1, 2]})
    frame.write_parquet(tmp_path / "texts.parquet")
    table = read_table(tmp_path / "texts.parquet", None)
    assert table.rows() == [("a", '["x", "y"]', "00ff", 1), ("", None, "", 2)]
    write_table(table, tmp_path / "out.csv", None)
    write_table(table, tmp_path / "out.jsonl", None)


def test_an_empty_text_is_scored_and_a_missing_one_refused(tmp_path: Path) -> None:
    (tmp_path / "texts.jsonl").write_text('{"text": ""}\n{"text": " "}\n', encoding="utf-8")
    assert read_table(tmp_path / "texts.jsonl", None)["text"].to_list() == ["", " "]
    (tmp_path / "texts.jsonl").write_text('{"text": ""}\n{"text": null}\n', encoding="utf-8")
    with pytest.raises(TextrnnError, match="no text in row 1"):
        read_table(tmp_path / "texts.jsonl", None)
