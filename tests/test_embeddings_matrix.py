"""Embedding rows of padding, unknown, hits and misses by hand, and the stage that builds them."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import yaml
from child import environment
from tiny_experiments import PLAIN, write_plan

from textrnn.embeddings.matrix import Embedding
from textrnn.errors import TextrnnError
from textrnn.text.vocabulary import Vocabulary

VOCABULARY = Vocabulary(("<pad>", "<unk>", "good", "zzyzx", "film"))
ROWS = np.array([[1, 2, 3], [-1, -2, -3]], dtype=np.float32)  # mean 0, mean square 28/6
INDEX = np.array([4, 2])
COUNTS = np.array([0, 2, 5, 3, 10])
STAGE = Path(__file__).parents[1] / "stages" / "build_embeddings.py"


def make_embedding() -> Embedding:
    return Embedding.build(VOCABULARY, ROWS, INDEX)


def test_rows_of_padding_unknown_hits_and_misses() -> None:
    embedding = make_embedding()
    assert embedding.matrix.tolist() == [[0, 0, 0], [0, 0, 0], [-1, -2, -3], [0, 0, 0], [1, 2, 3]]
    assert embedding.covered.tolist() == [False, False, True, False, True]
    assert embedding.spread == 2.16025  # sqrt(28 / 6), to six digits

    drawn = embedding.draw(seed=7)
    assert drawn.dtype == np.float32
    assert drawn[0].tolist() == [0, 0, 0]
    assert drawn[2].tolist() == [-1, -2, -3]
    assert drawn[4].tolist() == [1, 2, 3]
    assert (drawn[[1, 3]] != 0).all()
    assert (embedding.matrix[[1, 3]] == 0).all()


def test_what_is_drawn_depends_on_the_seed_alone() -> None:
    embedding = make_embedding()
    first, again, other = embedding.draw(0), embedding.draw(0), embedding.draw(1)
    np.testing.assert_array_equal(first, again)
    assert (first[[1, 3]] != other[[1, 3]]).all()
    assert (first[1] != first[3]).all()


def test_drawn_rows_have_the_spread_of_the_covered_ones() -> None:
    words = ("<pad>", "<unk>", *map(str, range(4000)))
    rows = np.random.default_rng(3).normal(0, 0.4, (50, 7)).astype(np.float32)
    embedding = Embedding.build(Vocabulary(words), rows, np.arange(2, 52))
    assert embedding.draw(0)[52:].std() == pytest.approx(rows.std(), rel=0.02)


def test_without_any_vector_all_words_are_drawn() -> None:
    words = ("<pad>", "<unk>", *map(str, range(4000)))
    embedding = Embedding.build(Vocabulary(words), np.empty((0, 7), np.float32), np.empty(0, np.int64))
    assert embedding.spread == 0.05
    assert not embedding.covered.any()
    assert embedding.draw(0)[1:].std() == pytest.approx(0.05, rel=0.02)
    assert not embedding.draw(0)[0].any()


def test_words_of_the_file_alone_follow_the_vocabulary_and_are_never_drawn(tmp_path: Path) -> None:
    rows = np.concatenate([ROWS, [[50, 60, 70]]]).astype(np.float32)
    embedding = Embedding.build(VOCABULARY, rows, np.array([4, 2, 5]), ["noir"])
    plain = make_embedding()
    assert embedding.spread == plain.spread
    np.testing.assert_array_equal(embedding.draw(7)[:5], plain.draw(7))
    assert embedding.draw(7)[5].tolist() == [50, 60, 70]
    assert embedding.coverage(VOCABULARY, COUNTS) == {**plain.coverage(VOCABULARY, COUNTS), "file_words": 1}
    embedding.save(tmp_path, embedding.coverage(VOCABULARY, COUNTS))
    loaded = Embedding.load(tmp_path)
    assert loaded.file_words == ("noir",)
    np.testing.assert_array_equal(loaded.matrix, embedding.matrix)
    np.testing.assert_array_equal(loaded.of_vocabulary.matrix, plain.matrix)
    assert loaded.of_vocabulary.file_words == ()


def test_coverage_counts_words_and_running_words() -> None:
    assert make_embedding().coverage(VOCABULARY, COUNTS) == {
        "dimension": 3,
        "spread": 2.16025,
        "file_words": 0,
        "vocabulary": {"covered": 2, "total": 3, "share": 0.666667},
        "running_words": {"covered": 15, "total": 20, "share": 0.75},
        "most_frequent_uncovered": {"zzyzx": 3},
    }


def test_save_and_load(tmp_path: Path) -> None:
    embedding = make_embedding()
    for folder in (tmp_path / "a", tmp_path / "b"):
        folder.mkdir()
        embedding.save(folder, embedding.coverage(VOCABULARY, COUNTS))
    loaded = Embedding.load(tmp_path / "a")
    np.testing.assert_array_equal(loaded.draw(5), embedding.draw(5))
    np.testing.assert_array_equal(loaded.covered, embedding.covered)
    for name in ("matrix.npy", "covered.npy", "file_words.txt", "coverage.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_loading_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(TextrnnError, match=r"glove-50d holds no embedding matrix. Run `dvc repro build_emb"):
        Embedding.load(tmp_path / "glove-50d")


def test_numbers_of_another_precision_are_refused(tmp_path: Path) -> None:
    embedding = make_embedding()
    embedding.save(tmp_path, embedding.coverage(VOCABULARY, COUNTS))
    np.save(tmp_path / "matrix.npy", embedding.matrix.astype(np.float16))
    with pytest.raises(TextrnnError, match=r"matrix\.npy must hold float32, and it holds float16"):
        Embedding.load(tmp_path)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project whose corpus is encoded and whose vectors are downloaded."""
    made_here = {"source": "none", "sha256": None, "licence": "none", "citation": "none"}
    corpus = {"format": "csv", "classes": ["neg", "pos"], "columns": {"text": "text", "label": "label"}}
    download = {"source": "file:v.txt", "sha256": "0" * 64, "licence": "CC0", "citation": "none"}
    catalog = {
        "corpora": {"tiny": {**download, **corpus}},
        "vectors": {
            "random": {**made_here, "format": "random"},
            "word2vec": {**made_here, "format": "word2vec-training"},
            "tiny-3d": {**download, "format": "glove", "dimension": 3},
        },
    }
    train = {key: value for key, value in PLAIN.items() if key != "embedding"}
    params = {
        "study": "tiny",
        "corpus": "tiny",
        "seeds": [0],
        "prepare": {"valid": 0.2, "test": 0.2, "seed": 0, "leakage": "drop", "unlabelled": True},
        "encode": {"vocabulary_size": 5, "min_count": 1},
        "embeddings": {
            "random-4d": {"source": "random", "dimension": 4},
            "trained-2d": {"source": "word2vec", "dimension": 2, "epochs": 1, "window": 2},
            "tiny-3d": {"source": "tiny-3d"},
        },
        "baselines": {},
        "comparisons": {"level": 0.05, "against": [], "pairs": []},
        "probes": ["lstm"],
        "promotion": {"level": 0.05, "margin": 0.005},
        "data_check": {},
        "published": [],
        "train": train,
        "experiments": {"lstm": {"embedding": "random-4d"}},
    }
    (tmp_path / "catalog.yaml").write_text(yaml.safe_dump(catalog))
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
    write_plan(tmp_path)
    for folder in ("tokens", "nothing", "downloads"):
        (tmp_path / folder).mkdir()
    VOCABULARY.save(tmp_path / "tokens" / "vocabulary.txt")
    (tmp_path / "downloads" / "v.txt").write_text("film 1 2 3\nthe 9 9 9\ngood -1 -2 -3\n")
    for split, ids in {"train": [[2, 4, 1], [4, 4]], "unlabelled": [[3, 4]]}.items():
        frame = pl.DataFrame({"ids": ids}, schema={"ids": pl.List(pl.Int32)})
        frame.write_parquet(tmp_path / "tokens" / f"{split}.parquet")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def build(name: str, downloads: str = "nothing") -> dict[str, object]:
    main = runpy.run_path(str(STAGE))["main"]
    main(Path(f"plan/build_embeddings@{name}.json"), Path(downloads), Path("tokens"), Path("embeddings") / name)
    return json.loads((Path("embeddings") / name / "coverage.json").read_text())


