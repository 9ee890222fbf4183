"""`textrnn explain`: what it writes, where there is colour, and what it refuses."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from unittest import mock

import numpy as np
import pytest

from textrnn import explaining
from textrnn.errors import TextrnnError
from textrnn.explaining import explain
from textrnn.modeling.attributions import Explanation, Word
from textrnn.modeling.linear import LinearModel
from textrnn.report.explained import gaps, shades, sides, signed

WEIGHTS = {"good": 2.0, "bad": -1.5, "film": 0.1, "not good": -3.0, "script": 1.0}


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two seeds of a linear model; in the second every weight is turned around."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NO_COLOR", raising=False)
    for seed, sign in ((0, 1), (4, -1)):
        weights = sign * np.array([[*WEIGHTS.values()]])
        model = LinearModel(("rotten", "fresh"), 2, [*WEIGHTS], weights, np.array([0.25 * sign]))
        model.save(tmp_path / "runs" / "nb-svm" / "model" / str(seed))
    return tmp_path


def ask(*texts: str, **changes: object) -> None:
    given = {"source": None, "target": Path("-"), "kind": None, "given": None, "run": "nb-svm", "seed": None}
    explain([*texts], **{**given, **changes})


def test_text_on_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    ask("A GOOD, bad <b>film</b>", "not good")
    assert capsys.readouterr().out == (
        "nb-svm, seed 0:\n"
        "fresh, probability 0.701; log-odds +0.85, without words +0.25\n"
        "  A GOOD, bad film\n"
        "  for it: GOOD +2.00 · film +0.10\n"
        "  against it: bad −1.50\n"
        "  unknown: A ,\n"
        "\n"
        "rotten, probability 0.679; log-odds +0.75, without words −0.25\n"
        "  not good\n"
        "  for it: not +1.50\n"
        "  against it: good −0.50\n"
        "  unknown: not\n"
    )


def test_a_seed_can_be_chosen(capsys: pytest.CaptureFixture[str]) -> None:
    ask("good", seed=4)
    said = capsys.readouterr().out.splitlines()
    assert said[:2] == ["nb-svm, seed 4:", "rotten, probability 0.905; log-odds +2.25, without words +0.25"]


COMMAND = [sys.executable, "-m", "textrnn", "explain", "--run", "nb-svm", "good bad"]


def in_a_terminal(**variables: str) -> str:
    """What the command prints where standard output is a terminal."""
    parent, child = pty.openpty()
    inherited = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "FORCE_COLOR")}
    environment = {**inherited, "TERM": "xterm-256color", "COLORTERM": "truecolor", **variables}
    with subprocess.Popen(COMMAND, stdout=child, stderr=subprocess.PIPE, env=environment) as process:
        assert process.wait(120) == 0, process.stderr
        os.close(child)
        found = b""
        try:
            while part := os.read(parent, 4096):
                found += part
        except OSError:  # Linux reports the end of a terminal so
            pass
    os.close(parent)
    return found.decode()


def test_a_terminal_has_green_and_red_and_no_color_switches_them_off() -> None:
    coloured = in_a_terminal()
    assert "\x1b[30;48;2;90;174;97mgood\x1b[0m" in coloured  # for it, the darkest green
    assert "\x1b[30;48;2;229;131;104mbad\x1b[0m" in coloured  # against it, three quarters as much
    plain = in_a_terminal(NO_COLOR="1")
    assert "good bad" in plain
    assert "\x1b[" not in plain


def test_a_file_has_no_colour_whatever_the_terminal(project: Path) -> None:
    with mock.patch.dict(os.environ, {"FORCE_COLOR": "1"}):
        ask("good", target=Path("why.txt"))
    assert (project / "why.txt").read_text(encoding="utf-8").splitlines()[2] == "  good"
    ask("good", target=Path("page.txt"), kind="html")
    assert (project / "page.txt").read_text(encoding="utf-8").startswith("<!DOCTYPE html>"), "as it was asked for"


def test_json_lines_hold_the_table_and_each_word(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "in.csv").write_text("id,text,label\n7,Good bad,x\n8,film!,y\n", encoding="utf-8")
    ask(source=Path("in.csv"), target=Path("out.jsonl"))
    first, second = map(json.loads, (project / "out.jsonl").read_text(encoding="utf-8").splitlines())
    assert first == {
        "id": "7",
        "text": "Good bad",
        "given_label": "x",
        "model": "nb-svm, seed 0",
        "label": "fresh",
        "probability": 0.679179,
        "log_odds": 0.75,
        "without_words": 0.25,
        "error": 0.0,
        "words": [
            {"word": "Good", "token": "good", "apart": False, "known": True, "attribution": 2.0},
            {"word": "bad", "token": "bad", "apart": True, "known": True, "attribution": -1.5},
        ],
        "warning": "",
    }
    assert [(word["token"], word["known"]) for word in second["words"]] == [("film", True), ("!", False)]
    assert "kept as given_label" in capsys.readouterr().err


class Visible(HTMLParser):
    """The text of a page, and its tags."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.text, self.tags = "", list[tuple[str, dict[str, str | None]]]()
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def test_html_escapes_what_strangers_wrote(project: Path) -> None:
    hostile = "good </p><script>alert('x')</script> &lt;img src=x onerror=f()&gt; \"bad\" <svg/onload=f()>"
    ask(hostile, target=Path("why.html"))
    page = Visible((project / "why.html").read_text(encoding="utf-8"))
    names = {tag for tag, _ in page.tags}
    assert not names & {"script", "img", "svg", "a", "iframe"}
    assert all(not name.startswith("on") for _, attributes in page.tags for name in attributes)
    assert "good <script>alert('x')</script> &lt;img src=x onerror=f()&gt; \"bad\" <svg/onload=f()>" in page.text
    marks = [(attributes["class"], attributes["title"]) for tag, attributes in page.tags if tag == "mark"]
    assert [(str(kind).split()[1], title) for kind, title in marks] == [
        *(("for-4", "+2.00"), ("for-1", "+0.50"), ("for-1", "+0.50"), ("against-3", "−1.50"))
    ]
    assert "default-src 'none'" in str(page.tags)
    assert "Why nb-svm, seed 0 says it" in page.text


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, "give exactly one of texts and --input FILE"),
        ({"texts": ["a"], "source": Path("in.csv")}, "give exactly one of texts and --input FILE"),
        ({"texts": ["a"], "run": None, "seed": 1}, "--seed selects one of a run's models: give --run, too"),
        ({"texts": ["a"], "seed": 1}, r"has no seed 1. It has: 0, 4"),
        ({"texts": ["a"], "run": "lstm"}, r"holds no model. Runs with models: nb-svm"),
        ({"texts": ["a"], "kind": "csv"}, "unknown format 'csv'. Known: text, html, jsonl. Name it with --format"),
        ({"texts": ["a"], "target": Path("why.pdf")}, "why.pdf: unknown format 'pdf'"),
        ({"texts": ["a"], "target": Path("none/why.html")}, "none is no folder"),
        ({"source": Path("in.md")}, "unknown format 'md'. Known: csv, jsonl, parquet. Name it with --input-format"),
        ({"source": Path("none.csv")}, "No such file or directory"),
    ],
)
def test_what_is_refused(changes: dict[str, object], message: str) -> None:
    texts = changes.pop("texts", [])
    with pytest.raises(TextrnnError, match=message):
        ask(*texts, **changes)  # type: ignore[misc]


