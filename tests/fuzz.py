"""Fuzzing of everything that reads bytes from outside: `python tests/fuzz.py --bytes 100_000_000`.

Each target has seeds, which the project's own writers make, and a function that reads one of them after it was mutated.
Reading ends well, or in a `TextrnnError`. Anything else (another exception, a result that is wrong, a pickle that is
loaded, more CPU time or memory than the limits, the death of the process) is a finding. Its input is kept in
`tests/findings/<target>/<seed>.<digest>`, and `test_fuzz.py` reads it again.

The inputs are read in a process of their own, which is replaced when it dies. What input `i` of a target is follows
from the seeds, `--seed` and `i` alone.
"""

from __future__ import annotations

import argparse
import bz2
import contextlib
import faulthandler
import gzip
import hashlib
import io
import json
import lzma
import os
import pickle
import random
import resource
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
import traceback
import warnings
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import numpy as np
import polars as pl

from textrnn.errors import TextrnnError

FINDINGS = Path(__file__).parent / "findings"
CPU_SECONDS = 10.0  # for one input, all threads together
WALL_SECONDS = 120  # after which the process is killed: other programs may hold the processors
MEMORY = 6_000_000_000  # more than the process has before the first input
MOST_BYTES = 30_000_000  # what archives may unpack to
LARGEST_FINDING = 20_000

TEXTS = ["a good film, noir", "it's bad", "", "schön & gut", '"quoted", with\nline break', "좋은 영화", "plot " * 30]
WORDS = ("<pad>", "<unk>", "good", "bad", "film", "a", "plot", "schön")
CLASSES = ("rotten", "fresh", "stale")


class Hang(BaseException):
    """An input took more CPU time than the limit."""


class Unpickled(BaseException):
    """A pickle was about to be loaded."""


class Target(NamedTuple):
    """`seeds` are contents by name; `read` reads a mutated one, given its name."""

    seeds: dict[str, bytes]
    read: Callable[[str, bytes], None]


# Mutations


_ESCAPED = r"""
    \0 " ' \n \r\n \r \t , ; \x20 \xff\xff\xff\x7f \xef\xbb\xbf \xc3 \xed\xa0\x80 \\ud800 \xe2\x80\xa8 \xf4\x90\x80\x80
    \x1b[31m \x1a 0 1 2 -1 1e999 -1e-999 NaN Infinity nan 4294967296 9223372036854775808 0x10 1_000 1:30 2024-13-45 ~ no
    true null [] {} ] {{ }} {% ${a.b} ../ ..\\ C:\\ /etc/passwd file:// %00 < <<:\x20*a &a\x20 *a &a\x20[*a] !!int\x20
    !!python/object:os.system\x20 !!binary\x20 !!float\x20x !!timestamp\x20x !!bool\x20x !!set\x20 !!omap\x20
    !!pairs\x20 ?\x20 :\x20 -\x20 |\n >\n ---\n ...\n %YAML\x209.9\n #\x20 <<<<<<<\x20HEAD\n PK\x03\x04 PK\x01\x02
    PK\x05\x06 BZh91AY&SY \xfd7zXZ\0 PAR1 ustar\0 x L K S g 77777777777 \x93NUMPY '|O' '<f8' '>f4' (1,) (9999999999,)
    \x1f\x8b\x08 True False \x80\x04\x95 cos\n \xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01
"""
TOKENS = [token.encode().decode("unicode_escape").encode("latin-1") for token in _ESCAPED.split()]
TOKENS += [b"\0" * 64, b"\xff" * 16, b"9" * 30, b"9" * 5000, b"[" * 2000, b'{"a":' * 2000, b"- " * 2000, b"(" * 300]
TOKENS += [
    b"{" + b", ".join(b"k%d: &k%d [%s]" % (i, i, b"*k%d, " % (i - 1) * 9 if i else b"x") for i in range(9)) + b"}"
]


def mutate(data: bytes, rng: random.Random) -> bytes:
    """Returns `data` after one to a few mutations, mostly one."""
    if data[:4] == b"PK\x03\x04" and rng.random() < 0.6:
        return _mutate_member(data, rng)
    for prefix, unpack, pack in PACKERS:
        if data.startswith(prefix) and rng.random() < 0.6:
            return pack(mutate(unpack(data), rng))
    mutated = bytearray(data)
    for _ in range(min(int(rng.expovariate(0.7)) + 1, 8)):
        _mutate_once(mutated, rng)
    return bytes(mutated)


