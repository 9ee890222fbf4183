from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
import tarfile
import unicodedata
import zipfile
from datetime import timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from tiny_experiments import PLAIN, write_plan

from textrnn.config.catalog import CorpusEntry
from textrnn.corpus.formats import read_corpus
from textrnn.corpus.table_file import read_table
from textrnn.errors import TextrnnError

ROOT = Path(__file__).resolve().parents[1]
COLUMNS = {"text": "review", "label": "stars"}
CSV = 'stars,review,film\nlow,"Bad, bad.\nReally.",f1\nmid,So-so,f1\nhigh,Good,f2\nplot,,f2\n'


def entry(**changes: object) -> CorpusEntry:
    content = {
        "source": "file:reviews.csv",
        "sha256": "0" * 64,
        "licence": "CC0",
        "citation": "none",
        "format": "csv",
        "classes": ["low", "mid", "high"],
        "columns": COLUMNS,
        "skip_labels": ["plot"],
    }
    return CorpusEntry.model_validate({**content, **changes})


def two(**changes: object) -> CorpusEntry:
    return entry(classes=["low", "high"], skip_labels=[], **changes)


def write(tmp_path: Path, content: str | bytes, name: str = "reviews.csv") -> Path:
    path = tmp_path / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_reads_csv_of_three_classes_and_counts_what_it_skips(tmp_path: Path) -> None:
    raw = read_corpus(write(tmp_path, CSV), entry(columns={**COLUMNS, "group": "film"}))
    assert raw.frame.rows() == [
        ("1", "Bad, bad.\nReally.", "low", "f1", None),
        ("2", "So-so", "mid", "f1", None),
        ("3", "Good", "high", "f2", None),
    ]
    assert raw.frame.schema == dict.fromkeys(("id", "text", "label", "group", "split"), pl.String)
    assert raw.skipped == {"label 'plot'": 1}


