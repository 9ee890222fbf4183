"""What reads bytes from outside ends well or in a `TextrnnError`: earlier findings, a short fuzzing, and by hand."""

from __future__ import annotations

import csv
import gzip
import io
import json
import stat
import subprocess
import sys
import tarfile
import zipfile
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_experiments import CATALOG

from textrnn.config.catalog import load_catalog
from textrnn.corpus.archive import open_member
from textrnn.corpus.table_file import NO_CHARACTER, read_table
from textrnn.embeddings.matrix import Embedding
from textrnn.errors import TextrnnError, readable
from textrnn.modeling.linear import LinearModel
from textrnn.modeling.model_files import Member, read_ensemble, write_ensemble
from textrnn.modeling.predictor import Predictor
from textrnn.run_folder import RunFolder
from textrnn.text.vocabulary import Vocabulary

FUZZ = Path(__file__).with_name("fuzz.py")


def run_fuzz(*arguments: str) -> str:
    done = subprocess.run([sys.executable, FUZZ, *arguments], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_no_finding_comes_back() -> None:
    assert " 0 of them still are findings" in run_fuzz("--replay")


def test_a_short_fuzzing_of_everything_finds_nothing() -> None:
    """Longer ones: `python tests/fuzz.py --bytes 100_000_000`."""
    assert "all " in run_fuzz("--bytes", "700_000", "--seed", "7")


@pytest.mark.skipif(find_spec("atheris") is None, reason="atheris has no package for this system")
def test_a_short_fuzzing_that_coverage_guides_finds_nothing() -> None:
    found = json.loads(run_fuzz("--atheris", "--only", "csv", "--bytes", "100_000", "--seed", "5"))
    assert found["target"] == "csv" and found["accepted"] and found["refused"] and found["bytes"] >= 100_000


def read(archive: Path, member: str | None = None, limit: int = 1 << 20) -> bytes:
    with open_member(archive, member, limit) as stream:
        return stream.read()


def tar(path: Path, items: list[tuple[tarfile.TarInfo, bytes]]) -> Path:
    with tarfile.open(path, "w:gz" if path.suffix == ".gz" else "w") as archive:
        for item, content in items:
            archive.addfile(item, io.BytesIO(content))
    return path


def item(name: str, size: int = 0, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.size, made.type, made.linkname = size, kind, link
    return made


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_a_link_or_device_in_a_tar_is_no_member(tmp_path: Path, kind: bytes) -> None:
    archive = tar(tmp_path / "a.tar", [(item("a.csv", 2), b"hi"), (item("link.csv", 0, kind, "/etc/passwd"), b"")])
    with pytest.raises(TextrnnError, match=r"no member 'link\.csv'"):
        read(archive, "link.csv")
    assert read(archive) == b"hi"


def test_a_link_in_a_zip_is_no_member(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        link = zipfile.ZipInfo("link.csv")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
        archive.writestr("a.csv", "hi")
    with pytest.raises(TextrnnError, match=r"no member 'link\.csv'"):
        read(tmp_path / "a.zip", "link.csv")
    assert read(tmp_path / "a.zip") == b"hi"


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_files_of_one_name_in_a_zip(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a.csv", "one")
        archive.writestr("a.csv", "two")
    with pytest.raises(TextrnnError, match=r"holds 'a\.csv' twice.*Delete the file and download it again"):
        read(tmp_path / "a.zip", "a.csv")


def test_of_two_files_of_one_name_in_a_tar_the_later_counts(tmp_path: Path) -> None:
    archive = tar(tmp_path / "a.tar", [(item("a.csv", 3), b"one"), (item("a.csv", 3), b"two")])
    assert read(archive, "a.csv") == b"two"


def zipped_bomb(folder: Path) -> tuple[Path, str | None]:
    with zipfile.ZipFile(folder / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.csv", bytes(5 << 20))
    return folder / "a.zip", "a.csv"


def gzipped_bomb(folder: Path) -> tuple[Path, str | None]:
    (folder / "a.csv.gz").write_bytes(gzip.compress(bytes(5 << 20)))
    return folder / "a.csv.gz", None


def bomb_before_the_member(folder: Path) -> tuple[Path, str | None]:
    return tar(folder / "a.tar.gz", [(item("bomb", 5 << 20), bytes(5 << 20)), (item("a.csv", 1), b"a")]), "a.csv"


def bomb_in_a_member(folder: Path) -> tuple[Path, str | None]:
    packed = gzip.compress(bytes(5 << 20))
    return tar(folder / "a.tar", [(item("a.csv.gz", len(packed)), packed)]), "a.csv.gz"


@pytest.mark.parametrize("bomb", [zipped_bomb, gzipped_bomb, bomb_before_the_member, bomb_in_a_member])
def test_a_bomb_is_refused_at_the_limit(tmp_path: Path, bomb: Any) -> None:
    archive, member = bomb(tmp_path)
    assert archive.stat().st_size < 20_000
    with pytest.raises(TextrnnError, match=r"unpacks to more than 1,048,576 bytes.*set max_bytes in .*catalog\.yaml"):
        read(archive, member)
    assert len(read(archive, member, 10 << 20)) in (1, 5 << 20)


def test_what_is_as_long_as_the_limit_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(bytes(1000)))
    assert len(read(tmp_path / "a.csv.gz", None, 1000)) == 1000
    with pytest.raises(TextrnnError, match="more than 999 bytes"):
        read(tmp_path / "a.csv.gz", None, 999)


@pytest.mark.parametrize("kind", [tarfile.REGTYPE, tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME])
def test_a_header_that_promises_terabytes(tmp_path: Path, kind: bytes) -> None:
    header = item("a.csv", 5 << 40, kind).tobuf(tarfile.GNU_FORMAT)
    (tmp_path / "a.tar").write_bytes(header + b"text" * 1000)
    with pytest.raises(TextrnnError, match=r"is damaged|unpacks to more"):
        read(tmp_path / "a.tar", "a.csv")


def test_a_zip_whose_header_promises_terabytes_takes_no_memory(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.csv", "text,label\n")
    with zipfile.ZipFile(tmp_path / "a.zip", "a") as archive:
        archive.getinfo("a.csv").file_size = 5 << 40
        archive.writestr("b", "b")  # the directory is written again
    assert read(tmp_path / "a.zip", "a.csv") == b"text,label\n"  # the checksum is that of what is there


def test_the_limit_is_in_the_catalog(tmp_path: Path) -> None:
    content = json.loads(json.dumps(CATALOG))
    content["corpora"]["reviews"]["max_bytes"] = 7
    (tmp_path / "catalog.yaml").write_text(json.dumps(content))
    assert load_catalog(tmp_path / "catalog.yaml").corpora["reviews"].max_bytes == 7
    content["corpora"]["reviews"]["max_bytes"] = 0
    (tmp_path / "catalog.yaml").write_text(json.dumps(content))
    with pytest.raises(TextrnnError, match=r"max_bytes: .*Received: 0"):
        load_catalog(tmp_path / "catalog.yaml")


def test_aliases_that_multiply_are_cut_short(tmp_path: Path) -> None:
    lines = [f"k{i}: &k{i} [{', '.join([f'*k{i - 1}'] * 9) if i else 'x'}]" for i in range(12)]
    (tmp_path / "catalog.yaml").write_text("\n".join(lines))
    with pytest.raises(TextrnnError) as error:
        load_catalog(tmp_path / "catalog.yaml")
    assert len(str(error.value)) < 30_000


CELLS = st.lists(st.text(max_size=12), min_size=2, max_size=2)


@settings(deadline=None, max_examples=150)
@given(rows=st.lists(CELLS, min_size=1, max_size=6), kind=st.sampled_from(["csv", "jsonl", "parquet"]))
def test_any_table_is_read_as_it_was_written_or_refused(rows: list[list[str]], kind: str) -> None:
    rows = [[NO_CHARACTER.sub("", cell).replace("\r", "") or "x" for cell in row] for row in rows]
    table = pl.DataFrame(rows, schema={"text": pl.String, "label": pl.String}, orient="row")
    stream = io.BytesIO()
    if kind == "csv":
        csv.writer(text := io.StringIO(newline=""), quoting=csv.QUOTE_ALL, lineterminator="\n").writerows(
            [table.columns, *rows]
        )
        stream.write(text.getvalue().encode())
    else:
        {"jsonl": table.write_ndjson, "parquet": table.write_parquet}[kind](stream)
    found, replaced = read_table(stream.getvalue(), kind, "t")
    blank = pl.all_horizontal(pl.all().str.strip_chars() == "")
    assert found.rows() == (table.filter(~blank) if kind == "csv" else table).rows()
    assert replaced == 0


@settings(deadline=None)
@given(data=st.binary(max_size=200), kind=st.sampled_from(["csv", "tsv", "jsonl", "parquet"]))
def test_any_bytes_are_a_table_or_refused(data: bytes, kind: str) -> None:
    with suppress(TextrnnError):
        read_table(data, kind, "t")


def save_linear(folder: Path, **changes: Any) -> Path:
    model = {"classes": ("a", "b"), "size": 1, "ngrams": ["x"], "weights": np.ones((1, 1)), "bias": np.zeros(1)}
    LinearModel(**{**model, **changes}).save(folder)
    return folder


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"classes": ("a", "a")}, "a class occurs twice"),
        ({"classes": ("a", "b", "c")}, r"weights: floats \[3, 1\] are wanted, and it is float64 \[1, 1\]"),
        ({"size": 10**9}, "size is from 1 to 5"),
        ({"ngrams": ["x", "x"]}, "an n-gram occurs twice"),
        ({"ngrams": ["x", "y"]}, r"weights: floats \[1, 2\] are wanted"),
        ({"weights": np.full((1, 1), np.nan)}, "weights holds a number that is not finite"),
        ({"bias": np.full(1, np.nan)}, "bias holds a number that is not finite"),
        ({"bias": np.zeros(2)}, r"bias: floats \[1\] are wanted"),
    ],
)
def test_a_linear_model_whose_parts_do_not_fit(tmp_path: Path, changes: dict[str, Any], reason: str) -> None:
    folder = save_linear(tmp_path / "0", **changes)
    with pytest.raises(TextrnnError, match=rf"{folder} is damaged: .*{reason}.*dvc checkout"):
        Predictor(folder)


def test_compressed_weights_are_no_bomb(tmp_path: Path) -> None:
    folder = save_linear(tmp_path / "0")
    np.savez_compressed(folder / "weights.npz", weights=np.zeros((1, 10**7)), bias=np.zeros(1))
    with pytest.raises(TextrnnError, match="arrays are compressed"):
        Predictor(folder)


@pytest.mark.parametrize(
    ("member", "reason"),
    [
        (Member("../../other", 1.0, [0]), "is no name of a run"),
        (Member("lstm", 1.0, ["../.."]), "is no list of seeds"),  # type: ignore[list-item]
        (Member("lstm", 1.0, []), "is no list of seeds"),
        (Member("lstm", -1.0, [0]), "is not 0 or more"),
        (Member("lstm", 0.5, [0]), "the weights sum to 0.5"),
        (Member("lstm", float("nan"), [0]), "is not 0 or more"),
    ],
)
def test_an_ensemble_stays_in_its_folder_and_is_an_average(tmp_path: Path, member: Member, reason: str) -> None:
    write_ensemble(tmp_path, [member])
    with pytest.raises(TextrnnError, match=rf"ensemble\.json is damaged: .*{reason}"):
        read_ensemble(tmp_path)


def test_members_of_other_classes(tmp_path: Path) -> None:
    save_linear(tmp_path / "members/a/0")
    save_linear(tmp_path / "members/b/0", classes=("b", "a"))
    write_ensemble(tmp_path, [Member("a", 0.5, [0]), Member("b", 0.5, [0])])
    with pytest.raises(TextrnnError, match="its members have different classes"):
        Predictor(tmp_path)


def test_a_cut_vocabulary_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "v.txt").write_text("<pad>\n<unk>\ngood\nfil")
    with pytest.raises(TextrnnError, match="must hold unique words"):
        Vocabulary.load(tmp_path / "v.txt")
    (tmp_path / "v.txt").write_bytes(b"<pad>\n<unk>\n\xff\n")
    with pytest.raises(TextrnnError, match=r"v\.txt is damaged: .*utf-8"):
        Vocabulary.load(tmp_path / "v.txt")