def test_another_folder_is_named(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project / "runs")
    with pytest.raises(TextrnnError, match=r"no folder runs in .*runs\. Run this in the project's top folder"):
        ask("a")


def test_what_means_nothing_or_is_inexact_is_counted(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ask("zzz", "good")
    shown = capsys.readouterr()
    assert "warning: it has no word that the model knows" in shown.out
    assert shown.err == (
        "warning: 1 of 2 texts have no word that the model knows, so their labels mean nothing: see the warning of "
        "each\n"
    )
    inexact = Explanation("fresh", 0.9, 2.0, 0.0, 0.034, [Word("good", "good", False, True, 2.068)])
    monkeypatch.setattr(explaining.Explainer, "explain", lambda *_: [inexact])
    ask("good")
    assert capsys.readouterr().err == (
        "warning: the attributions of 1 of 1 texts miss the difference of the log-odds by more than 1%, at most by "
        "3.4%\n"
    )


def words(*values: float | None, known: bool = True) -> list[Word]:
    return [Word(f"w{place}", f"w{place}", place > 0, known, value) for place, value in enumerate(values)]


def test_shades_follow_the_largest_attribution() -> None:
    assert shades(words(2.0, -1.0, 0.21, 0.19, None, -2.0)) == [4, -2, 1, 0, 0, -4]
    assert shades(words(0.0, None)) == [0, 0]
    assert shades([]) == []


def test_the_strongest_words_of_either_side() -> None:
    most = words(0.1, -0.2, 3.0, 0.0, None, 1.0, 0.5, 0.4, 0.3)
    assert sides(most) == (["w2 +3.00", "w5 +1.00", "w6 +0.50", "w7 +0.40", "w8 +0.30"], ["w1 −0.20"])


def test_what_is_unknown_or_not_read_is_said_once() -> None:
    assert gaps(words(1.0, 2.0)) == ""
    unknown = [*words(1.0, known=False), *words(1.0, known=False), *words(None, None, known=False)]
    assert gaps(unknown) == "unknown: w0; not read, because the text is too long: 2 of 4 words"


@pytest.mark.parametrize(("value", "text"), [(1.524, "+1.52"), (-0.4, "−0.40"), (0.0034, "+0.003"), (0.0, "+0")])
def test_numbers_have_a_sign(value: float, text: str) -> None:
    assert signed(value) == text
