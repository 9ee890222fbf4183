"""The usual ways, as books and examples write them: what this project is compared with."""

from __future__ import annotations

import os
import re
import time
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from benchmarks.measure import Figures, held_memory, peak_memory

MAX_TOKENS = 500


def quiet_keras(threads: int | None = None) -> Any:
    """Imports Keras as any script does, with TensorFlow's own settings, except the number of `threads`."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with _without_standard_error():  # oneDNN announces itself before TensorFlow reads that variable
        import keras

    if threads is not None:
        import tensorflow

        tensorflow.config.threading.set_intra_op_parallelism_threads(threads)
        tensorflow.config.threading.set_inter_op_parallelism_threads(threads)
    return keras


@contextmanager
def _without_standard_error() -> Iterator[None]:
    """Drops what is written to standard error meanwhile, by C++ too; exceptions come through."""
    error, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(error, 2)
        os.close(error)
        os.close(nowhere)


def padded(keras: Any, file: Path) -> tuple[np.ndarray, np.ndarray]:
    """Returns ids int32 [texts, 500], padded and cut on the left as the listing does, and labels."""
    table = pl.read_parquet(file)
    return keras.utils.pad_sequences(table["ids"].to_list(), maxlen=MAX_TOKENS), table["label"].to_numpy()


def train(
    tokens: Path, target: Path, cell: str, seeds: Sequence[int], epochs: int, threads: int | None = None
) -> Figures:
    """Chollet, Deep Learning with Python, 1st edition, listings 6.22 to 6.27, one training after another.

    Writes to `target` which texts of the test split each seed is right about, bool [seeds, texts], after the epoch
    with the lowest validation loss.

    Returns:
        `seconds` of the fastest epoch (validation included; the first one only where there is no
        other, for it traces the graph).
    """
    keras = quiet_keras(threads)
    cells = {"simple_rnn": keras.layers.SimpleRNN, "lstm": keras.layers.LSTM, "gru": keras.layers.GRU}
    words = len((tokens / "vocabulary.txt").read_text(encoding="utf-8").split("\n")) - 1
    train_x, train_y = padded(keras, tokens / "train.parquet")
    valid = padded(keras, tokens / "valid.parquet")
    test_x, test_y = padded(keras, tokens / "test.parquet")
    times, right = [], []
    for seed in seeds:
        keras.utils.set_random_seed(seed)
        model = keras.Sequential(
            [keras.layers.Embedding(words, 32), cells[cell](32), keras.layers.Dense(1, activation="sigmoid")]
        )
        model.compile(optimizer="rmsprop", loss="binary_crossentropy", metrics=["acc"])
        ends = [time.perf_counter()]
        clock = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs, e=ends: e.append(time.perf_counter()))
        best = keras.callbacks.EarlyStopping(patience=epochs, restore_best_weights=True)  # stops never
        model.fit(
            train_x, train_y, epochs=epochs, batch_size=128, validation_data=valid, verbose=0, callbacks=[clock, best]
        )
        times += epoch_times(ends)
        chosen = model.predict(test_x, batch_size=128, verbose=0)[:, 0] > 0.5
        right.append(chosen == test_y)
    np.save(target, np.stack(right))
    return {"seconds": min(times)}


def epoch_times(ends: Sequence[float]) -> list[float]:
    """Returns the seconds of each epoch but the first (of that one if there is no other)."""
    seconds = [end - start for start, end in pairwise(ends)]
    return seconds[1:] or seconds


def line_loop(archive: Path, member: str, vocabulary: Path, scratch: Path) -> Figures:
    """The loop of keras.io/examples/nlp/pretrained_word_embeddings, with the unpacking into `scratch` before it."""
    words = vocabulary.read_text(encoding="utf-8").split("\n")[:-1]
    held, started = held_memory(), time.perf_counter()
    with zipfile.ZipFile(archive) as file:
        path = file.extract(member, scratch)
    embeddings_index = {}
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            word, coefs = line.split(maxsplit=1)
            embeddings_index[word] = np.fromstring(coefs, "f", sep=" ")
    hits = 0
    matrix = np.zeros((len(words), 100), dtype=np.float32)
    for i, word in enumerate(words):
        vector = embeddings_index.get(word)
        if vector is not None:
            matrix[i] = vector
            hits += 1
    seconds = time.perf_counter() - started
    return {"seconds": seconds, "grown": peak_memory() - held, "hits": hits, "sum": float(matrix.sum(dtype="f8"))}


def text_vectorization(reviews: Path, size: int, mapped: bool) -> Figures:
    """Keras' layer: lower case, punctuation deleted, split at spaces.

    Called batch by batch, or `mapped` in TensorFlow's own pipeline, which takes several batches at once.
    """
    keras = quiet_keras()
    from tensorflow.data import AUTOTUNE, Dataset

    texts = pl.read_parquet(reviews)["text"].to_list()
    started = time.perf_counter()
    layer = keras.layers.TextVectorization(max_tokens=size)
    batches = Dataset.from_tensor_slices(texts).batch(1024)
    layer.adapt(batches)
    if mapped:
        encoded = batches.map(layer, num_parallel_calls=AUTOTUNE).prefetch(AUTOTUNE).as_numpy_iterator()
    else:
        encoded = (layer(texts[start : start + 1024]).numpy() for start in range(0, len(texts), 1024))
    tokens = sum(int((ids != 0).sum()) for ids in encoded)
    return {"seconds": time.perf_counter() - started, "tokens": tokens}


def hf_tokenizers(reviews: Path, size: int) -> Figures:
    """The `tokenizers` library of Hugging Face, set up to find this project's tokens.

    Its own `normalizers` do the spellings in eight times the time of Python's `str.replace`, so that is used.
    """
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers, trainers

    from textrnn.text.tokenizer import _SPELLINGS, _TOKEN

    texts = pl.read_parquet(reviews)["text"].to_list()
    started = time.perf_counter()
    spelled = []
    for text in texts:
        text = text.lower()
        for before, after in _SPELLINGS.items():
            text = text.replace(before, after)
        spelled.append(re.sub(r"\.{2,}", " ... ", text.replace("n't", " n't")))
    tokenizer = Tokenizer(models.WordLevel(unk_token="<unk>"))
    token = _TOKEN.replace(r"(?-u:\b)", r"(?![a-z0-9_])")  # its regular expressions have no ASCII \b
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(token), behavior="removed", invert=True)
    special = ["<pad>", "<unk>"]
    trainer = trainers.WordLevelTrainer(vocab_size=size, special_tokens=special, show_progress=False)
    tokenizer.train_from_iterator(spelled, trainer, length=len(spelled))
    ids = [encoding.ids for encoding in tokenizer.encode_batch_fast(spelled, add_special_tokens=False)]
    return {"seconds": time.perf_counter() - started, "tokens": sum(map(len, ids))}


def gensim_word2vec(
    ids: pl.Series, words: Sequence[str], dimension: int, epochs: int, window: int
) -> tuple[np.ndarray, np.ndarray]:
    """gensim with one worker and a seed, as its documentation asks of those who want the same vectors again."""
    from gensim.models import Word2Vec

    names = np.array(words, dtype=object)
    texts = [names[text.to_numpy()].tolist() for text in ids]
    about = {"sg": 1, "vector_size": dimension, "window": window, "min_count": 1, "workers": 1, "seed": 0}
    vectors = Word2Vec(texts, epochs=epochs, **about).wv
    positions = {word: position for position, word in enumerate(words)}
    return vectors.vectors, np.array([positions[word] for word in vectors.index_to_key])