def test_reads_a_member_of_a_zip(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("data/reviews.csv", CSV)
    raw = read_corpus(tmp_path / "a.zip", entry(member="data/reviews.csv"))
    assert raw.frame["group"].to_list() == [None, None, None]


@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl", "parquet"])
def test_all_table_formats_read_alike(tmp_path: Path, kind: str) -> None:
    table = pl.DataFrame({"review": ["né", "no"], "stars": [1, 0], "part": ["train", "test"]})
    buffer = io.BytesIO()
    if kind == "jsonl":
        table.write_ndjson(buffer)
    elif kind == "parquet":
        table.write_parquet(buffer)
    else:
        table.write_csv(buffer, separator="\t" if kind == "tsv" else ",", include_bom=True)
    columns = {**COLUMNS, "split": "part"}
    raw = read_corpus(
        write(tmp_path, buffer.getvalue(), f"r.{kind}"),
        entry(format=kind, classes=["0", "1"], columns=columns, skip_labels=[]),
    )
    assert raw.frame.rows() == [("1", "né", "1", None, "train"), ("2", "no", "0", None, "test")]


@pytest.mark.parametrize(
    ("content", "changes", "message"),
    [
        ("stars,review\nlow,a\nhi,b\n", {}, r"'hi' at id 2 is no label .*Classes: low, high.*skip_labels"),
        ("stars,review\nlow,a\n,b\n", {}, r"None at id 2 is no label"),
        ("stars,review\nlow,a\nhigh,\n", {}, r"no text .* at id 2.*fill it in"),
        ("stars,review\nlow,  \nhigh,b\n", {}, r"no text .* at id 1"),
        ("stars,review\nlow,a\nlow,b\n", {}, r"no example of class 'high'; found only low.*two classes"),
        ("stars,review\n", {}, r"no labelled example"),
        ("", {}, r"the file is empty"),
        (b"stars,review\nlow,a\nhigh,caf\xe9\n", {}, r"reviews\.csv, line 3: byte 0xe9 is not UTF-8"),
        ("stars,text\nlow,a\n", {}, r"no column 'review'. It has: stars, text.*Correct columns"),
        ("stars,review\nlow,a,1,2\n", {}, r"not readable as csv"),
        ('{"review": "a", "stars"', {"format": "jsonl"}, r"not readable as jsonl"),
        ('{"review": NaN, "stars": "low"}\n', {"format": "jsonl"}, r"not readable as jsonl|no text"),
        (
            '{"review": 1.5, "stars": "low"}\n',
            {"format": "jsonl"},
            r"column 'review' holds no text in row 1 .*Float64: 1\.5",
        ),
        ("stars,review\nlow,a\n", {"format": "parquet"}, r"not readable as parquet"),
        (
            "stars,review,part\nlow,a,dev\n",
            {"columns": {**COLUMNS, "split": "part"}},
            r"'part' holds 'dev' at id 1.*Known splits: train, valid, test",
        ),
    ],
)
def test_what_goes_wrong_is_reported(
    tmp_path: Path, content: str | bytes, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(TextrnnError, match=message):
        read_corpus(write(tmp_path, content), two(**changes))


def test_nan_text_in_parquet_is_reported(tmp_path: Path) -> None:
    pl.DataFrame({"review": [float("nan")], "stars": ["low"]}).write_parquet(tmp_path / "r.parquet")
    with pytest.raises(TextrnnError, match=r"no text \(missing, NaN .* at id 1"):
        read_corpus(tmp_path / "r.parquet", two(format="parquet"))


def test_a_table_has_no_unlabelled_texts(tmp_path: Path) -> None:
    with pytest.raises(TextrnnError, match=r"has no unlabelled texts. Set prepare\.unlabelled to false"):
        read_corpus(write(tmp_path, CSV), entry(), unlabelled=True)


# aclimdb ----------------------------------------------------------------------------------------

FILM = "http://www.imdb.com/title/tt{:07}/usercomments\n"
FILES = {
    "aclImdb/README": "Large Movie Review Dataset",
    "aclImdb/test/pos/0_9.txt": "fine",
    "aclImdb/test/neg/0_2.txt": "weak",
    "aclImdb/test/urls_pos.txt": FILM.format(7),
    "aclImdb/test/urls_neg.txt": FILM.format(8),
    "aclImdb/train/pos/10_8.txt": "good",
    "aclImdb/train/pos/9_7.txt": "très bon<br />",
    "aclImdb/train/neg/1_1.txt": "bad",
    "aclImdb/train/unsup/0_0.txt": "who knows",
    "aclImdb/train/urls_pos.txt": "".join(map(FILM.format, range(100, 111))),
    "aclImdb/train/urls_neg.txt": FILM.format(1) + FILM.format(2),
    "aclImdb/train/urls_unsup.txt": FILM.format(5),
}
IMDB = {"format": "aclimdb", "columns": None, "classes": ["neg", "pos"], "skip_labels": []}


def pack(path: Path, files: dict[str, Any]) -> Path:
    with tarfile.open(path, f"w:{path.suffix[1:].removesuffix('tgz') or 'gz'}") as tar:
        for name, content in files.items():
            data = content if isinstance(content, bytes) else content.encode()
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path


@pytest.mark.parametrize("name", ["a.tar.gz", "a.tar.xz", "a.tar.bz2"])
def test_reads_aclimdb_with_films_in_place(tmp_path: Path, name: str) -> None:
    raw = read_corpus(pack(tmp_path / name, FILES), entry(**IMDB))
    assert raw.frame.rows() == [
        ("test/neg/0_2", "weak", "neg", "tt0000008", "test"),
        ("test/pos/0_9", "fine", "pos", "tt0000007", "test"),
        ("train/neg/1_1", "bad", "neg", "tt0000002", "train"),
        ("train/pos/9_7", "très bon<br />", "pos", "tt0000109", "train"),
        ("train/pos/10_8", "good", "pos", "tt0000110", "train"),
    ]
    assert raw.skipped == {"unlabelled, not asked for": 1}
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_unlabelled_reviews_come_to_those_who_ask(tmp_path: Path) -> None:
    raw = read_corpus(pack(tmp_path / "a.tar.gz", FILES), entry(**IMDB), unlabelled=True)
    assert raw.frame.row(-1) == ("train/unsup/0_0", "who knows", None, "tt0000005", "unlabelled")
    assert raw.skipped == {}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"aclImdb/train/urls_pos.txt": FILM.format(1)},
            r"no film for train/pos/9_7: train/urls_pos.txt has 1 lines",
        ),
        ({"aclImdb/train/pos/9_7.txt": b"\xff"}, r"train/pos/9_7.txt, line 1: byte 0xff is not UTF-8"),
        ({"aclImdb/train/pos/9_7.txt": " \n"}, r"no text .* at id train/pos/9_7"),
    ],
)
def test_a_wrong_aclimdb_is_reported(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(TextrnnError, match=message):
        read_corpus(pack(tmp_path / "a.tar.gz", {**FILES, **changes}), entry(**IMDB))


def test_a_truncated_or_other_file_is_reported(tmp_path: Path) -> None:
    whole = pack(tmp_path / "a.tar.gz", {**FILES, "aclImdb/imdb.vocab": os.urandom(4000)}).read_bytes()
    for content in (whole[: len(whole) // 2], b"<html>not found</html>"):
        with pytest.raises(TextrnnError, match=r"a\.tar\.gz is damaged"):
            read_corpus(write(tmp_path, content, "a.tar.gz"), entry(**IMDB))


def test_an_archive_without_reviews_is_reported(tmp_path: Path) -> None:
    with pytest.raises(TextrnnError, match=r"no labelled example"):
        read_corpus(pack(tmp_path / "a.tar.gz", {"README": "nothing"}), entry(**IMDB))


def test_the_complete_imdb_archive() -> None:
    archive = ROOT.parent / "shared" / "data" / "aclImdb_v1.tar.xz"
    if not archive.is_file():
        pytest.skip(f"{archive} is not here")
    frame = read_corpus(archive, entry(**IMDB)).frame
    counts = frame.group_by("split", "label").len().sort("split", "label").rows()
    assert counts == [(split, label, 12500) for split in ("test", "train") for label in ("neg", "pos")]
    assert frame.filter(pl.col("id") == "train/pos/0_9")["group"].to_list() == ["tt0453418"]
    films = {split: set(frame.filter(pl.col("split") == split)["group"]) for split in ("train", "test")}
    assert len(films["train"] & films["test"]) == 1  # the publishers' own split shares one film


# the two stages, in a chain -----------------------------------------------------------------------


def project(tmp_path: Path, csv: str) -> None:
    """A project whose corpus is a small CSV of three classes."""
    corpus = entry(columns={**COLUMNS, "group": "film"}).model_dump()
    train = {key: value for key, value in PLAIN.items() if key != "embedding"}
    random = {"source": "none", "sha256": None, "licence": "", "citation": "", "format": "random"}
    catalog = {"corpora": {"mine": corpus}, "vectors": {"random": random}}
    (tmp_path / "catalog.yaml").write_text(yaml.safe_dump(catalog))
    params = {
        "study": "tiny", "corpus": "mine", "seeds": [0],
        "prepare": {"valid": 0.2, "test": 0.2, "seed": 0, "leakage": "drop", "unlabelled": False},
        "encode": {"vocabulary_size": 50, "min_count": 1},
        "embeddings": {"random": {"source": "random", "dimension": 3}},
        "baselines": {}, "comparisons": {"level": 0.05, "against": [], "pairs": []}, "probes": ["lstm"],
        "promotion": {"level": 0.05, "margin": 0.005},
        "data_check": {}, "published": [],
        "train": train, "experiments": {"lstm": {"embedding": "random"}},
    }  # fmt: skip
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
    write_plan(tmp_path)
    (tmp_path / "download").mkdir(exist_ok=True)
    (tmp_path / "download" / "reviews.csv").write_text(csv)


def stage(tmp_path: Path, name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "stages" / f"{name}.py"), f"plan/{name}.json", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)


def test_the_stages_chain_and_repeat_their_bytes(tmp_path: Path) -> None:
    rows = [f"{label},it's {label} {film},f{film}" for film in range(10) for label in ("low", "mid", "high")]
    project(tmp_path, "\n".join(["stars,review,film", *rows, "plot,,f1"]))
    results = []
    for run in ("one", "two"):
        for name, *arguments in (("prepare_corpus", "download", f"{run}/corpus"),
                                 ("encode_corpus", f"{run}/corpus", f"{run}/tokens")):  # fmt: skip
            done = stage(tmp_path, name, *arguments)
            assert done.returncode == 0, done.stderr
        files = sorted(path for path in (tmp_path / run).rglob("*") if path.is_file())
        results.append({str(path.relative_to(tmp_path / run)): path.read_bytes() for path in files})
    assert results[0] == results[1]
    assert sorted(results[0]) == [
        "corpus/quality.json", "corpus/test.parquet", "corpus/train.parquet", "corpus/valid.parquet",
        "tokens/encoder.json", "tokens/report.json", "tokens/test.parquet", "tokens/train.parquet",
        "tokens/valid.parquet", "tokens/vocabulary.txt",
    ]  # fmt: skip
    quality = json.loads(results[0]["corpus/quality.json"])
    assert quality["classes"] == ["low", "mid", "high"]
    assert quality["skipped"] == {"label 'plot'": 1}
    assert results[0]["tokens/vocabulary.txt"].startswith(b"<pad>\n<unk>\n's\nit\n")


def test_a_failing_stage_says_why_and_leaves_nothing(tmp_path: Path) -> None:
    project(tmp_path, "stars,review,film\nlow,a,f\nodd,b,g\n")
    done = stage(tmp_path, "prepare_corpus", "download", "out/corpus")
    assert done.returncode == 1
    assert done.stderr.startswith("error: reviews.csv: 'odd' at id 2 is no label")
    assert "Traceback" not in done.stderr
    assert list((tmp_path / "out").glob("*") if (tmp_path / "out").exists() else []) == []


def test_a_quotation_mark_in_a_tsv_is_a_character(tmp_path: Path) -> None:
    path = tmp_path / "reviews.tsv"
    path.write_text('text\tlabel\n"unbalanced start\tx\nand "one" inside\ty\n', encoding="utf-8")
    columns = {"text": "text", "label": "label"}
    raw = read_corpus(path, entry(format="tsv", columns=columns, classes=["x", "y"]))
    assert raw.frame["text"].to_list() == ['"unbalanced start', 'and "one" inside']


# what other people's files are like ---------------------------------------------------------------

TEXT = {"text": "text", "label": "label"}


def own(**changes: object) -> CorpusEntry:
    return entry(**{"columns": TEXT, "classes": ["neg", "pos"], "skip_labels": [], **changes})


def texts(tmp_path: Path, content: str | bytes, **changes: object) -> list[str]:
    return read_corpus(write(tmp_path, content), own(**changes)).frame["text"].to_list()


@pytest.mark.parametrize("content", [
    'text,label\nthe 5" screen,neg\n"Up" is great,pos\n"He said ""no""",neg\n',
    'text,label\r\n"two\r\nlines, and more",neg\r\n\r\n  \r\na,pos\r\n\r\n',
    "text,label\ra b,neg\rc,pos\r",
    "\n\ntext,label\n\na,neg\n\nb,pos",
    'label,text\nneg,"a ""b"\npos,"good\n\nline"\n',
])  # fmt: skip
def test_csv_is_read_as_pandas_reads_it(tmp_path: Path, content: str) -> None:
    expected = pd.read_csv(io.BytesIO(content.encode()))
    frame = read_corpus(write(tmp_path, content), own()).frame
    assert frame["text"].to_list() == expected["text"].to_list()
    assert frame["label"].to_list() == expected["label"].to_list()
    assert frame["id"].to_list() == [str(row) for row in range(1, len(expected) + 1)]


@given(
    st.lists(st.tuples(st.text('a", \n\r', min_size=1), st.sampled_from(["neg", "pos"])), min_size=1),
    st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]),
    st.sampled_from(["\n", "\r\n"]),
    st.booleans(),
)
def test_csv_gives_what_was_written(rows: list[tuple[str, str]], quoting: int, feed: str, last: bool) -> None:
    buffer = io.StringIO()
    csv.writer(buffer, quoting=quoting, lineterminator=feed).writerows([("text", "label"), *rows])
    content = buffer.getvalue() if last else buffer.getvalue().removesuffix(feed)
    assert read_table(content.encode(), "csv", "x.csv")[0].rows() == rows


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('text,label\na,pos\n\n"b\nc",neg\nd,neg,\n', r"line 6 has 3 fields"),
        ('text,label\na,pos\n"Bad,neg\nNice "film",pos\n', r"line 3: a quotation mark .* to line 4, and would swallow"),
        ('text,label\n"Bad,neg\nGood,pos\n', r"line 2: a quotation mark .* never ends"),
        (
            'text,label\n"Bad,neg\nmore,neg\nthe 5",pos\n',
            r"'text' at id 1 holds a line that looks like a row: 'Bad,neg'",
        ),
        ('text,label,note\ngood,pos,"ok\nbad,neg,fine"\n', r"'note' at id 1 .*looks like a row: 'bad,neg,fine'"),
        ('text,label\n"a\n1,pos",neg\n', r"looks like a row: '1,pos'.* as jsonl or parquet, or remove the line break"),
        ("text,label\na,pos\n\nso, so,neg\n", r"line 4 has 3 fields, and the header 2.*quotation marks"),
        ("text,label\nbroken\nin two,neg\n", r"line 2 has 1 fields"),
        ("text;label\na;neg\n", r"no column 'text', 'label'.*separated by ';': save it with commas"),
        ("text,label,text\na,neg,b\n", r"the header names 'text' twice"),
        ("text,label\na,neg\n".encode("utf-16"), r"UTF-16; save it as UTF-8"),
        (b"\xd0\xcf\x11\xe0" + bytes(99), r"old Excel workbook"),
        pytest.param(bytes(20_000), r"no text, but NUL bytes", id="nuls"),
    ],
)
def test_no_row_of_a_csv_is_swallowed_or_merged(tmp_path: Path, content: str | bytes, message: str) -> None:
    with pytest.raises(TextrnnError, match=message):
        read_corpus(write(tmp_path, content), own())


