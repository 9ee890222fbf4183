"""Whether time and memory grow in proportion to the corpus: all of IMDB once, four and sixteen times."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks.data import MAX_TOKENS, VOCABULARY, Workplace, experiment
from benchmarks.measure import Claim, Figures, Result, at_most, in_process, peak_memory

SIZES = (1, 4, 16)
CLASSES = ("neg", "pos")
FEW = 1_000
"""Texts of the validation and of the test split: what grows is the train split."""

UNITS, DIMENSION, BATCH = 8, 8, 512
"""A small network, whose epoch at the largest size takes minutes."""


def scale(work: Workplace) -> Result:
    """All reviews, repeated, through the encode stage and an epoch of training."""
    reviews = pl.read_parquet(work.all_reviews())
    encoding, training = [], []
    for size in SIZES:
        with tempfile.TemporaryDirectory(dir=work.scratch) as scratch:
            corpus, tokens = Path(scratch, "corpus"), Path(scratch, "tokens")
            work.say(f"writing the reviews {size}x")
            _write_corpus(corpus, reviews, size)
            work.say(f"encoding the reviews {size}x")
            encoding.append(in_process(_encode, corpus, tokens))
            work.say(f"training on the reviews {size}x")
            training.append(in_process(_train, tokens))
    arrays = [figures["arrays"] for figures in training]
    return Result(
        [
            claim
            for name, measured in (("encoding", encoding), ("an epoch", training))
            for claim in (*_time_claims(name, measured), _memory_claim(name, measured, arrays))
        ],
        f"{_list(len(reviews) * size for size in SIZES)} reviews, the unlabelled ones with a class given in turn: "
        f"{_list(figures['tokens'] / 1e6 for figures in encoding)} million tokens, of which "
        f"{_list(figures['tokens'] / 1e6 for figures in training)} are left where a review is cut to its last "
        f"{MAX_TOKENS}; as arrays these take {_list(size / 2**20 for size in arrays)} MiB. "
        f"Encoding takes {_list(map(_rate, encoding))} s per million tokens and "
        f"{_list(figures['peak'] / 2**20 for figures in encoding)} MiB, an epoch of GRU({UNITS}) on an embedding of "
        f"{DIMENSION} numbers, batches of {BATCH}, {_list(map(_rate, training))} s and "
        f"{_list(figures['peak'] / 2**20 for figures in training)} MiB. Memory is the peak of the whole process, "
        "imports included, and of a training also the reading and hashing of the tokens; an epoch's time includes the "
        "making of the graph. Each measured once.",
    )


def _rate(figures: Figures) -> float:
    """Seconds per million tokens."""
    return 1e6 * figures["seconds"] / figures["tokens"]


def _list(numbers: Iterator[float]) -> str:
    """Three digits, or all before the point."""
    return " / ".join(f"{number:,.0f}" if number >= 100 else f"{number:.3g}" for number in numbers)


def _time_claims(name: str, measured: list[Figures]) -> list[Claim]:
    """The largest size with each smaller one; fixed costs weigh most at the smallest, and would hide a rise."""
    *smaller, most = map(_rate, measured)
    return [
        at_most(f"{size}x: {name}, per million tokens", most, rate, 1.25)
        for size, rate in zip(SIZES, smaller, strict=False)
    ]


def _memory_claim(name: str, measured: list[Figures], arrays: list[float]) -> Claim:
    """Of the whole process; `arrays` are the bytes of the token arrays at each size."""
    grown = (measured[-1]["peak"] - measured[0]["peak"]) / (arrays[-1] - arrays[0])
    ours, theirs = (measured[at]["peak"] / 2**20 for at in (-1, 0))
    shown, wanted = f"grows by {grown:.2f}x the token arrays' growth", "< 2x"
    return Claim(f"{SIZES[0]}x: {name}, peak memory", ours, theirs, "MiB", shown, wanted, grown < 2)


def _write_corpus(folder: Path, reviews: pl.DataFrame, times: int) -> None:
    """Writes a prepared corpus whose train split is `reviews` (`text`, `label` str) so many times over."""
    from textrnn.corpus.tables import SLICE, open_table, write_tables

    folder.mkdir()
    rows = reviews.select(
        pl.int_range(pl.len()).cast(pl.String).alias("id"), "text", "label", pl.lit(None, pl.String).alias("group")
    )
    with open_table(folder / "train.parquet", rows.schema) as append:
        for copy in range(times):
            for part in rows.iter_slices(SLICE):
                append(part.with_columns(pl.format("{}/{}", pl.lit(copy), "id").alias("id")))
    write_tables(folder, dict.fromkeys(("valid", "test"), rows.head(FEW)))
    about = {"corpus": "reviews", "classes": CLASSES}
    (folder / "quality.json").write_text(json.dumps(about), encoding="utf-8")


def _encode(corpus: Path, tokens: Path) -> Figures:
    """Does what the stage `encode_corpus` does."""
    from textrnn.config.sections import Encode
    from textrnn.text.encoding import encode_corpus

    settings = Encode(vocabulary_size=VOCABULARY, min_count=1)
    started = time.perf_counter()
    tokens.mkdir()
    encoder, report = encode_corpus(corpus, settings, tokens)
    encoder.save(tokens)
    seconds = time.perf_counter() - started
    total = sum(split["tokens"] for split in report["splits"].values())
    return {"seconds": seconds, "peak": peak_memory(), "tokens": total}


def _train(tokens: Path) -> Figures:
    """Does what the stage `train` does, for an epoch; `arrays` are the bytes of the train split's tokens and lengths.

    Of the stage's other work the digest alone reads all tokens: it is in the peak of memory, not in the time.
    """
    from textrnn.modeling.batches import Tokens
    from textrnn.modeling.training import Trainer
    from textrnn.run_folder import digest

    settings = experiment(cell="gru", units=UNITS, batch_size=BATCH, epochs=1)
    splits = {split: Tokens.load(tokens / f"{split}.parquet", settings) for split in ("train", "valid", "test")}
    digest(tokens)
    start = np.random.default_rng(0).uniform(-0.05, 0.05, (VOCABULARY, DIMENSION)).astype(np.float32)
    trainer = Trainer(settings, splits, lambda seed: start, len(CLASSES))
    ends = [time.perf_counter()]
    trainer.run(0, lambda row: ends.append(time.perf_counter()))
    lengths = splits["train"].lengths
    count = float(lengths.sum())
    return {"seconds": ends[1] - ends[0], "peak": peak_memory(), "tokens": count, "arrays": 4 * count + lengths.nbytes}
