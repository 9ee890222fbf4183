"""Scoring a table of texts: `textrnn predict` against Keras' `predict` on padded input."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks import textbook
from benchmarks.data import Workplace, experiment
from benchmarks.measure import Figures, Result, alternate, best, command, cores, faster, in_process
from textrnn.text.encoder import TextEncoder

BATCH = 512


def predict(work: Workplace) -> Result:
    """25,000 reviews from a file to a file."""
    reviews, model = work.scratch / "to-score.parquet", untrained_model(work)
    texts = pl.read_parquet(work.reviews()).filter(pl.col("split") == "test").select("text")
    texts.write_parquet(reviews)
    # Absolute, for the command runs in the scratch folder, where the model is.
    ours, theirs = work.scratch / "ours.parquet", work.scratch / "keras.parquet"
    textrnn: tuple[str | Path, ...] = (
        sys.executable,
        "-m",
        "textrnn",
        "predict",
        "--run",
        "untrained",
        "--input",
        reviews,
        "--output",
        ours,
    )
    keras = (sys.executable, "-m", "benchmarks.prediction", str(model), str(reviews), str(theirs))
    contenders = {
        "textrnn predict": lambda _: command(*textrnn, folder=work.scratch),
        "Keras predict": lambda _: command(*keras, str(BATCH)),
        "Keras predict, batches of 32": lambda _: command(*keras, "32"),
    }
    started = {
        "scoring alone": lambda _: in_process(_score, model, reviews),
        "Keras predict, scoring alone": lambda _: in_process(_score_by_keras, model, reviews, BATCH),
        "Keras predict, scoring alone, batches of 32": lambda _: in_process(_score_by_keras, model, reviews, 32),
    }
    measured = alternate({**contenders, **started}, work.repeats(3), work.say)
    seconds, padded, default, scoring, padded_scoring, default_scoring = (best(each) for each in measured.values())
    return Result(
        [
            faster("Keras `predict` on input padded to 500, the whole command", seconds, padded, 3),
            faster("the same in batches of 32, Keras' default", seconds, default, 3),
            faster("Keras `predict` on input padded to 500, once it has started", scoring, padded_scoring, 3),
            faster("the same in batches of 32, Keras' default", scoring, default_scoring, 3),
        ],
        f"{texts.height:,} reviews from a Parquet file to one with label and probabilities: the whole command, "
        "imports included; and from texts to probabilities in a process that has loaded the model and scored once. "
        f"Both encode with this project's tokenizer and score an LSTM(32), in batches of {BATCH} except where said, "
        "here with a thread for each core, there with TensorFlow's own settings.",
    )


def untrained_model(work: Workplace) -> Path:
    """Returns the folder of an LSTM(32) with random weights, as a run named `untrained` has it."""
    model = work.scratch / "runs" / "untrained" / "model" / "0"
    if not model.is_dir():
        in_process(_save_model, work.tokens(), model)
    return model


def _save_model(tokens: Path, folder: Path) -> Figures:
    from textrnn.modeling.classifier import build_classifier
    from textrnn.modeling.saved_model import save_model

    encoder, settings = TextEncoder.load(tokens), experiment()
    embedding = np.random.default_rng(0).normal(0, 0.05, (len(encoder.vocabulary), 32)).astype(np.float32)
    model = build_classifier(settings, embedding, 2, seed=0)
    save_model(folder, settings, encoder, model, model.get_weights())
    return {}


def _score(model: Path, reviews: Path) -> Figures:
    from textrnn.modeling.predictor import Predictor

    texts, predictor = pl.read_parquet(reviews)["text"], Predictor(model, cores())
    predictor.probabilities(texts.head(8))
    started = time.perf_counter()
    predictor.probabilities(texts)
    return {"seconds": time.perf_counter() - started}


def _score_by_keras(model: Path, reviews: Path, batch_size: int) -> Figures:
    texts, (score, _) = pl.read_parquet(reviews)["text"], keras_scorer(model, batch_size)
    score(texts.head(8))
    started = time.perf_counter()
    score(texts)
    return {"seconds": time.perf_counter() - started}


def keras_scorer(model: Path, batch_size: int) -> tuple[Callable[[pl.Series], np.ndarray], TextEncoder]:
    """The usual way to use such a model with Keras alone: encode, pad, predict."""
    keras = textbook.quiet_keras()
    encoder = TextEncoder.load(model)
    with np.load(model / "weights.npz") as file:
        weights = list(file.values())
    network = keras.Sequential(
        [keras.layers.Embedding(*weights[0].shape), keras.layers.LSTM(32), keras.layers.Dense(2, activation="softmax")]
    )
    network.build((None, textbook.MAX_TOKENS))
    network.set_weights(weights)

    def score(texts: pl.Series) -> np.ndarray:
        ids = keras.utils.pad_sequences(encoder.encode(texts).to_list(), maxlen=textbook.MAX_TOKENS)
        probabilities: np.ndarray = network.predict(ids, batch_size=batch_size, verbose=0)
        return probabilities

    return score, encoder


def by_keras(model: Path, reviews: Path, target: Path, batch_size: int) -> None:
    """As `textrnn predict`, with Keras alone."""
    score, encoder = keras_scorer(model, batch_size)
    table = pl.read_parquet(reviews)
    probabilities = score(table["text"])
    labels = [encoder.classes[index] for index in probabilities.argmax(axis=1)]
    columns = {f"probability_{name}": probabilities[:, index] for index, name in enumerate(encoder.classes)}
    table.with_columns(pl.Series("label", labels), **columns).write_parquet(target)


if __name__ == "__main__":
    model, reviews, target, size = sys.argv[1:]
    by_keras(Path(model), Path(reviews), Path(target), int(size))