@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl"])
def test_blank_lines_are_skipped_in_every_text_format(tmp_path: Path, kind: str) -> None:
    rows = {"csv": ["text,label", "a,neg", "b,pos"], "tsv": ["text\tlabel", "a\tneg", "b\tpos"],
            "jsonl": ['{"text": "a", "label": "neg"}', '{"text": "b", "label": "pos"}']}[kind]  # fmt: skip
    assert texts(tmp_path, "\n" + "\n\n \n".join(rows) + "\n\n", format=kind) == ["a", "b"]


@pytest.mark.parametrize("rows", ["a,neg\n,\nb,pos\n,,,\n, \n", '"a",neg\n,\n"",""\nb,pos\n,\n'])
def test_csv_rows_of_separators_only_are_skipped(tmp_path: Path, rows: str) -> None:
    frame = read_corpus(write(tmp_path, f"text,label\n{rows}"), own()).frame
    assert frame.select("id", "text").rows() == [("1", "a"), ("2", "b")]


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_what_is_missing_is_null_alone(tmp_path: Path, kind: str) -> None:
    groups = ["", " ", "c1", None, "NaN", "c1"]
    table = pl.DataFrame({"text": list("abcdef"), "label": ["neg", "pos"] * 3, "who": groups})
    buffer = io.BytesIO()
    {"csv": lambda: table.write_csv(buffer, quote_style="always"), "jsonl": lambda: table.write_ndjson(buffer),
     "parquet": lambda: table.write_parquet(buffer)}[kind]()  # fmt: skip
    frame = read_corpus(write(tmp_path, buffer.getvalue()), own(format=kind, columns={**TEXT, "group": "who"})).frame
    assert frame["group"].to_list() == [None, None, "c1", None, None, "c1"]