PACKERS: list[tuple[bytes, Callable[[bytes], bytes], Callable[[bytes], bytes]]] = [
    (b"\x1f\x8b", gzip.decompress, lambda data: gzip.compress(data, 1, mtime=0)),
    (b"BZh", bz2.decompress, lambda data: bz2.compress(data, 1)),
    (b"\xfd7zXZ", lzma.decompress, lambda data: lzma.compress(data, preset=0)),
]


def _mutate_member(data: bytes, rng: random.Random) -> bytes:
    """Mutates what a zip holds, or how often, under which name and of which kind; checksums fit what is there."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        items = archive.filelist
        members = [(item.filename, archive.read(item), item.compress_type, item.external_attr) for item in items]
    chosen = rng.randrange(len(members))
    name, content, method, kind = members[chosen]
    how = rng.random()
    if how < 0.85:
        content = mutate(content, rng)
    elif how < 0.9:
        name = (mutate(name.encode(), rng).decode("utf-8", "replace") or "x")[:500]
    elif how < 0.93:
        members.append(members[chosen])
    elif how < 0.95:
        kind = 0o120777 << 16  # a link
    elif how < 0.97:
        method, content = zipfile.ZIP_DEFLATED, content + bytes(rng.choice([1 << 16, 1 << 22, 40_000_000]))
    else:
        del members[rng.randrange(len(members))]
    if chosen < len(members):
        members[chosen] = (name, content, method, kind)
    stream = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(stream, "w") as archive:
        warnings.simplefilter("ignore")
        for name, content, method, kind in members:
            item = zipfile.ZipInfo(name)
            item.compress_type, item.external_attr = method, kind
            archive.writestr(item, content, compresslevel=1)
    return stream.getvalue()


def _mutate_once(data: bytearray, rng: random.Random) -> None:
    size = len(data)
    start = rng.randrange(size + 1)
    end = min(size, start + min(int(rng.expovariate(1 / 16)) + 1, size))
    if rng.random() < 0.1:
        end = rng.randrange(start, size + 1)
    kind = rng.randrange(10)
    if kind <= 1 and size:
        data[start % size] ^= 1 << rng.randrange(8)
    elif kind == 2:
        data[start:end] = rng.randbytes(end - start)
    elif kind == 3:
        del data[start:end]
    elif kind == 4:
        data[start:start] = data[start:end] * rng.choice([1, 1, 1, 2, 50])
    elif kind == 5:
        other = rng.randrange(size + 1)
        data[start:end], data[other : other + end - start] = data[other : other + end - start], data[start:end]
    elif kind == 6 and rng.random() < 0.3:
        del data[start:]
    elif kind == 7:
        data[start:end] = rng.choice(TOKENS)
    elif kind == 8:
        _mutate_number(data, start, rng)
    else:
        data[start:start] = rng.choice(TOKENS)


def _mutate_number(data: bytearray, start: int, rng: random.Random) -> None:
    """Puts another number in place of digits, or of bytes that hold one."""
    digits = next((place for place in range(start, min(len(data), start + 200)) if chr(data[place]).isdigit()), None)
    if digits is not None and rng.random() < 0.6:
        end = digits
        while end < len(data) and chr(data[end]).isdigit():
            end += 1
        data[digits:end] = str(rng.choice([0, 1, 2, 7, 255, 65_536, 2**31, 2**63, 10**18, 10**25, -1, 0.5])).encode()
    else:
        width = rng.choice([1, 2, 4, 8])
        number = rng.choice([0, 1, -1, 2 ** (8 * width - 1) - 1, -(2 ** (8 * width - 1)), rng.randrange(100)])
        data[start : start + width] = number.to_bytes(width, rng.choice(["little", "big"]), signed=True)


# Targets


def make_targets(work: Path, names: list[str]) -> dict[str, Target]:
    """Returns the targets `names`; their seeds, where they are folders, are in `work`, written before."""
    makers: dict[str, Callable[[Path], Target]] = {
        **{kind: lambda work, kind=kind: _table(kind) for kind in ("csv", "tsv", "jsonl", "parquet")},
        "archive": _archive,
        "aclimdb": _aclimdb,
        "vectors": _vectors,
        "params": _params,
        "catalog": _catalog,
        "model": _model,
        "run": _run,
        "embedding": _embedding,
        "language_model": _language_model,
        "checkpoint": _checkpoint,
    }
    return {name: makers[name](work / "seeds") for name in makers if name in (names or makers)}


def write_seeds(work: Path) -> None:
    """Writes the seeds that are folders into `work/seeds`."""
    from fake_runs import make_run, tiny_predictions
    from test_analysis_language_models import make_model
    from tiny_experiments import make_experiment
    from tiny_models import make_embedding, scramble

    from textrnn.config.sections import BaselineParams
    from textrnn.embeddings.matrix import Embedding
    from textrnn.modeling.baseline import fit_baseline
    from textrnn.modeling.checkpoint import Checkpoints
    from textrnn.modeling.classifier import build_classifier
    from textrnn.modeling.ensemble import save_ensemble
    from textrnn.modeling.model_files import Member
    from textrnn.modeling.saved_model import save_model
    from textrnn.text.encoder import TextEncoder
    from textrnn.text.vocabulary import Vocabulary

    seeds = work / "seeds"
    encoder, models, runs = TextEncoder(Vocabulary(WORDS), CLASSES), seeds / "model", seeds / "runs"
    networks: dict[str, dict[str, Any]] = {
        "gru": {"cell": "gru", "bidirectional": True, "readout": "max", "units": 4},
        "lstm": {"cell": "lstm", "layers": 2, "readout": "attention", "units": 3},
        "flat": {"cell": "simple_rnn", "padding": "left", "readout": "flatten", "reverse": True, "max_tokens": 5},
        "conv": {"cell": "conv1d", "layers": 2, "readout": "concat"},
        "mean": {"cell": "feedforward", "readout": "mean"},
    }
    for number, (name, changes) in enumerate(networks.items()):
        experiment = make_experiment(**changes)
        model = build_classifier(experiment, make_embedding(number, len(WORDS), 5), len(CLASSES), seed=number)
        scramble(model)
        save_model(models / name, experiment, encoder, model, model.get_weights())
    labels = np.array([0, 1, 2, 1, 0, 2, 1], np.int32)
    params = BaselineParams(kind="nb_svm", ngrams=2, min_count=1, inverse_regularization=1.0)
    fit_baseline(params, pl.Series(TEXTS), labels, 3).saved(CLASSES).save(models / "linear")
    fit_baseline(BaselineParams(kind="majority"), pl.Series(TEXTS), labels, 3).saved(CLASSES).save(models / "majority")
    members = []
    for name in ("gru", "linear"):
        run = make_run(runs, f"m-{name}", classes=CLASSES, predictions={})
        shutil.copytree(models / name, run.path / "model" / "0")
        members.append(run)
    weights = [Member("m-gru", 0.25, [0]), Member("m-linear", 0.75, [0])]
    save_ensemble(models / "vote", weights, members)

    make_run(seeds / "run", "lstm", seeds=[0, 1], epochs=3, failures={"1": "diverged"}, predictions=tiny_predictions())
    make_run(seeds / "run", "nb-svm", kind="baseline")

    rows = make_embedding(3, 9, 4)
    folder = seeds / "embedding" / "glove"
    folder.mkdir(parents=True)
    built = Embedding.build(Vocabulary(WORDS), rows, np.array([2, 3, 4, 5, 7, 8, 9, 10, 6]), ("the", "café", "noir"))
    built.save(folder, {"source": "glove", **built.coverage(Vocabulary(WORDS), np.arange(8))})
    (seeds / "language_model").mkdir()
    make_model(seeds / "language_model", "lm")
    state = {"epoch": 3, "weights": [make_embedding(1), make_embedding(2, 3, 4)], "rates": [0.1, 0.2], "best": None}
    Checkpoints(seeds / "checkpoint", "fingerprint").save(0, state)


def _table(kind: str) -> Target:
    from textrnn.corpus.table_file import read_table, strings
    from textrnn.prediction import write_table

    table = pl.DataFrame({"text": TEXTS * 4, "label": ["no", "yes", "a,b", None] * 7, "n": [1, None, 3, 4] * 7})
    values = pl.Series([1.5, float("nan"), None, -0.0] * 7)
    lists = pl.Series([[1, 2], [], None, [3]] * 7)
    days = pl.Series(["2024-02-03", None, "1999-12-31", "2000-01-01"] * 7).str.to_date()
    tables = {"plain": table}
    if kind in ("jsonl", "parquet"):
        tables["rich"] = table.with_columns(v=values, l=lists, day=days, big=pl.lit(2**63, pl.Float64))
    if kind == "parquet":
        coded = table.with_columns(pl.col("label").cast(pl.Categorical), b=pl.col("text").cast(pl.Binary))
        tables["coded"] = coded.with_columns(t=pl.lit("x").cast(pl.Enum(["x", "y"])), s=pl.struct("n", "label"))
    seeds: dict[str, bytes] = {}
    for name, each in tables.items():
        stream = io.BytesIO()
        each.write_csv(stream, separator="\t", quote_style="never") if kind == "tsv" else None
        if kind != "tsv":
            file = Path(tempfile.mkdtemp()) / f"t.{kind}"
            write_table(each, file, kind)
            stream.write(file.read_bytes())
            shutil.rmtree(file.parent)
        seeds[name] = stream.getvalue()
        if kind == "parquet":
            for compression in ("uncompressed", "snappy", "gzip"):
                each.write_parquet(stream := io.BytesIO(), compression=compression, row_group_size=10)
                seeds[f"{name}-{compression}"] = stream.getvalue()
    if kind == "tsv":
        seeds["plain"] = b'text\tlabel\nso good\tyes\n\nschlecht, "nein"\tno\nx\t\n' * 10

    def read(name: str, data: bytes) -> None:
        if not data.strip():
            return
        table, replaced = read_table(data, kind, "t")
        check(replaced >= 0, "replaced")
        for column in table.columns:
            for only_text in (False, True):
                with contextlib.suppress(TextrnnError):
                    texts = strings(table, column, "t", only_text=only_text)
                    check(texts.dtype == pl.String and len(texts) == table.height, "strings")
                    check(all(value is None or value.strip() for value in texts), "a blank text")
                    "".join(texts.drop_nulls()).encode()

    return Target(seeds, read)


def _archive(work: Path) -> Target:
    from textrnn.config.catalog import Columns, CorpusEntry
    from textrnn.corpus.archive import open_member
    from textrnn.corpus.formats import read_corpus

    rows = "".join(f"{i},text number {i},{label}\n" for i, label in enumerate(["no", "yes"] * 20))
    content = f"id,text,label\n{rows}".encode()
    folder, seeds = Path(tempfile.mkdtemp()), {}
    members = {"README": b"read me", "data/corpus.csv": content, "data/corpus.csv.gz": gzip.compress(content, mtime=0)}
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        with zipfile.ZipFile(stream := io.BytesIO(), "w", method) as zipped:
            for name, data in members.items():
                zipped.writestr(zipfile.ZipInfo(name), data, method)
        seeds[f"{method}.zip"] = stream.getvalue()
    for kind in ("", "gz", "bz2", "xz"):
        for number, form in enumerate((tarfile.PAX_FORMAT, tarfile.GNU_FORMAT)):
            seeds[f"{number}.tar.{kind}"] = make_tar({f"{'long/' * 30}x": b"1", "ä": b"2", **members}, kind, form)
    single = {"csv": content, "csv.gz": gzip.compress(content, mtime=0), "csv.bz2": bz2.compress(content)}
    seeds |= {**single, "csv.xz": lzma.compress(content), "one.tar.gz": make_tar({"corpus.csv": content}, "gz")}

    of_csv = CorpusEntry(
        source="file:x",
        sha256="0" * 64,
        format="csv",
        classes=["no", "yes"],
        columns=Columns(text="text", label="label"),
        max_bytes=MOST_BYTES,
    )

    def read(name: str, data: bytes) -> None:
        file = folder / "downloads" / name
        file.parent.mkdir()
        file.write_bytes(data)
        several = name.endswith(("zip", "tar.", "tar.gz", "tar.bz2", "tar.xz")) and not name.startswith("one")
        try:
            for member in ("data/corpus.csv", "data/corpus.csv.gz") if several else (None,):
                with contextlib.suppress(TextrnnError), open_member(file, member, MOST_BYTES, whole=True) as stream:
                    check(sum(map(len, iter(lambda: stream.read(1 << 16), b""))) <= MOST_BYTES, "more than allowed")
                entry = of_csv.model_copy(update={"member": member})
                check_corpus(read_corpus(file, entry).frame, entry.classes)
        finally:
            check([*folder.rglob("*")] == [file.parent, file], "files next to the archive")
            shutil.rmtree(file.parent)

    return Target(seeds, read)


def make_tar(members: dict[str, bytes], kind: str, form: int = tarfile.PAX_FORMAT) -> bytes:
    """Returns a tar of files, links and a folder."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=form) as tar:
        for name, content in members.items():
            item = tarfile.TarInfo(name)
            item.size = len(content)
            tar.addfile(item, io.BytesIO(content))
        for name, link in {"link": tarfile.SYMTYPE, "hard": tarfile.LNKTYPE, "folder": tarfile.DIRTYPE}.items():
            item = tarfile.TarInfo(name)
            item.type, item.linkname = link, next(iter(members))
            if len(members) > 1:
                tar.addfile(item)
    pack = {"": bytes, "gz": lambda data: gzip.compress(data, mtime=0), "bz2": bz2.compress, "xz": lzma.compress}[kind]
    return pack(stream.getvalue())