@pytest.mark.usefixtures("project")
def test_stage_with_downloaded_vectors() -> None:
    coverage = build("tiny-3d", "downloads")
    assert coverage["source"] == "tiny-3d"
    assert coverage["running_words"] == {"covered": 4, "total": 5, "share": 0.8}
    built = Embedding.load(Path("embeddings/tiny-3d"))
    assert (built.file_words, built.matrix[5].tolist()) == (("the",), [9, 9, 9])
    np.testing.assert_array_equal(built.of_vocabulary.matrix, make_embedding().matrix)


def test_stage_takes_no_word_of_the_file_alone_where_the_study_wants_none(project: Path) -> None:
    params = yaml.safe_load((project / "params.yaml").read_text())
    params["embeddings"]["tiny-3d"]["file_words"] = 0
    (project / "params.yaml").write_text(yaml.safe_dump(params))
    write_plan(project)
    assert build("tiny-3d", "downloads")["file_words"] == 0
    np.testing.assert_array_equal(Embedding.load(Path("embeddings/tiny-3d")).matrix, make_embedding().matrix)


@pytest.mark.usefixtures("project")
def test_stage_with_random_vectors_needs_no_download() -> None:
    coverage = build("random-4d")
    assert (coverage["dimension"], coverage["spread"]) == (4, 0.05)
    assert coverage["vocabulary"] == {"covered": 0, "total": 3, "share": 0.0}
    assert coverage["most_frequent_uncovered"] == {"film": 3, "good": 1, "zzyzx": 0}
    assert Embedding.load(Path("embeddings/random-4d")).draw(0).shape == (5, 4)


