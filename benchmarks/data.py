"""The data of the benchmarks: full-size IMDB and GloVe from a folder, or made-up miniatures of both.

Everything is written to a scratch folder in the stages' own formats, once for all benchmarks.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from benchmarks.measure import Skipped
from textrnn.config.catalog import CorpusEntry, VectorsEntry
from textrnn.config.experiment import Experiment
from textrnn.config.params import load_params
from textrnn.corpus.formats import read_corpus
from textrnn.text.encoder import TextEncoder
from textrnn.text.tokenizer import tokenize
from textrnn.text.vocabulary import SeenWords, Vocabulary

ARCHIVES = ("aclImdb_v1.tar.gz", "aclImdb_v1.tar.xz")
VECTORS = ("glove.6B.zip", "glove.6B.100d.zip")
MEMBER = "glove.6B.100d.txt"
MAX_TOKENS = 500
VOCABULARY = 10_000
"""Both are those of the textbook listing."""

VALID_SHARE = 0.2


@dataclass(frozen=True)
class Workplace:
    """Where a benchmark finds its data and writes its files, and where it reports progress.

    data: folder with the published archives, or None.
    scratch: a temporary folder, the same for all benchmarks of one call.
    quick: miniature data and one repeat, to see that everything runs.
    say: is called with what runs now.
    """

    data: Path | None
    scratch: Path
    quick: bool
    say: Callable[[str], None]

    def repeats(self, full: int) -> int:
        """Returns how often a measurement is repeated: `full` times, or once if `quick`."""
        return 1 if self.quick else full

    def reviews(self) -> Path:
        """Returns a table `text` (str), `label` (int32), `split` (train | test): 25,000 of each split."""
        file = self.scratch / "reviews.parquet"
        if not file.is_file():
            self.say("reading the reviews")
            (_made_up_reviews() if self.quick else _imdb(self._published(ARCHIVES))).write_parquet(file)
        return file

    def all_reviews(self) -> Path:
        """Returns a table `text`, `label` (str, a class name), `split` of all 100,000, in random order.

        The unlabelled have a class in turn.
        """
        file = self.scratch / "all-reviews.parquet"
        if not file.is_file():
            self.say("reading all reviews")
            reviews = _made_up_reviews() if self.quick else _imdb(self._published(ARCHIVES), unlabelled=True)
            label = pl.col("label").fill_null(pl.int_range(pl.len()) % 2).replace_strict({0: "neg", 1: "pos"})
            reviews.select("text", label, "split").sample(fraction=1, shuffle=True, seed=0).write_parquet(file)
        return file

    def tokens(self, words: int = VOCABULARY) -> Path:
        """Returns a folder with `{train,valid,test}.parquet` and the encoder, as `encode_corpus` writes it.

        Texts in random order, and a fifth of the training reviews for validation, as in the listing.
        """
        folder = self.scratch / f"tokens-{words}"
        if not folder.is_dir():
            reviews = pl.read_parquet(self.reviews()).sample(fraction=1, shuffle=True, seed=0)
            self.say("encoding the reviews")
            texts = {split: reviews.filter(pl.col("split") == split) for split in ("train", "test")}
            cut = int(VALID_SHARE * texts["train"].height)
            texts["valid"], texts["train"] = texts["train"][:cut], texts["train"][cut:]
            encoder = TextEncoder(_vocabulary(texts["train"]["text"], words), ("neg", "pos"))
            folder.mkdir()
            encoder.save(folder)
            for split, rows in texts.items():
                names = pl.Series("id", [str(row) for row in range(rows.height)], pl.String)
                table = pl.DataFrame({"id": names, "ids": encoder.encode(rows["text"]), "label": rows["label"]})
                table.write_parquet(folder / f"{split}.parquet")
        return folder

    def vocabulary(self, size: int) -> Path:
        """Returns a vocabulary file of the `size` most frequent words of all reviews."""
        file = self.scratch / f"vocabulary-{size}.txt"
        if not file.is_file():
            self.say("making a vocabulary")
            _vocabulary(pl.read_parquet(self.reviews())["text"], size).save(file)
        return file

    def vectors(self) -> tuple[Path, VectorsEntry]:
        """Returns a zip file with GloVe's 100-dimensional vectors, and its catalog entry."""
        if self.quick:
            archive = self.scratch / "glove.zip"
            _made_up_vectors(archive)
        else:
            archive = self._published(VECTORS)
        about = {"licence": "PDDL-1.0", "citation": "Pennington et al., EMNLP 2014", "sha256": "0" * 64}
        entry = VectorsEntry.model_validate(
            {"source": f"file:{archive}", "member": MEMBER, "format": "glove", "dimension": 100, **about}
        )
        return archive, entry

    def _published(self, names: tuple[str, ...]) -> Path:
        files = [self.data / name for name in names] if self.data else []
        found = next((file for file in files if file.is_file()), None)
        if found is None:
            raise Skipped(f"needs {' or '.join(names)}: name its folder with --data or TEXTRNN_DATA")
        return found


def experiment(**changes: Any) -> Experiment:
    """Returns the listing's experiment: LSTM(32) on an embedding of 32 numbers, batches of 128, RMSprop.

    Of a review with more than 500 tokens it reads the last 500.
    """
    listing = {
        "embedding": "random",
        "trainable_embedding": True,
        "max_tokens": MAX_TOKENS,
        "keep": "end",
        "cell": "lstm",
        "units": 32,
        "optimizer": "rmsprop",
        "learning_rate": 0.001,
        "batch_size": 128,
    }
    defaults = load_params(Path("studies") / "cells.yaml").train
    return Experiment.model_validate({**defaults, **listing, **changes})


def _imdb(archive: Path, unlabelled: bool = False) -> pl.DataFrame:
    about = {"licence": "none stated", "citation": "Maas et al., ACL 2011", "sha256": "0" * 64}
    entry = CorpusEntry.model_validate(
        {"source": f"file:{archive}", "format": "aclimdb", "classes": ["neg", "pos"], **about}
    )
    frame = read_corpus(archive, entry, unlabelled).frame
    return frame.select("text", (pl.col("label") == "pos").cast(pl.Int32).alias("label"), "split")


def _made_up_reviews() -> pl.DataFrame:
    """240 texts of up to 60 words, `word0` to `word199` and one that indicates their label."""
    draw = np.random.default_rng(0)
    rows = []
    for row in range(240):
        words = [f"word{number % 200}" for number in (row, *draw.zipf(1.5, int(draw.integers(2, 59))))]
        opinion = ("dreadful", "wonderful")[row % 2]
        rows.append({"text": f"It's {opinion}: {' '.join(words)}... {opinion}!<br />", "label": row % 2})
    split = pl.Series("split", ["train", "train", "test", "test"] * 60)
    return pl.DataFrame(rows, schema={"text": pl.String, "label": pl.Int32}).with_columns(split)


def _made_up_vectors(archive: Path) -> None:
    draw = np.random.default_rng(0)
    lines = (f"word{number} " + " ".join(f"{x:.4f}" for x in draw.normal(size=100)) for number in range(300))
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr(MEMBER, "".join(f"{line}\n" for line in lines))


def _vocabulary(texts: pl.Series, size: int) -> Vocabulary:
    seen = SeenWords()
    seen.add(tokenize(texts))
    return Vocabulary.build(seen, size, 1)
