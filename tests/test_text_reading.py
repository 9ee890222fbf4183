"""What a network reads of a text: its end or its beginning, forwards or backwards, padded in front or not."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest
from tiny_experiments import make_experiment

from textrnn.text.reading import read, truncation

LONG, SHORT = [2, 3, 4, 5, 6], [7]


@pytest.mark.parametrize(
    ("changes", "long", "short"),
    [
        ({"keep": "start", "max_tokens": 3}, [2, 3, 4], [7]),
        ({"keep": "end", "max_tokens": 3}, [4, 5, 6], [7]),
        ({"keep": "both", "max_tokens": 3}, [2, 3, 6], [7]),
        ({"keep": "both", "max_tokens": 4}, [2, 3, 5, 6], [7]),
        ({"keep": "both", "max_tokens": 1}, [2], [7]),
        ({"keep": "both", "max_tokens": 5}, [2, 3, 4, 5, 6], [7]),
        ({"keep": "start", "max_tokens": 9}, [2, 3, 4, 5, 6], [7]),
        ({"keep": "start", "max_tokens": 3, "reverse": True}, [4, 3, 2], [7]),
        ({"keep": "end", "max_tokens": 3, "reverse": True}, [6, 5, 4], [7]),
        ({"keep": "end", "max_tokens": 3, "padding": "left"}, [4, 5, 6], [0, 0, 7]),
        ({"keep": "end", "max_tokens": 7, "padding": "left"}, [0, 0, 2, 3, 4, 5, 6], [0, 0, 0, 0, 0, 0, 7]),
        ({"keep": "start", "max_tokens": 7, "padding": "left", "reverse": True}, [0, 0, 6, 5, 4, 3, 2], [0] * 6 + [7]),
    ],
)
def test_reads_the_wanted_part(changes: dict[str, Any], long: list[int], short: list[int]) -> None:
    texts = pl.Series([LONG, SHORT], dtype=pl.List(pl.Int32))
    words = read(texts, make_experiment(**changes))
    assert words.dtype == pl.List(pl.Int32)
    assert words.to_list() == [long, short]


def test_left_padding_is_that_of_keras() -> None:
    """`pad_sequences`, which the textbook uses, also cuts in front."""
    from textrnn.modeling.backend import keras

    texts = [[2, 3, 4, 5, 6], [7], [8, 9, 2]]
    words = read(pl.Series(texts, dtype=pl.List(pl.Int32)), make_experiment(keep="end", max_tokens=3, padding="left"))
    assert words.to_list() == keras.utils.pad_sequences(texts, maxlen=3).tolist()


@pytest.mark.parametrize("padding", ["left", "right"])
@pytest.mark.parametrize("texts", [[], [[2, 3]]])
def test_no_texts_and_one_text(texts: list[list[int]], padding: str) -> None:
    words = read(pl.Series(texts, dtype=pl.List(pl.Int32)), make_experiment(max_tokens=2, padding=padding))
    assert words.to_list() == texts


def test_counts_what_is_cut_off() -> None:
    lengths = pl.Series([5, 1, 3, 4], dtype=pl.UInt32)
    assert truncation(lengths, make_experiment(max_tokens=3)) == {"texts": 2, "tokens": 3}
    assert truncation(lengths, make_experiment(max_tokens=5)) == {"texts": 0, "tokens": 0}