def check_corpus(frame: pl.DataFrame, classes: list[str]) -> None:
    """Raises `AssertionError` where a corpus is not what `read_corpus` promises."""
    check(frame.schema == dict.fromkeys(("id", "text", "label", "group", "split"), pl.String), "columns")
    labels = frame.filter(pl.col("split").ne_missing("unlabelled"))["label"]
    check(set(labels) == set(classes), "labels")
    check(frame["id"].n_unique() == frame.height, "ids")
    check(all(text.strip() and "\0" not in text for text in frame["text"]), "texts")


def _aclimdb(work: Path) -> Target:
    from test_corpus_formats import FILES, IMDB, entry

    from textrnn.corpus.formats import read_corpus

    files = {name: content if isinstance(content, bytes) else content.encode() for name, content in FILES.items()}
    seeds = {f"a.tar.{kind}": make_tar(files, kind) for kind in ("", "gz", "xz")}
    folder = Path(tempfile.mkdtemp())

    def read(name: str, data: bytes) -> None:
        (folder / name).write_bytes(data)
        try:
            for unlabelled in (True, False):
                with contextlib.ExitStack() as stack:
                    if unlabelled:  # which the archive may lack
                        stack.enter_context(contextlib.suppress(TextrnnError))
                    of_imdb = entry(**IMDB, max_bytes=MOST_BYTES)
                    check_corpus(read_corpus(folder / name, of_imdb, unlabelled).frame, of_imdb.classes)
        finally:
            check([*folder.iterdir()] == [folder / name], "files next to the archive")
            (folder / name).unlink()

    return Target(seeds, read)


