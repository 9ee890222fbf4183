"""From raw reviews to word indices, and from published vectors to an embedding matrix."""

from __future__ import annotations

import time
from importlib.util import find_spec
from pathlib import Path

import polars as pl

from benchmarks import textbook
from benchmarks.data import MEMBER, Workplace
from benchmarks.measure import Figures, Result, Skipped, alternate, best, faster, held_memory, in_process, peak_memory
from textrnn.config.catalog import VectorsEntry

SIZE = 20_000
"""Words of the vocabulary."""


def encode(work: Workplace) -> Result:
    """All reviews to word indices, the vocabulary included."""
    if find_spec("tokenizers") is None:
        raise Skipped("needs Hugging Face's `tokenizers`: pip install -e '.[bench]'")
    reviews = work.reviews()
    contenders = {
        "textrnn": lambda _: in_process(_encode, reviews, work.scratch),
        "tokenizers": lambda _: in_process(textbook.hf_tokenizers, reviews, SIZE),
        "TextVectorization": lambda _: in_process(textbook.text_vectorization, reviews, SIZE, False),
        "TextVectorization in a dataset": lambda _: in_process(textbook.text_vectorization, reviews, SIZE, True),
    }
    measured = alternate(contenders, work.repeats(3), work.say)
    ours, theirs, called, mapped = (best(repeats) for repeats in measured.values())
    tokens = {name: int(measured[name][0]["tokens"]) for name in contenders}
    return Result(
        [
            faster("Hugging Face `tokenizers`, the same tokens", ours, theirs, 6),
            faster("Keras `TextVectorization`, split at spaces only", ours, min(called, mapped), 1.3),
        ],
        f"A vocabulary of {SIZE:,} words from all reviews, then the indices of all reviews; all cores for each. Texts "
        "are in memory before the clock starts. The others read them twice, first for the vocabulary and then for the "
        "indices (except that the spellings for `tokenizers` are replaced once); here they are tokenized once, slice "
        f"by slice, with the function of the stage `encode_corpus`. Tokens found: {tokens['textrnn']:,} here, "
        f"{tokens['tokenizers']:,} by `tokenizers` (spellings by `str.replace`, which is faster than its own), "
        f"{tokens['TextVectorization']:,} by `TextVectorization`, which deletes punctuation. That layer takes "
        f"{called:.3g} s called batch by batch, {mapped:.3g} s in `Dataset.map` with batches side by side; the faster "
        "one counts.",
    )


def _encode(reviews: Path, scratch: Path) -> Figures:
    from textrnn.config.sections import Encode
    from textrnn.corpus.tables import SLICE
    from textrnn.text.encoding import index_words
    from textrnn.text.vocabulary import SeenWords

    texts = pl.read_parquet(reviews)["text"]
    started = time.perf_counter()
    slices = [texts[start : start + SLICE] for start in range(0, len(texts), SLICE)]
    _, ids = index_words(slices, SeenWords(), Encode(vocabulary_size=SIZE, min_count=1), scratch)
    tokens = sum(int(part.list.len().sum()) for part in ids)
    return {"seconds": time.perf_counter() - started, "tokens": tokens}


def embed(work: Workplace) -> Result:
    """A zip file of vectors to the matrix of a vocabulary."""
    archive, entry = work.vectors()
    vocabulary = work.vocabulary(SIZE)
    contenders = {
        "textrnn": lambda _: in_process(_embed, archive, entry, vocabulary),
        "line loop": lambda _: in_process(textbook.line_loop, archive, MEMBER, vocabulary, work.scratch),
    }
    measured = alternate(contenders, work.repeats(3), work.say)
    ours, theirs = (best(measured[name]) for name in contenders)
    memory, loop_memory = (best(measured[name], "grown") / 2**20 for name in contenders)
    (hits, total), (same_hits, same_total) = (
        (measured[name][0]["hits"], measured[name][0]["sum"]) for name in contenders
    )
    agree = hits == same_hits and abs(total - same_total) <= 1e-3
    return Result(
        [
            faster("the line loop of keras.io, unpacking included", ours, theirs, 4),
            faster("the same: peak memory above that of the imports", memory, loop_memory, 4, "MiB"),
        ],
        f"100 dimensions for a vocabulary of {SIZE:,} words, of which {int(hits):,} have a vector. The two "
        f"matrices are {'equal' if agree else 'DIFFERENT'}. Memory counts from after the imports on.",
    )


def _embed(archive: Path, entry: VectorsEntry, vocabulary: Path) -> Figures:
    from textrnn.embeddings.matrix import Embedding
    from textrnn.embeddings.sources import read_vectors
    from textrnn.text.vocabulary import Vocabulary

    words = Vocabulary.load(vocabulary)
    held, started = held_memory(), time.perf_counter()
    found = read_vectors(archive, entry, words.words)
    embedding = Embedding.build(words, found.rows, found.index)
    seconds = time.perf_counter() - started
    return {
        "seconds": seconds,
        "grown": peak_memory() - held,
        "hits": int(embedding.covered.sum()),
        "sum": float(embedding.matrix.sum(dtype="f8")),
    }