@pytest.mark.parametrize(
    ("file", "content", "reason"),
    [
        ("matrix.npy", np.ones((3, 5), np.float32), r"matrix\.npy: floats \[any, 2\]"),
        ("matrix.npy", np.full((3, 2), np.nan, np.float32), "not finite"),
        ("matrix.npy", np.ones((2, 2), np.float32), r"covered\.npy must hold a truth value for each of the 2 rows"),
        ("covered.npy", np.zeros(3), "truth value"),
    ],
)
def test_an_embedding_whose_parts_do_not_fit(tmp_path: Path, file: str, content: np.ndarray, reason: str) -> None:
    vocabulary = Vocabulary(("<pad>", "<unk>", "good"))
    built = Embedding.build(vocabulary, np.ones((1, 2), np.float32), np.array([2]))
    built.save(tmp_path, built.coverage(vocabulary, np.ones(3, int)))
    assert Embedding.load(tmp_path).matrix.shape == (3, 2)
    np.save(tmp_path / file, content)
    with pytest.raises(TextrnnError, match=reason):
        Embedding.load(tmp_path)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"probability": [[0.5], [0.2, 0.3, 0.5]]}, "lacks a value, or one of 2 probabilities"),
        ({"probability": [[0.5, 0.5], None]}, "lacks a value"),
        ({"probability": [[0.5, 0.5], [None, 0.5]]}, "a probability is missing"),
        ({"label": [0, 2]}, "a label is none of the classes"),
        ({"seed": ["0", "0"]}, "its columns are"),
    ],
)
def test_predictions_that_do_not_fit_the_run(tmp_path: Path, changes: dict[str, list[Any]], reason: str) -> None:
    from fake_runs import make_run

    run = make_run(tmp_path, "lstm", predictions={"valid": (["x", "y"], [0, 1], [[0.5, 0.5], [0.1, 0.9]])})
    schema: dict[str, Any] = dict(run.predictions.schema)
    content = {**run.predictions.to_dict(as_series=False), **changes}
    schema = {**schema, "seed": pl.String} if "seed" in changes else schema
    pl.DataFrame(content, schema).write_parquet(run.path / "predictions.parquet")
    with pytest.raises(TextrnnError, match=rf"predictions\.parquet is damaged: .*{reason}.*dvc checkout --force"):
        _ = RunFolder.load(run.path).predictions


def test_an_error_of_the_system_is_no_damage(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), readable(tmp_path):
        (tmp_path / "none").read_bytes()
    with pytest.raises(KeyboardInterrupt), readable(tmp_path):
        raise KeyboardInterrupt
