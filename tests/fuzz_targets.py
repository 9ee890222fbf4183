"""What `fuzz.py` reads: for each reader of bytes from outside, seeds, and a function that reads a mutated one.

The project's own writers make the seeds, where there are some.
"""

from __future__ import annotations

import bz2
import contextlib
import gzip
import io
import lzma
import shutil
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from textrnn.errors import TextrnnError

MOST_BYTES = 30_000_000  # what archives may unpack to

TEXTS = ["a good film, noir", "it's bad", "", "schön & gut", '"quoted", with\nline break', "좋은 영화", "plot " * 30]
WORDS = ("<pad>", "<unk>", "good", "bad", "film", "a", "plot", "schön")
CLASSES = ("rotten", "fresh", "stale")


class Target(NamedTuple):
    """`seeds` are contents by name; `read` reads a mutated one, given its name."""

    seeds: dict[str, bytes]
    read: Callable[[str, bytes], None]


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