def _vectors(work: Path) -> Target:
    from test_embeddings_sources import FORMATS, write

    from textrnn.embeddings.sources import read_vectors

    folder = Path(tempfile.mkdtemp())
    entries = {name: entry.model_copy(update={"max_bytes": MOST_BYTES}) for name, (_, entry) in FORMATS.items()}
    seeds = {name: write(folder / name, content).read_bytes() for name, (content, _) in FORMATS.items()}
    for name in ("glove.txt", "w2v.txt"):  # longer ones
        more = b"".join(b"word%d %.3f -%d.5e-3 1\n" % (i, i / 7, i) for i in range(200))
        seeds[name] = b"203 3\n" + seeds[name].partition(b"\n")[2] + more if name == "w2v.txt" else seeds[name] + more
    words = ["<pad>", "<unk>", "good", "café", "absent"]

    def read(name: str, data: bytes) -> None:
        (folder / name).write_bytes(data)
        for more in (0, 50):
            found = read_vectors(folder / name, entries[name], words, more)
            check(found.rows.shape == (len(found.index), 3) and found.rows.dtype == np.float32, "rows")
            check(bool(np.isfinite(found.rows).all()), "numbers")
            check(len(set(found.index.tolist())) == len(found.index), "index")
            check(bool((found.index < len(words) + len(found.further)).all()) and len(found.further) <= more, "further")
            check(len({*words, *found.further}) == len(words) + len(found.further), "words")

    return Target(seeds, read)