def test_a_group_of_numbers_that_are_not_there_is_missing(tmp_path: Path) -> None:
    table = pl.DataFrame({"text": list("ab"), "label": ["neg", "pos"], "who": [float("nan"), 2.0]})
    table.write_parquet(tmp_path / "r.parquet")
    raw = read_corpus(tmp_path / "r.parquet", own(format="parquet", columns={**TEXT, "group": "who"}))
    assert raw.frame["group"].to_list() == [None, "2.0"]


@pytest.mark.parametrize("word", ["None", " NULL", "<NA>", "n/a", "NaN ", ""])
def test_what_tools_write_for_a_missing_group_is_missing(tmp_path: Path, word: str) -> None:
    table = pl.DataFrame({"text": list("ab"), "label": ["neg", "pos"], "who": [word, "Nancy"]})
    table.write_parquet(tmp_path / "r.parquet")
    entry = own(format="parquet", columns={**TEXT, "group": "who"})
    assert read_corpus(tmp_path / "r.parquet", entry).frame["group"].to_list() == [None, "Nancy"]


def test_large_numbers_as_groups_stay_distinct_with_a_nan(tmp_path: Path) -> None:
    numbers = ["9007199254740992", "9007199254740993", "NaN", "1" + "0" * 44]
    lines = [f'{{"text": "a{n}", "label": "{("neg", "pos")[n % 2]}", "who": {who}}}' for n, who in enumerate(numbers)]
    content = "\n".join(lines)
    raw = read_corpus(write(tmp_path, content), own(format="jsonl", columns={**TEXT, "group": "who"}))
    assert raw.frame["group"].to_list() == [*numbers[:2], None, numbers[3]]


