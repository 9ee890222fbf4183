"""The project in miniature: its own code on 60 texts of 12 films, with real DVC, git and MLflow.

The texts are made of two word lists, so that a network of three units learns them.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import chdir, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO
from unittest import mock

import yaml

from textrnn.process import own_environment

PROJECT = Path(__file__).parents[1]

PARAMS = """\
study: tiny
corpus: snippets
seeds: [0, 1]
prepare: {valid: 0.25, test: 0.25, seed: 0, leakage: drop, unlabelled: false}
encode: {vocabulary_size: 40, min_count: 1}
embeddings:
  random: {source: random, dimension: 4}
  glove: {source: tiny-glove}
baselines:
  majority: {kind: majority}
  nb-svm: {kind: nb_svm, ngrams: 2, min_count: 1, inverse_regularization: 1.0}
comparisons: {level: 0.05, against: [nb-svm], pairs: []}
probes: [lstm]
promotion: {level: 0.05, margin: 0.005}
data_check: {}
published: []
train:
  cell: lstm
  trainable_embedding: false
  max_tokens: 6
  keep: both
  reverse: false
  padding: right
  units: 3
  layers: 1
  bidirectional: false
  readout: last
  embedding_dropout: 0.0
  spatial_dropout: 0.0
  recurrent_dropout: 0.0
  dropout: 0.0
  l2: 0.0
  label_smoothing: 0.0
  gradient_clip: null
  ema: null
  early_stopping: null
  train_examples: null
  held_out: 0.0
  optimizer: adam
  learning_rate: 0.01
  batch_size: 8
  epochs: 2
experiments:
  lstm: {embedding: random, trainable_embedding: true}
  gru: {embedding: glove, cell: gru, epochs: 1}
  mean: {embedding: glove, cell: feedforward, readout: mean, epochs: 1}
"""

STAGES = [
    "baseline@majority",
    "baseline@nb-svm",
    "build_embeddings@glove",
    "build_embeddings@random",
    "compare",
    "download_corpus",
    "download_vectors@glove",
    "download_vectors@random",
    "encode_corpus",
    "plan",
    "prepare_corpus",
    "probe@lstm",
    "rehearse",
    "train@gru",
    "train@lstm",
    "train@mean",
]

GOOD = ["wonderful", "lovely", "moving", "bright", "clever"]
BAD = ["dreadful", "boring", "clumsy", "stale", "noisy"]
NEUTRAL = ["film", "story", "plot", "actors", "script", "a", "the", "with"]


@dataclass(frozen=True)
class Result:
    """How a command ended: exit status, and standard output and error together."""

    status: int
    text: str

    def __str__(self) -> str:
        return f"exit status {self.status}\n{self.text}"

    @property
    def lines(self) -> list[str]:
        """The lines of the text."""
        return self.text.splitlines()

    @property
    def stages(self) -> list[str]:
        """Names of the stages that DVC ran, or with `--dry` would run, sorted."""
        lines = [line for line in self.text.splitlines() if line.startswith("Running stage '")]
        return sorted(line.split("'")[1] for line in lines)

    @property
    def cached(self) -> list[str]:
        """Names of the stages whose outputs came out of DVC's run cache, sorted."""
        lines = [line for line in self.text.splitlines() if line.startswith("Stage '") and " is cached" in line]
        return sorted(line.split("'")[1] for line in lines)