PROJECT = Path(__file__).parents[1]


def _params(work: Path) -> Target:
    from tiny_project import PARAMS

    from textrnn.config.catalog import load_catalog
    from textrnn.config.params import Params, load_params

    catalog = load_catalog(PROJECT / "catalog.yaml")
    seeds = {file.name: file.read_bytes() for file in sorted((PROJECT / "studies").glob("*.yaml"))}
    seeds["tiny.yaml"] = PARAMS.replace("tiny-glove", "glove-50d").replace("snippets", "rotten_tomatoes").encode()
    folder = Path(tempfile.mkdtemp())

    def read(name: str, data: bytes) -> None:
        (folder / "params.yaml").write_bytes(data)
        check(isinstance(load_params(folder / "params.yaml", catalog), Params), "params")

    return Target(seeds, read)


def _catalog(work: Path) -> Target:
    from textrnn.config.catalog import Catalog, load_catalog

    folder = Path(tempfile.mkdtemp())

    def read(name: str, data: bytes) -> None:
        (folder / "catalog.yaml").write_bytes(data)
        check(isinstance(load_catalog(folder / "catalog.yaml"), Catalog), "catalog")

    return Target({"catalog.yaml": (PROJECT / "catalog.yaml").read_bytes()}, read)


def _folders(work: Path, read: Callable[[Path], None]) -> Target:
    """A target whose seeds are the files of folders in `work`; `read` reads a folder with one mutated."""
    files = [file for file in sorted(work.rglob("*")) if file.is_file()]
    seeds = {file.relative_to(work).as_posix().replace("/", "+"): file.read_bytes() for file in files}
    copy = Path(tempfile.mkdtemp()) / "copy"
    shutil.copytree(work, copy)

    def read_one(name: str, data: bytes) -> None:
        file = copy / name.replace("+", "/")
        file.write_bytes(data)
        try:
            read(copy / name.partition("+")[0])
        finally:
            file.write_bytes(seeds[name])

    return Target(seeds, read_one)