def test_a_blank_label_or_split_is_missing_and_can_be_skipped(tmp_path: Path) -> None:
    content = 'text,label,part\na,neg,train\nb,pos,train\nc,"  ",train\n'
    with pytest.raises(TextrnnError, match=r"None at id 3 is no label"):
        texts(tmp_path, content)
    raw = read_corpus(write(tmp_path, content), own(skip_labels=[""]))
    assert (raw.frame.height, raw.skipped) == (2, {"label ''": 1})
    with pytest.raises(TextrnnError, match=r"'part' holds None at id 3"):
        texts(tmp_path, content.replace('"  ",train', 'neg," "'), columns={**TEXT, "split": "part"})


def test_one_spelling_for_texts_labels_groups_columns_and_classes(tmp_path: Path) -> None:
    content = unicodedata.normalize("NFD", "본문,판정,누구\ncafé,좋다,é\n재미,나쁘다,é\n재미,뺀다,é\n")
    columns = {"text": "본문", "label": unicodedata.normalize("NFD", "판정"), "group": "누구"}
    classes, skip = ["나쁘다", unicodedata.normalize("NFD", "좋다")], [unicodedata.normalize("NFD", "뺀다")]
    raw = read_corpus(write(tmp_path, content), entry(columns=columns, classes=classes, skip_labels=skip))
    assert raw.frame.rows() == [("1", "café", "좋다", "é", None), ("2", "재미", "나쁘다", "é", None)]
    assert raw.skipped == {"label '뺀다'": 1}