@dataclass(frozen=True)
class TinyProject:
    """A project folder, and a home folder of its own for the programs that run in it."""

    folder: Path
    home: Path

    def run(self, *command: str, ok: bool = True, timeout: float = 600, **variables: str) -> Result:
        """Runs `command` in the folder; with `ok`, its failure fails the test."""
        done = subprocess.run(
            command,
            cwd=self.folder,
            env={**self.environment(), **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout,
        )
        result = Result(done.returncode, done.stdout)
        assert not ok or done.returncode == 0, result
        return result

    def dvc(self, *arguments: str, ok: bool = True, **variables: str) -> Result:
        """Runs `dvc` within this process, since most of a command is importing DVC. Its stages are processes."""
        from dvc.cli import main

        return self._call(lambda: main(list(arguments)), ok, variables)

    def textrnn(self, *arguments: str, ok: bool = True, **variables: str) -> Result:
        """Runs `textrnn` within this process: what takes seconds to import is imported once."""
        from textrnn.cli import app

        with mock.patch.object(sys, "argv", ["textrnn", *arguments]):
            return self._call(app, ok, variables)

    def _call(self, function: Callable[[], int | None], ok: bool, variables: dict[str, str]) -> Result:
        """Calls `function` in the folder, with the environment that `run` gives to a process."""
        import dvc  # noqa: F401, it sets up its logging

        # DVC_TEST: else it prints JSON to where standard output was when DVC was imported.
        environment = own_environment({**self.environment(), "DVC_TEST": "1", **variables})
        with (
            tempfile.TemporaryFile("w+", encoding="utf-8", buffering=1) as output,
            mock.patch.dict(os.environ, environment, clear=True),
            warnings.catch_warnings(),
            chdir(self.folder),
        ):
            warnings.simplefilter("ignore")
            with _output_to(output):
                try:
                    status = function() or 0
                except SystemExit as end:
                    status = end.code if isinstance(end.code, int) else int(end.code is not None)
            output.seek(0)
            result = Result(status, output.read())
        assert not ok or status == 0, result
        return result

    def commit(self) -> None:
        """Commits everything that git does not ignore."""
        self.run("git", "add", "--all")
        self.run("git", "commit", "--quiet", "--message", "state")

    def git_status(self) -> str:
        """What differs from the last commit, nothing when clean."""
        return self.run("git", "status", "--porcelain").text

    def edit(self, name: str, change: Callable[[Any], None]) -> None:
        """Applies `change` to the content of a YAML file."""
        content = yaml.safe_load((self.folder / name).read_text(encoding="utf-8"))
        change(content)
        (self.folder / name).write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")

    def append(self, name: str, text: str) -> None:
        """Appends `text` to a file."""
        with (self.folder / name).open("a", encoding="utf-8") as file:
            file.write(text)

    def read(self, name: str) -> str:
        """The text of a file."""
        return (self.folder / name).read_text(encoding="utf-8")

    def lock(self) -> dict[str, Any]:
        """The stages in dvc.lock."""
        return yaml.safe_load(self.read("dvc.lock"))["stages"]

    def report(self) -> dict[str, bytes]:
        """The bytes of every file of the report, by its path."""
        files = sorted((self.folder / "reports").rglob("*"))
        return {file.relative_to(self.folder).as_posix(): file.read_bytes() for file in files if file.is_file()}

    def copy(self, folder: Path) -> TinyProject:
        """Copies the whole folder, DVC's cache included."""
        shutil.copytree(self.folder, folder, symlinks=True)
        return TinyProject(folder, self.home)

    def environment(self) -> dict[str, str]:
        """This project's code, this Python's DVC, no user's settings, no statistics sent."""
        inherited = {
            key: value
            for key, value in os.environ.items()
            if not key.startswith(("DVC_", "MLFLOW_", "GIT_")) or key.startswith(MLFLOW_SETTINGS)
        }
        return {
            **inherited,
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]),
            "PYTHONPATH": str(self.folder / "src"),
            "HOME": str(self.home),
            "XDG_CONFIG_HOME": str(self.home / "config"),
            "XDG_CACHE_HOME": str(self.home / "cache"),
            "DVC_SITE_CACHE_DIR": str(self.home / "dvc"),
            "DVC_NO_ANALYTICS": "1",
            "COLUMNS": "120",
            **{f"GIT_{who}_{key}": value for who in ("AUTHOR", "COMMITTER") for key, value in GIT_IDENTITY.items()},
        }