def _model(work: Path) -> Target:
    from textrnn.modeling.predictor import Predictor

    texts = pl.Series(["a good film, noir", ""])

    def read(folder: Path) -> None:
        predictor = Predictor(folder)
        table, probabilities = predictor.table(texts), predictor.probabilities(texts)
        check(probabilities.shape == (2, len(predictor.classes)) and probabilities.dtype == np.float32, "shape")
        check(bool(np.isfinite(probabilities).all()) and bool((probabilities >= 0).all()), "numbers")
        check(bool(np.allclose(probabilities.sum(axis=1), 1, atol=1e-3)), "a sum that is not 1")
        check(set(table["label"]) <= set(predictor.classes), "labels")

    return _folders(work / "model", read)


def _run(work: Path) -> Target:
    from textrnn.run_folder import RunFolder

    def read(folder: Path) -> None:
        run = RunFolder.load(folder)
        check(isinstance(f"{run.model} {run.status} {run.failure} {run.cost} {run.history}", str), "texts")
        for seed in run.finished_seeds:
            for split in ("valid", "test"):
                ids, labels, probabilities = run.probabilities(seed, split)
                check(probabilities.shape == (len(ids), len(run.classes)) == (len(labels), len(run.classes)), "shape")
                check(bool(np.isfinite(probabilities).all()), "numbers")

    return _folders(work / "run", read)


def _embedding(work: Path) -> Target:
    from textrnn.embeddings.matrix import Embedding

    def read(folder: Path) -> None:
        found = Embedding.load(folder)
        drawn = found.draw(0)
        check(drawn.shape == found.matrix.shape and drawn.dtype == np.float32, "shape")
        check(bool(np.isfinite(drawn).all()), "numbers")
        check(len(found.of_vocabulary.has_vector) + len(found.file_words) == len(drawn), "words")

    return _folders(work / "embedding", read)


def _language_model(work: Path) -> Target:
    from textrnn.embeddings.pretrained import PretrainedFolder, read_layers

    def read(folder: Path) -> None:
        model = PretrainedFolder.load(folder)
        check(all(value >= 0 or value < 0 for value in model.cost.values()), "cost")
        for layer in read_layers(folder):
            check(bool(np.isfinite(layer).all()), "numbers")

    return _folders(work / "language_model", read)


def _checkpoint(work: Path) -> Target:
    from textrnn.modeling.checkpoint import Checkpoints

    folder = Path(tempfile.mkdtemp())
    checkpoints = Checkpoints(folder, "fingerprint")

    def read(name: str, data: bytes) -> None:
        (folder / "0.npz").write_bytes(data)
        with contextlib.redirect_stderr(io.StringIO()) as said:
            state = checkpoints.load(0)
        if state is None:
            check("deleted, seed 0 starts" in said.getvalue() and not (folder / "0.npz").exists(), "no warning")
            raise TextrnnError(said.getvalue())

    return Target({"0.npz": (work / "checkpoint" / "0.npz").read_bytes()}, read)


def check(holds: bool, what: str) -> None:
    """Raises `AssertionError`: what was read is wrong."""
    if not holds:
        raise AssertionError(f"wrong success: {what}")


# The process that reads


def serve(work: Path, size: int, seed: int, names: list[str], start: tuple[str, int]) -> None:
    """Reads inputs, from number `start[1]` of the target `start[0]` on, and prints a line of JSON for each target."""
    targets = make_targets(work, names)
    guard()
    (work / "now").touch()
    status = os.open(work / "now", os.O_RDWR)
    limit_memory()
    left = [*targets]
    if start[0]:
        left = left[left.index(start[0]) :]
    for name in left:
        target, first = targets[name], start[1] if name == start[0] else 0
        os.pwrite(status, json.dumps(["", 0]).encode().ljust(80), 0)
        for seed_name, data in target.seeds.items():
            if (outcome := attempt(target, seed_name, data)) != "accepted":
                raise SystemExit(f"{name}: the seed {seed_name} itself is not accepted: {outcome}")
        counts = {"inputs": 0, "bytes": 0, "accepted": 0, "refused": 0}
        began, done = time.monotonic(), (work / f"{name}.bytes")
        total = int(done.read_text()) if done.exists() else 0
        for number in range(first, 1 << 40):
            if total >= size // len(targets):
                break
            seed_name, data = make_input(target, f"{seed}/{name}/{number}")
            os.pwrite(status, json.dumps([name, number]).encode().ljust(80), 0)
            total += len(data)
            counts["inputs"] += 1
            counts["bytes"] += len(data)
            outcome = attempt(target, seed_name, data)
            counts[outcome if outcome in counts else "accepted"] += outcome in counts
            if outcome not in counts:
                say(finding=[name, number, outcome])
            done.write_text(str(total)) if number % 50 == 0 else None
        say(done=[name, counts, time.monotonic() - began])
    os.pwrite(status, json.dumps(["", 0]).encode().ljust(80), 0)