def test_half_characters_and_nul_become_the_replacement_character_and_are_counted(tmp_path: Path) -> None:
    lines = [r'{"text": "a \ud83d b", "label": "neg"}', r'{"text": "\u0000\ud83d\ude00", "label": "pos"}']
    raw = read_corpus(write(tmp_path, "\n".join(lines)), own(format="jsonl"))
    assert raw.frame["text"].to_list() == ["a \ufffd b", "\ufffd😀"]
    assert list(raw.skipped.values()) == [2]
    raw = read_corpus(write(tmp_path, "text,label\na\0,neg\nb,pos\n"), own())
    assert (raw.frame["text"][0], list(raw.skipped.values())) == ("a\ufffd", [1])
    pl.DataFrame({"text": ["a\0", "b"], "label": ["neg", "pos"]}).write_parquet(tmp_path / "r.parquet")
    raw = read_corpus(tmp_path / "r.parquet", own(format="parquet"))
    assert (raw.frame["text"][0], list(raw.skipped.values())) == ("a\ufffd", [1])


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"text": "a", "label": ["pos"]}', r"column 'label' holds no text in row 2 .*list: \['pos'\]"),
        ('{"text": "a", "label": {"x": 1}}', r"column 'label' holds no text in row 2 .*object"),
        ('{"text": ["a"], "label": "pos"}', r"column 'text' holds no text in row 2 .*list"),
        ('{"text": 7, "label": "pos"}', r"column 'text' holds no text in row 2 .*number: 7"),
        ('{"text": "a", "label": true}', r"'true' at id 2 is no label"),
        ('{"text": "a", "label": "pos", "who": [1]}', r"column 'who' holds no text in row 2 .*list: \[1\]"),
        ('["a"]', r"line 3 is no JSON object"),
        ('{"text": "a",', r"line 3, character 14: "),
        pytest.param(
            '{"x": ' + "[" * 100_000 + "]" * 100_000 + "}", r"line 3: lists or objects .* too deep", id="deep"
        ),
    ],
)
def test_json_of_another_type_is_reported_by_column_row_and_type(tmp_path: Path, line: str, message: str) -> None:
    content = '{"text": "x", "label": "neg", "who": "w"}\n\n' + line
    with pytest.raises(TextrnnError, match=message):
        read_corpus(write(tmp_path, content), own(format="jsonl", columns={**TEXT, "group": "who"}))


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        ("text", pl.Series([b"a", b"\xff"]), r"column 'text' holds no text in row 2 .*Binary, no UTF-8"),
        ("who", pl.Series([None, ["x"]]), r"column 'who' holds no text in row 2 .*List\(String\)"),
        ("who", pl.Series([None, timedelta(1)]), r"column 'who' holds no text in row 2 .*Duration"),
        ("label", pl.Series([{"x": 1}, {"x": 2}]), r"column 'label' holds no text in row 1 .*Struct"),
    ],
)
def test_parquet_of_another_type_is_reported_by_column_row_and_type(
    tmp_path: Path, column: str, values: pl.Series, message: str
) -> None:
    table = pl.DataFrame({"text": ["a", "b"], "label": ["neg", "pos"], "who": ["x", "y"]})
    table.with_columns(values.alias(column)).write_parquet(tmp_path / "r.parquet")
    with pytest.raises(TextrnnError, match=message):
        read_corpus(tmp_path / "r.parquet", own(format="parquet", columns={**TEXT, "group": "who"}))


