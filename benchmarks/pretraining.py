"""Training a language model against Keras' own layers, and against what the processor can do."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks import textbook
from benchmarks.data import Workplace
from benchmarks.measure import Claim, Figures, Result, alternate, best, in_process
from benchmarks.training import MATRIX, beside_product, matrix_product

WORDS, DIMENSION, UNITS = 30_000, 128, 256
WINDOW, BATCH = 100, 128
TEXTS = 2_000
FULL_BATCH, FULL_STEPS = 32, 12
"""Of Keras: the scores of a step take 384 MB, and several times as much with their gradients."""


def pretraining(work: Workplace) -> Result:
    """An LSTM language model: sampled softmax, states carried on, two parts at once."""
    words, texts, steps, matrix = (300, 100, 3, 256) if work.quick else (WORDS, TEXTS, FULL_STEPS, MATRIX)
    tokens = work.tokens(words)
    few = work.scratch / "pretraining"
    few.mkdir()
    for split, rows in (("train", texts), ("valid", 8)):
        pl.read_parquet(tokens / f"{split}.parquet").head(rows).write_parquet(few / f"{split}.parquet")
    contenders = {
        "textrnn": lambda _: in_process(_pretrain, few, words),
        "Keras": lambda _: in_process(_keras, few, words, steps),
        "matrix product": lambda _: in_process(matrix_product, matrix),
    }
    measured = alternate(contenders, work.repeats(3), work.say)
    speeds = [best(measured[name], "tokens", "most") for name in ("textrnn", "Keras")]
    rates = [best(measured[name], "flops", "most") for name in ("textrnn", "matrix product")]
    ours, theirs = speeds
    name = "Keras' own LSTM with a full softmax, `model.fit`"
    faster = Claim(name, ours, theirs, "tokens/s", f"{ours / theirs:.2f}x", "≥ 4x", ours >= 4 * theirs)
    return Result(
        [faster, beside_product(*rates)],
        f"IMDB, a vocabulary of {WORDS:,} words, embeddings of {DIMENSION} numbers, LSTM({UNITS}), float32, Adam. Here "
        f"{TEXTS:,} training reviews, whole, in batches of {BATCH} and windows of {WINDOW} words, the default of 1,024 "
        "drawn words, the second of two epochs without its evaluation. Words are counted that are read, no padding; of "
        "operations the matrix products of these (`modeling/language_model.py`), not the optimizer. There windows of "
        f"{WINDOW} words of the same reviews, joined, in batches of {FULL_BATCH}, {FULL_STEPS} steps after the first, "
        "with TensorFlow's own settings, all cores, and a score for every word, which is not tied to the embedding.",
    )


def _pretrain(tokens: Path, words: int) -> Figures:
    """Returns `tokens` and `flops` per second in the second epoch."""
    from textrnn.config.pretraining import Pretraining
    from textrnn.modeling.backend import use_all_cores
    from textrnn.modeling.pretraining import Pretrainer, load_texts

    use_all_cores()
    settings = Pretraining(embedding="drawn", units=UNITS, window=WINDOW, batch_size=BATCH, epochs=2)
    train, valid = load_texts(tokens, settings, "train"), load_texts(tokens, settings, "valid")
    start = np.random.default_rng(0).normal(0, 0.05, (words, DIMENSION)).astype(np.float32)
    trainer = Pretrainer(settings, train, valid, start)
    ends: list[float] = []
    trainer.run(lambda row: ends.append(trainer.seconds))
    seconds = ends[1] - ends[0]
    return {"tokens": trainer.words_per_epoch / seconds, "flops": trainer.flops / settings.epochs / seconds}


def _keras(tokens: Path, words: int, steps: int) -> Figures:
    """Returns the `tokens` per second of `steps` steps."""
    keras = textbook.quiet_keras()
    text = pl.read_parquet(tokens / "train.parquet", columns=["ids"])["ids"].explode().to_numpy()
    text = np.resize(text, (FULL_BATCH * (1 + steps), WINDOW + 1))  # repeats a miniature corpus
    model = keras.Sequential(
        [
            keras.layers.Embedding(words, DIMENSION),
            keras.layers.LSTM(UNITS, return_sequences=True),
            keras.layers.Dense(words),
        ]
    )
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    ends: list[float] = []
    clock = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: ends.append(time.perf_counter()))
    model.fit(text[:, :-1], text[:, 1:], batch_size=FULL_BATCH, verbose=0, callbacks=[clock])
    return {"tokens": steps * FULL_BATCH * WINDOW / (ends[-1] - ends[0])}