def replay(work: Path, files: list[Path]) -> int:
    """Reads findings again. Returns how many of them still are some."""
    targets = make_targets(work, sorted({file.parent.name for file in files}))
    guard()
    limit_memory()
    wrong = 0
    for file in files:
        outcome = attempt(targets[file.parent.name], file.name.rpartition(".")[0], file.read_bytes())
        if outcome not in ("accepted", "refused"):
            wrong += 1
            sys.stdout.write(f"{file.relative_to(FINDINGS)}: {outcome}\n")
    sys.stdout.write(f"{len(files)} findings read again, {wrong} of them still are findings\n")
    return wrong


def make_input(target: Target, seed: str) -> tuple[str, bytes]:
    """Returns the name of a seed of `target`, and its content after mutations."""
    rng = random.Random(seed)
    name = rng.choice(sorted(target.seeds))
    return name, mutate(target.seeds[name], rng)


def attempt(target: Target, name: str, data: bytes) -> str:
    """Returns `accepted`, `refused`, or the traceback of a finding."""
    faulthandler.dump_traceback_later(WALL_SECONDS, exit=True)
    signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            target.read(name, data)
    except TextrnnError as error:
        return "refused" if len(str(error)) < 20_000 else f"a message of {len(str(error))} characters"
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:
        return "".join(traceback.format_exception(error))
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        faulthandler.cancel_dump_traceback_later()
    return "accepted"


def guard() -> None:
    """Makes pickles and hangs raise."""

    def hang(*_: object) -> NoReturn:
        raise Hang(f"more than {CPU_SECONDS} s")

    def refuse(*_: object, **__: object) -> NoReturn:
        raise Unpickled

    signal.signal(signal.SIGPROF, hang)
    pickle.load = pickle.loads = refuse  # type: ignore[assignment]
    warnings.simplefilter("ignore")


def limit_memory() -> None:
    """Lets this process have `MEMORY` bytes more than it has."""
    pages = int(Path("/proc/self/statm").read_text().split()[5])
    resource.setrlimit(resource.RLIMIT_DATA, (pages * resource.getpagesize() + MEMORY,) * 2)


def say(**content: Any) -> None:
    """Prints a line for the process that started this one."""
    sys.stdout.write(json.dumps(content) + "\n")
    sys.stdout.flush()


# Guided by coverage


def fuzz_with_atheris(work: Path, size: int, seed: int, name: str) -> None:
    """Ends the process after `size` bytes, or at the first finding. A first byte says which seed an input is of."""
    import atheris  # pip install atheris: CPython 3.11 to 3.13 on Linux

    with atheris.instrument_imports(include=["textrnn"]):
        target = make_targets(work, [name])[name]
    names = sorted(target.seeds)
    corpus = work / "corpus"
    corpus.mkdir()
    for place, each in enumerate(names):
        (corpus / str(place)).write_bytes(bytes([place]) + target.seeds[each])
    counts = {"inputs": 0, "bytes": 0, "accepted": 0, "refused": 0}

    def read_one(data: bytes) -> None:
        seed_name, data = names[data[0] % len(names)] if data else names[0], data[1:]
        outcome = attempt(target, seed_name, data)
        if outcome not in counts:
            _keep(seed_name, data, name, outcome)
            os._exit(1)
        for key, count in {"inputs": 1, "bytes": len(data), outcome: 1}.items():
            counts[key] += count
        if counts["bytes"] >= size:
            say(target=name, **counts)
            os._exit(0)

    def mutate_one(data: bytes, most: int, seed: int) -> bytes:
        rng = random.Random(seed)
        if rng.random() < 0.5 or not data:
            return bytes(atheris.Mutate(data, most))
        with contextlib.suppress(Exception):  # a container that is damaged already
            return (data[:1] + mutate(data[1:], rng))[:most]
        return bytes(atheris.Mutate(data, most))

    options = [f"-seed={seed + 1}", f"-max_len={LARGEST_FINDING}", "-rss_limit_mb=8000", "-verbosity=0"]
    atheris.Setup([sys.argv[0], *options, str(corpus)], read_one, custom_mutator=mutate_one)
    guard()
    atheris.Fuzz()


# The process that is started


