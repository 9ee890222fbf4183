"""Training word vectors repeats to the last byte, and learns something."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys

import numpy as np
import polars as pl

from textrnn.embeddings.word2vec import train

WORDS = ("<pad>", "<unk>", "tea", "coffee", "cup", "rock", "stone", "hill", "never")
DRINKS, GROUND = [2, 4, 3, 4], [5, 7, 6, 7]
IDS = pl.Series("ids", [DRINKS, GROUND, [1, *DRINKS[::-1]], GROUND[::-1]] * 60, dtype=pl.List(pl.Int32))


def digest() -> str:
    rows, index = train(IDS, WORDS, dimension=5, epochs=3, window=2)
    return hashlib.sha256(rows.tobytes() + index.tobytes()).hexdigest()


def test_rows_belong_to_the_words_that_occur() -> None:
    rows, index = train(IDS, WORDS, dimension=5, epochs=1, window=2)
    assert rows.dtype == np.float32
    assert rows.shape == (7, 5)
    assert sorted(index.tolist()) == [1, 2, 3, 4, 5, 6, 7]


def test_words_in_like_company_come_to_lie_close() -> None:
    rows, index = train(IDS, WORDS, dimension=5, epochs=60, window=2)
    unit = dict(zip(index.tolist(), rows / np.linalg.norm(rows, axis=1, keepdims=True), strict=True))
    assert unit[2] @ unit[3] > unit[2] @ unit[6]
    assert unit[5] @ unit[6] > unit[5] @ unit[3]


def test_repeats_in_a_process_with_other_hashes() -> None:
    hash_seed = "2" if os.environ.get("PYTHONHASHSEED") == "1" else "1"
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": os.pathsep.join(sys.path)}
    code = "import test_embeddings_word2vec as test; print(test.digest())"
    output = subprocess.check_output([sys.executable, "-c", code], env=environment, text=True)
    assert output.strip() == digest() == digest()
