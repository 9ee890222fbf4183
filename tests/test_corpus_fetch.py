"""Fetching from a real HTTP server, files and `pip download`: complete and right, or nothing at all."""

from __future__ import annotations

import gzip
import hashlib
import os
import random
import socket
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml
from tiny_experiments import PLAIN, write_plan

from textrnn.config.catalog import Source
from textrnn.corpus import fetch as module
from textrnn.corpus.fetch import NOTE, fetch, fetch_splits
from textrnn.errors import TextrnnError

PROJECT = Path(__file__).parents[1]
CONTENT = random.Random(0).randbytes(700_001)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Server(ThreadingHTTPServer):
    """Serves `content`; the first answers follow `script`, the rest are well-behaved.

    A script entry is a status to answer with, or `cut`: announce everything, send half, hang up.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content = CONTENT
        self.script: list[int | str] = []
        self.ranges = True
        self.requested: list[str | None] = []  # the Range header of every request

    def url(self, path: str = "/files/corpus.tar.gz") -> str:
        return f"http://127.0.0.1:{self.server_port}{path}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        self.server.requested.append(wanted)
        step = self.server.script.pop(0) if self.server.script else 200
        if isinstance(step, int) and step != 200:
            self.send_error(step)
            return
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted and self.server.ranges else 0
        body = self.server.content[start:]
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}")
        self.send_header("Content-Encoding", "x-gzip")  # as some servers say of every .gz file
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if step == "cut" else body)

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """These servers are on this machine, whatever proxy its user has configured."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "downloads" / "corpus"


def assert_nothing_left(folder: Path) -> None:
    assert list(folder.parent.iterdir()) == []


def assert_clear(error: pytest.ExceptionInfo[TextrnnError], source: str) -> None:
    message = str(error.value)
    assert message.startswith(f"{source}: the download failed, and nothing was kept.")
    assert [line.strip().partition(":")[0] for line in message.splitlines()[1:]] == [
        "expected",
        "received",
        "what to do",
    ]


def test_download_under_its_published_name(server: Server, folder: Path) -> None:
    assert fetch(server.url(), SHA256, folder) == folder / "corpus.tar.gz"
    assert [path.name for path in folder.iterdir()] == ["corpus.tar.gz"]
    assert (folder / "corpus.tar.gz").read_bytes() == CONTENT
    assert list(folder.parent.iterdir()) == [folder]


def test_gz_file_is_kept_as_published(server: Server, folder: Path) -> None:
    # The server says `Content-Encoding: x-gzip`: nothing may be decoded on the way.
    server.content = gzip.compress(b"text" * 999, mtime=0)
    archive = fetch(server.url(), hashlib.sha256(server.content).hexdigest(), folder)
    assert archive is not None
    assert archive.read_bytes() == server.content


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/a%20b.zip?x=/1", "a b.zip"),
        ("/", "archive"),
        ("/x/..%2F..%2Fevil.zip", "evil.zip"),
        ("/x/%2E%2E", "archive"),
    ],
)
def test_published_name_stays_in_the_folder(server: Server, folder: Path, path: str, name: str) -> None:
    assert fetch(server.url(path), SHA256, folder) == folder / name


def test_second_fetch_needs_no_network(server: Server, folder: Path) -> None:
    for _ in range(2):
        fetch(server.url(), SHA256, folder)
    assert len(server.requested) == 1


def test_wrong_file_in_the_folder_is_replaced(server: Server, folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "corpus.tar.gz").write_bytes(b"old")
    (folder / "other.zip").write_bytes(b"older")
    fetch(server.url(), SHA256, folder)
    assert [path.name for path in folder.iterdir()] == ["corpus.tar.gz"]


def test_wrong_hash(server: Server, folder: Path) -> None:
    with pytest.raises(TextrnnError) as error:
        fetch(server.url(), "0" * 64, folder)
    assert_clear(error, server.url())
    assert f"expected: SHA-256 {'0' * 64}" in str(error.value)
    assert f"received: SHA-256 {SHA256} (700,001 bytes)" in str(error.value)
    assert "catalog.yaml" in str(error.value)
    assert_nothing_left(folder)


def test_failure_leaves_an_earlier_download_alone(server: Server, folder: Path) -> None:
    fetch(server.url(), SHA256, folder)
    with pytest.raises(TextrnnError):
        fetch(server.url(), "0" * 64, folder)
    assert (folder / "corpus.tar.gz").read_bytes() == CONTENT
    assert list(folder.parent.iterdir()) == [folder]


def test_not_found_is_reported_at_once(server: Server, folder: Path) -> None:
    server.script = [404]
    with pytest.raises(TextrnnError, match="404 Client Error") as error:
        fetch(server.url(), SHA256, folder)
    assert_clear(error, server.url())
    assert len(server.requested) == 1
    assert_nothing_left(folder)


def test_busy_server_is_asked_again(server: Server, folder: Path) -> None:
    server.script = [503, 429]
    assert fetch(server.url(), SHA256, folder, pause=0.01) is not None
    assert len(server.requested) == 3


