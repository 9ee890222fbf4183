from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml
from tiny_experiments import PLAIN, write_plan

from textrnn.catalog import CorpusEntry
from textrnn.corpus.formats import read_corpus
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
def test_what_goes_wrong_is_told(tmp_path: Path, content: str | bytes, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(TextrnnError, match=message):
        read_corpus(write(tmp_path, content), two(**changes))


def test_nan_text_in_parquet_is_told(tmp_path: Path) -> None:
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
def test_a_wrong_aclimdb_is_told(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(TextrnnError, match=message):
        read_corpus(pack(tmp_path / "a.tar.gz", {**FILES, **changes}), entry(**IMDB))


def test_a_truncated_or_other_file_is_told(tmp_path: Path) -> None:
    whole = pack(tmp_path / "a.tar.gz", {**FILES, "aclImdb/imdb.vocab": os.urandom(4000)}).read_bytes()
    for content in (whole[: len(whole) // 2], b"<html>not found</html>"):
        with pytest.raises(TextrnnError, match=r"a\.tar\.gz is damaged"):
            read_corpus(write(tmp_path, content, "a.tar.gz"), entry(**IMDB))


def test_an_archive_without_reviews_is_told(tmp_path: Path) -> None:
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
