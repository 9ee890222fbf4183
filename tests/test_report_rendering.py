"""What templates can say: tables with a format string per column, and Markdown that may be wrapped."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from textrnn.report import rendering

COLUMNS = {
    "run": "{name:code}",
    "test %": "{share:percent}",
    "95 % interval": "{low:percent} to {high:percent}",
    "verdict": "{verdict:words}",
    "texts": "{counts[valid]:,}",
}


def test_a_cell_without_a_value_is_empty_and_words_are_left_aligned() -> None:
    rows = [
        {"name": "lstm", "share": 0.776, "low": 0.7, "high": 0.8, "verdict": "", "counts": {"valid": 1200}},
        {"name": "gru", "share": None, "low": None, "high": None, "verdict": "worse", "counts": {"valid": 7}},
    ]
    assert rendering.table("Runs", rows, COLUMNS).strip().splitlines() == [
        "*Runs*",
        "",
        "| run    |   test % |   95 % interval | verdict   |   texts |",
        "|:-------|---------:|----------------:|:----------|--------:|",
        "| `lstm` |     77.6 |    70.0 to 80.0 |           |   1,200 |",
        "| `gru`  |          |                 | worse     |       7 |",
    ]


def test_a_column_without_a_value_is_left_out_and_so_is_a_table_without_rows() -> None:
    rows = rendering.rows(pd.DataFrame({"name": ["lstm"], "share": [0.0], "low": [float("nan")], "verdict": [""]}))
    columns = {header: COLUMNS[header] for header in ("run", "test %", "verdict")} | {"low": "{low:percent}"}
    assert rendering.table("Runs", rows, columns).splitlines()[3] == "| run    |   test % |"
    assert rendering.table("Runs", [], columns) == ""


def test_csv_is_plain_and_no_text_is_a_formula(tmp_path: Path) -> None:
    words = ["good", "=1+1", "-", "+1", "@a", "\tb", "a,b", "'"]
    rendering.write_csv(tmp_path / "words.csv", pd.DataFrame({"word": words, "weight": [-0.12345678, *range(7)]}))
    lines = (tmp_path / "words.csv").read_bytes().decode().split("\n")
    assert lines[:4] == ["word,weight", "good,-0.123457", "'=1+1,0.0", "'-,1.0"]
    assert lines[4:] == ["'+1,2.0", "'@a,3.0", "'\tb,4.0", '"a,b",5.0', "',6.0", ""]


def test_strangers_break_no_row() -> None:
    rows = [{"word": "a|b\n`c`\\"}]
    (line,) = rendering.table("Words", rows, {"word": "{word:literal}"}).splitlines()[5:]
    assert line == r"| a\|b\\n\`c\`\\ |"