def test_categories_and_bytes_that_are_text_are_read(tmp_path: Path) -> None:
    table = pl.DataFrame({"text": pl.Series(["a", "b"], dtype=pl.Categorical), "label": pl.Series([b"neg", b"pos"]),
                          "who": pl.Series(["x", None], dtype=pl.Enum(["x"]))})  # fmt: skip
    table.write_parquet(tmp_path / "r.parquet")
    raw = read_corpus(tmp_path / "r.parquet", own(format="parquet", columns={**TEXT, "group": "who"}))
    assert raw.frame.rows() == [("1", "a", "neg", "x", None), ("2", "b", "pos", None, None)]


def test_empty_texts_are_left_out_and_counted_where_the_catalog_says_so(tmp_path: Path) -> None:
    content = "text,label\na,neg\n,neg\n  ,pos\nb,pos\n"
    with pytest.raises(TextrnnError, match=r"skip_empty: true"):
        texts(tmp_path, content)
    raw = read_corpus(write(tmp_path, content), own(skip_empty=True))
    assert (raw.frame["id"].to_list(), raw.skipped) == (["1", "4"], {"empty text": 2})
    files = {**FILES, "aclImdb/train/pos/9_7.txt": " \n"}
    raw = read_corpus(pack(tmp_path / "a.tar.gz", files), entry(**IMDB, skip_empty=True))
    assert raw.skipped["empty text"] == 1