def test_pauses_double(server: Server, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    server.script = [503, 503, 503]
    with pytest.raises(TextrnnError, match=r"503 Server Error.*attempt 3"):
        fetch(server.url(), SHA256, folder, pause=2.0)
    assert pauses == [2.0, 4.0]
    assert_nothing_left(folder)


def test_cut_connection_is_resumed(server: Server, folder: Path) -> None:
    server.script = ["cut", 503, "cut"]
    with pytest.raises(TextrnnError):
        fetch(server.url(), SHA256, folder, pause=0.01)
    assert server.requested == [None, "bytes=350000-", "bytes=350000-"]
    assert_nothing_left(folder)

    server.requested.clear()
    server.script = ["cut"]
    archive = fetch(server.url(), SHA256, folder, pause=0.01)
    assert archive is not None
    assert archive.read_bytes() == CONTENT
    assert server.requested == [None, "bytes=350000-"]


@pytest.mark.parametrize("script", [["cut"], ["cut", 416]])
def test_start_anew_where_the_server_cannot_resume(server: Server, folder: Path, script: list[int | str]) -> None:
    server.ranges = False
    server.script = script
    archive = fetch(server.url(), SHA256, folder, pause=0.01)
    assert archive is not None
    assert archive.read_bytes() == CONTENT


def test_truncated_answers(server: Server, folder: Path) -> None:
    server.ranges = False
    server.script = ["cut"] * 3
    with pytest.raises(TextrnnError, match="350,000 bytes so far") as error:
        fetch(server.url(), SHA256, folder, pause=0.01)
    assert_clear(error, server.url())
    assert_nothing_left(folder)


def test_no_network(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/corpus.zip"
    with pytest.raises(TextrnnError, match="Connection refused") as error:
        fetch(url, SHA256, folder, pause=0.01)
    assert_clear(error, url)
    assert "check the address, your network and your proxy" in str(error.value)
    assert_nothing_left(folder)


def test_interrupt_leaves_nothing(server: Server, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    server.script = ["cut"]
    monkeypatch.setattr(time, "sleep", interrupt)  # Ctrl-C half-way, while waiting to resume
    with pytest.raises(KeyboardInterrupt):
        fetch(server.url(), SHA256, folder)
    assert_nothing_left(folder)


def test_full_disk(server: Server, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "_receive", full)
    with pytest.raises(TextrnnError, match=r"cannot be stored in .*No space left on device"):
        fetch(server.url(), SHA256, folder)
    assert_nothing_left(folder)


def test_file_is_copied_not_linked(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own.csv").write_bytes(CONTENT)
    monkeypatch.chdir(tmp_path)
    archive = fetch("file:own.csv", SHA256, folder)
    assert archive == folder / "own.csv"
    assert archive.read_bytes() == CONTENT
    assert archive.stat().st_nlink == 1
    assert not archive.is_symlink()


def test_missing_file(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(TextrnnError, match="which is no file") as error:
        fetch("file:own.csv", SHA256, folder)
    assert_clear(error, "file:own.csv")
    assert str(tmp_path / "own.csv") in str(error.value)
    assert_nothing_left(folder)


def test_none_leaves_nothing_but_a_note(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "left-over.zip").write_bytes(b"old")
    assert fetch("none", None, folder) is None
    assert [path.name for path in folder.iterdir()] == [NOTE]


def test_one_folder_for_each_split_and_all_or_none(tmp_path: Path, folder: Path) -> None:
    sources = {}
    for split in ("train", "test"):
        (tmp_path / f"{split}.txt").write_bytes(split.encode() + CONTENT)
        hash_ = hashlib.sha256(split.encode() + CONTENT).hexdigest()
        sources[split] = Source(source=f"file:{tmp_path / split}.txt", sha256=hash_)
    fetch_splits(sources, folder)
    (tmp_path / "train.txt").unlink()  # it is there, and needs no source
    fetch_splits(sources, folder)
    assert sorted(str(path.relative_to(folder)) for path in folder.rglob("*.txt")) == [
        "test/test.txt",
        "train/train.txt",
    ]
    with pytest.raises(TextrnnError, match="which is no file"):
        fetch_splits(sources, folder.parent / "other")
    assert list(folder.parent.iterdir()) == [folder]


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A wheel in a folder that pip, offline, is configured to look into by its environment."""
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    wheel = shelf / "toy_corpus-1.2-py3-none-any.whl"
    info = "toy_corpus-1.2.dist-info"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("toy_corpus/data.csv", "text,label\ngood,pos\n")
        archive.writestr(
            f"{info}/METADATA",
            "Metadata-Version: 2.1\nName: toy-corpus\nVersion: 1.2\nRequires-Dist: not-to-be-had\n",
        )
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(shelf))
    return wheel


def test_pypi_fetches_the_wheel_without_its_dependencies(wheel: Path, folder: Path) -> None:
    archive = fetch("pypi:toy-corpus==1.2", hashlib.sha256(wheel.read_bytes()).hexdigest(), folder)
    assert archive == folder / wheel.name
    assert archive.read_bytes() == wheel.read_bytes()


def test_pypi_wrong_hash(wheel: Path, folder: Path) -> None:
    with pytest.raises(TextrnnError, match=f"expected: SHA-256 {SHA256}") as error:
        fetch("pypi:toy-corpus==1.2", SHA256, folder)
    assert_clear(error, "pypi:toy-corpus==1.2")
    assert_nothing_left(folder)


@pytest.mark.usefixtures("wheel")
def test_pypi_unknown_version(folder: Path) -> None:
    with pytest.raises(TextrnnError, match=r"No matching distribution found for toy-corpus==1\.3") as error:
        fetch("pypi:toy-corpus==1.3", SHA256, folder)
    assert_clear(error, "pypi:toy-corpus==1.3")
    assert "pip config list" in str(error.value)
    assert_nothing_left(folder)


CATALOG = {
    "corpora": {
        "toy": {
            "source": "file:toy.csv",
            "sha256": SHA256,
            "format": "csv",
            "columns": {"text": "text", "label": "label"},
            "classes": ["neg", "pos"],
            "licence": "CC0-1.0",
            "citation": "none",
        }
    },
    "vectors": {
        "random": {
            "source": "none",
            "sha256": None,
            "format": "random",
            "licence": "none",
            "citation": "none",
        },
        "toy-3d": {
            "source": "file:toy.txt",
            "sha256": SHA256,
            "format": "glove",
            "dimension": 3,
            "licence": "CC0-1.0",
            "citation": "none",
        },
    },
}
TRAIN = {key: value for key, value in PLAIN.items() if key != "embedding"}
PARAMS = {
    "study": "toy",
    "corpus": "toy",
    "seeds": [0],
    "prepare": {"valid": 0.2, "test": 0.2, "seed": 0, "leakage": "drop", "unlabelled": False},
    "encode": {"vocabulary_size": 9, "min_count": 1},
    "embeddings": {"scratch": {"source": "random", "dimension": 3}, "toy": {"source": "toy-3d"}},
    "baselines": {},
    "comparisons": {"level": 0.05, "against": [], "pairs": []},
    "probes": ["lstm"],
    "promotion": {"level": 0.05, "margin": 0.005},
    "data_check": {},
    "published": [],
    "train": TRAIN,
    "experiments": {"lstm": {"embedding": "scratch"}},
}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A toy project with its plan."""
    (tmp_path / "catalog.yaml").write_text(yaml.safe_dump(CATALOG), encoding="utf-8")
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(PARAMS), encoding="utf-8")
    for name in ("toy.csv", "toy.txt"):
        (tmp_path / name).write_bytes(CONTENT)
    write_plan(tmp_path)
    return tmp_path


def run_stage(folder: Path, stage: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs an entry point, as dvc.yaml does."""
    command = [sys.executable, str(PROJECT / "stages" / f"{stage}.py"), *arguments]
    environment = os.environ | {"PYTHONPATH": str(PROJECT / "src")}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def download_vectors(folder: Path, name: str) -> subprocess.CompletedProcess[str]:
    return run_stage(folder, "download_vectors", f"plan/download_vectors@{name}.json", f"out/{name}")


def test_stages_download_what_the_study_names(project: Path) -> None:
    assert run_stage(project, "download_corpus", "plan/download_corpus.json", "out/corpus").returncode == 0
    assert download_vectors(project, "toy").returncode == 0
    assert download_vectors(project, "scratch").returncode == 0
    found = sorted(str(path.relative_to(project)) for path in (project / "out").rglob("*"))
    assert found == [
        "out/corpus",
        "out/corpus/toy.csv",
        "out/scratch",
        "out/scratch/made-here.txt",
        "out/toy",
        "out/toy/toy.txt",
    ]


def test_stage_refuses_an_unknown_embedding(project: Path) -> None:
    finished = download_vectors(project, "tyo")
    assert finished.returncode == 1
    assert finished.stderr == (
        f"error: plan/download_vectors@tyo.json: the plan in {project} has no stage 'download_vectors@tyo'. "
        "Run `dvc repro`, which plans anew.\n"
    )
    assert not (project / "out").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train": TRAIN | {"units": 0}}, "train.units"),
        ({"embeddings": {"scratch": {"source": "glove"}}}, "vectors 'glove' are not in catalog.yaml"),
        ({"corpus": "imdb"}, "corpus 'imdb' is not in catalog.yaml. Known: toy."),
    ],
)
def test_the_plan_validates_the_whole_study_first(project: Path, changes: dict[str, object], message: str) -> None:
    (project / "params.yaml").write_text(yaml.safe_dump(PARAMS | changes), encoding="utf-8")
    finished = run_stage(project, "plan", "out")
    assert finished.returncode == 1
    assert message in finished.stderr
    assert "Traceback" not in finished.stderr
    assert not (project / "out").exists()