@contextmanager
def _output_to(file: TextIO) -> Iterator[None]:
    """Sends to `file` what this process and the processes that it starts print."""
    kept = [os.dup(number) for number in (1, 2)]
    handlers = [
        handler
        for name in ("dvc", "dvc_objects", "dvc_data")
        for handler in logging.getLogger(name).handlers
        if isinstance(handler, logging.StreamHandler)
    ]
    try:
        for number in (1, 2):
            os.dup2(file.fileno(), number)
        for handler in handlers:  # they keep the streams that were there when DVC was imported
            handler.setStream(file)
        with redirect_stdout(file), redirect_stderr(file):
            yield
            file.flush()
    finally:
        for handler in handlers:
            handler.setStream(sys.__stderr__)
        for number, copy in zip((1, 2), kept, strict=True):
            os.dup2(copy, number)
            os.close(copy)


LIVE = {"TEXTRNN_LIVE_AFTER": "0"}
"""Lets MLflow follow even trainings of a few seconds. Without it they do not import MLflow, which takes longer."""

MLFLOW_SETTINGS = ("MLFLOW_DISABLE_", "MLFLOW_SUPPRESS_", "MLFLOW_ENABLE_", "MLFLOW_HTTP_")
"""Variables that `textrnn.tracking.store` sets when it is imported."""

GIT_IDENTITY = {"NAME": "Tess Ter", "EMAIL": "tess@example.org"}


def make_project(folder: Path, home: Path) -> TinyProject:
    """Copies the working tree's own files to `folder`, shrinks corpus, vectors and study, and commits."""
    home.mkdir(parents=True, exist_ok=True)
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in filter(None, listed.stdout.split("\0")):
        if not name.startswith(("reports/", "tests/", "docs/")) and name != "dvc.lock" and (PROJECT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(PROJECT / name, folder / name)
    project = TinyProject(folder, home)
    (folder / "tiny").mkdir()
    (folder / "tiny" / "snippets.csv").write_text(snippets_csv(), encoding="utf-8")
    (folder / "tiny" / "vectors.txt").write_text(vectors_text(), encoding="utf-8")
    (folder / "params.yaml").write_text(PARAMS, encoding="utf-8")
    project.edit("catalog.yaml", _tiny_sources)
    project.run("git", "init", "--quiet", "--initial-branch=main")
    project.commit()
    return project


def sha256(file: Path) -> str:
    """The hash that the catalog wants."""
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _tiny_sources(catalog: dict[str, Any]) -> None:
    said = {"licence": "CC0-1.0", "citation": "none needed"}
    catalog["corpora"] = {
        "snippets": {
            "source": "file:tiny/snippets.csv",
            "sha256": hashlib.sha256(snippets_csv().encode()).hexdigest(),
            "format": "csv",
            "columns": {"text": "text", "label": "category", "group": "film"},
            "classes": ["bad", "good"],
            **said,
        }
    }
    catalog["vectors"] = {
        "random": catalog["vectors"]["random"],
        "tiny-glove": {
            "source": "file:tiny/vectors.txt",
            "sha256": hashlib.sha256(vectors_text().encode()).hexdigest(),
            "format": "glove",
            "dimension": 5,
            **said,
        },
    }


def snippets_csv() -> str:
    """60 texts: film `i % 12`, alternately good and bad, no two alike."""
    rows = ["text,category,film"]
    for row in range(60):
        film, words = row % 12, (BAD, GOOD)[row // 12 % 2]
        text = f"{NEUTRAL[row % 8]} {words[row % 5]} {NEUTRAL[row * 3 % 7]} number {row}"
        rows.append(f"{text},{('bad', 'good')[row // 12 % 2]},film {film}")
    return "\n".join(rows) + "\n"


def vectors_text() -> str:
    """Vectors of 5 numbers for all words except the neutral `with`: the first is positive for good words only."""
    lines = []
    for index, word in enumerate([*GOOD, *BAD, *NEUTRAL[:-1], "number"]):
        first = 1.0 if word in GOOD else -1.0 if word in BAD else 0.0
        lines.append(f"{word} {first} " + " ".join(f"{(index * step % 7 - 3) / 10}" for step in (1, 2, 3, 5)))
    return "\n".join(lines) + "\n"