def test_one_source_per_split(tmp_path: Path) -> None:
    sources = {}
    for split, rows in {"train": "a,neg\nb,pos\n", "test": "c,neg\n\nd,pos\n"}.items():
        (tmp_path / split).mkdir()
        write(tmp_path / split, f"text,label\n{rows}", f"ratings_{split}.txt")
        sources[split] = {"source": f"file:ratings_{split}.txt", "sha256": "0" * 64}
    raw = read_corpus(tmp_path, own(source=None, sha256=None, sources=sources))
    assert raw.frame.select("id", "text", "split").rows() == [
        ("train/1", "a", "train"), ("train/2", "b", "train"), ("test/1", "c", "test"), ("test/2", "d", "test"),
    ]  # fmt: skip


def test_of_two_files_of_one_name_in_a_tar_the_later_counts_and_what_is_no_review_is_counted(tmp_path: Path) -> None:
    strange = ["val/pos/0_9.txt", "train/pos/9_7.txt~", "train/pos/copy of 9_7.txt", "train/pos/._9_7.txt"]
    path = pack(tmp_path / "a.tar", {**FILES, **{f"aclImdb/{name}": "x" for name in strange}, "__MACOSX/x": "x"})
    with tarfile.open(path, "a") as tar:
        member = tarfile.TarInfo("./aclImdb/train/pos/9_7.txt")
        member.size = 9
        tar.addfile(member, io.BytesIO(b"corrected"))
    raw = read_corpus(path, entry(**IMDB))
    assert raw.frame.height == raw.frame["id"].n_unique() == 5
    assert raw.frame.filter(pl.col("id") == "train/pos/9_7")["text"].to_list() == ["corrected"]
    assert raw.skipped == {
        "unlabelled, not asked for": 1,
        "review replaced by a later file of the same name": 1,
        "file of macOS (__MACOSX, ._*, .DS_Store)": 2,
        "file that is no review by its path, in aclImdb/val/pos/": 1,
        "file that is no review by its path, in aclImdb/train/pos/": 2,
    }


def test_a_second_corpus_in_the_archive_is_refused(tmp_path: Path) -> None:
    doubled = {**FILES, **{f"backup/{name}": content for name, content in FILES.items()}}
    with pytest.raises(TextrnnError, match=r"reviews in 2 folders: 'aclImdb', 'backup/aclImdb'"):
        read_corpus(pack(tmp_path / "a.tar.gz", doubled), entry(**IMDB))


@pytest.mark.parametrize("line", ["\n", "http://www.imdb.com/\n", FILM.format(1).strip() + " " + FILM.format(2)])
def test_a_line_without_a_film_is_refused_and_shifts_nothing(tmp_path: Path, line: str) -> None:
    films = FILES["aclImdb/train/urls_pos.txt"].splitlines(keepends=True)
    shifted = "".join([*films[:3], line, *films[3:]])
    with pytest.raises(TextrnnError, match=r"train/urls_pos\.txt, line 4: .* names no film, or several"):
        read_corpus(pack(tmp_path / "a.tar.gz", {**FILES, "aclImdb/train/urls_pos.txt": shifted}), entry(**IMDB))
    trailing = {**FILES, "aclImdb/train/urls_pos.txt": "".join(films).replace("\n", "\r\n") + "\n\n"}
    assert read_corpus(pack(tmp_path / "b.tar.gz", trailing), entry(**IMDB)).frame["group"][3] == "tt0000109"