def fuzz(size: int, seed: int, names: list[str], work: Path) -> int:
    """Returns the number of findings, after a table of what was read."""
    table: dict[str, dict[str, float]] = {}
    places: set[str] = set()
    start, findings = ("", 0), 0
    while True:
        command = [sys.executable, __file__, "--serve", str(work), "--bytes", str(size), "--seed", str(seed)]
        command += ["--start", *map(str, start), *(["--only", *names] if names else [])]
        with tempfile.TemporaryFile("w+") as errors:
            with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True) as process:
                assert process.stdout is not None
                for line in process.stdout:
                    answer = json.loads(line)
                    if "finding" in answer:
                        name, number, outcome = answer["finding"]
                        findings += 1
                        _row(table, name)["findings"] += 1
                        _keep_first(work, seed, name, number, outcome, places)
                    else:
                        name, counts, seconds = answer["done"]
                        row = _row(table, name)
                        for key, count in {**counts, "seconds": seconds}.items():
                            row[key] += count
                        found = f"{row['findings']:.0f} findings in {seconds:.0f} s"
                        sys.stdout.write(f"{name}: {row['inputs']:,.0f} inputs, {found}\n")
                        sys.stdout.flush()
            if not process.returncode:
                break
            now = work / "now"
            name, number = json.loads(now.read_bytes()) if now.exists() and now.stat().st_size else ("", 0)
            errors.seek(0)
            said = errors.read()[-3000:]
        if not name:
            raise SystemExit(f"the process that reads ended with {process.returncode}:\n{said}")
        findings += 1
        _row(table, name)["findings"] += 1
        _keep_first(work, seed, name, number, f"{said}\nthe process died with status {process.returncode}", places)
        start = (name, number + 1)
    keys = ("inputs", "bytes", "accepted", "refused", "findings", "seconds")
    total = {key: sum(row[key] for row in table.values()) for key in keys}
    sys.stdout.write(f"{'target':16}" + "".join(f"{key:>14}" for key in keys) + "\n")
    for name, row in [*table.items(), ("all", total)]:
        sys.stdout.write(f"{name:16}" + "".join(f"{row[key]:14,.0f}" for key in keys) + "\n")
    return findings


def _row(table: dict[str, dict[str, float]], name: str) -> dict[str, float]:
    return table.setdefault(name, dict.fromkeys(("inputs", "bytes", "accepted", "refused", "findings", "seconds"), 0.0))


def _keep_first(work: Path, seed: int, name: str, number: int, outcome: str, places: set[str]) -> None:
    """Keeps the input of the first finding at a place, and prints it."""
    lines = [line for line in outcome.splitlines() if line.startswith("  File ")]
    place = f"{name} {lines[-1] if lines else outcome[:80]}"
    if place in places:
        return
    places.add(place)
    _keep(*make_input(make_targets(work, [name])[name], f"{seed}/{name}/{number}"), name, outcome)


def _keep(seed_name: str, data: bytes, name: str, outcome: str) -> None:
    file = FINDINGS / name / f"{seed_name}.{hashlib.sha1(data).hexdigest()[:10]}"
    sys.stdout.write(f"finding: {file}, {len(data):,} bytes\n{outcome}\n")
    if len(data) <= LARGEST_FINDING:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)


@contextlib.contextmanager
def working_folder() -> Iterator[Path]:
    """Yields a folder with the seeds."""
    with tempfile.TemporaryDirectory(prefix="textrnn-fuzz-") as folder:
        os.environ["TMPDIR"] = folder
        tempfile.tempdir = folder
        subprocess.run([sys.executable, __file__, "--write-seeds", folder], check=True, stderr=subprocess.DEVNULL)
        yield Path(folder)


def main() -> int:
    """Runs what the command line says."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--bytes", type=int, default=10_000_000, help="mutated bytes, of all targets together")
    parser.add_argument("--only", nargs="+", default=[], metavar="TARGET")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--atheris", action="store_true", help="guided by coverage, for one target")
    parser.add_argument("--replay", action="store_true", help="read the findings again instead")
    for option in ("--serve", "--write-seeds"):
        parser.add_argument(option, type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--start", nargs=2, default=("", "0"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if given.write_seeds:
        write_seeds(given.write_seeds)
        return 0
    if given.serve:
        serve(given.serve, given.bytes, given.seed, given.only, (given.start[0], int(given.start[1])))
        return 0
    with working_folder() as work:
        if given.atheris:
            fuzz_with_atheris(work, given.bytes, given.seed, *given.only)
        if given.replay:
            files = sorted(file for file in FINDINGS.rglob("*") if file.is_file())
            return int(replay(work, files) > 0)
        return int(fuzz(given.bytes, given.seed, given.only, work) > 0)


if __name__ == "__main__":
    sys.exit(main())