def write_many_texts() -> None:
    """As many as it takes that no word falls to word2vec's down-sampling of frequent words."""
    for split, ids in {"train": [[2, 4, 1], [4, 4]], "unlabelled": [[3, 2, 4, 3]]}.items():
        frame = pl.DataFrame({"ids": ids * 2000}, schema={"ids": pl.List(pl.Int32)})
        frame.write_parquet(Path("tokens") / f"{split}.parquet")


@pytest.mark.usefixtures("project")
def test_stage_trains_on_the_unlabelled_texts_too() -> None:
    write_many_texts()
    assert build("trained-2d")["vocabulary"] == {"covered": 3, "total": 3, "share": 1.0}
    Path("tokens/unlabelled.parquet").unlink()
    assert build("trained-2d")["vocabulary"] == {"covered": 2, "total": 3, "share": 0.666667}


@pytest.mark.usefixtures("project")
def test_stage_repeats_from_the_command_line_with_other_hashes() -> None:
    write_many_texts()
    build("trained-2d")
    folders = ["nothing", "tokens", "embeddings/again"]
    command = [sys.executable, str(STAGE), "plan/build_embeddings@trained-2d.json", *folders]
    done = subprocess.run(command, env=environment(PYTHONHASHSEED="1"), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    for path in Path("embeddings/trained-2d").iterdir():
        assert path.read_bytes() == Path("embeddings/again", path.name).read_bytes()


@pytest.mark.usefixtures("project")
def test_stage_leaves_nothing_behind_when_it_fails() -> None:
    with pytest.raises(TextrnnError, match="has no stage 'build_embeddings@glove'"):
        build("glove")
    with pytest.raises(TextrnnError, match="nothing must hold one downloaded archive"):
        build("tiny-3d", "nothing")
    assert not Path("embeddings").exists()
