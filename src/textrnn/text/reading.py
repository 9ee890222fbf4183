"""What a network reads of an encoded text. Training and prediction call the same function."""

import polars as pl

from textrnn.config.experiment import Experiment
from textrnn.text.vocabulary import PADDING

READING = ("max_tokens", "keep", "reverse", "padding")
"""The settings of an experiment on which `read` depends."""


def read(ids: pl.Series, experiment: Experiment) -> pl.Series:
    """Returns the part of texts `ids` (list[int32], none empty) that `experiment` reads, as list[int32].

    Each has at most `max_tokens` words, exactly as many with `padding: left`. `keep: both` keeps the two
    ends; the head is one word longer if `max_tokens` is odd.

    Example:
        `1 2 3 4` with `max_tokens: 3, keep: end` is read as `2 3 4`, with `reverse` as `4 3 2`; with
        `max_tokens: 6, padding: left` as `0 0 1 2 3 4`.
    """
    limit = experiment.max_tokens
    if experiment.keep == "start":
        words = ids.list.head(limit)
    elif experiment.keep == "end":
        words = ids.list.tail(limit)
    else:
        ends = pl.concat_list(ids.list.head(limit - limit // 2), ids.list.tail(limit // 2))
        words = pl.select(ids=pl.when(ids.list.len() <= limit).then(ids).otherwise(ends))["ids"]
    if experiment.reverse:
        words = words.list.reverse()
    if experiment.padding == "left":
        zeros = pl.lit([PADDING] * limit, pl.List(pl.Int32))
        words = pl.select(ids=pl.concat_list(zeros, words).list.tail(limit))["ids"]
    return words


def truncation(lengths: pl.Series, experiment: Experiment) -> dict[str, int]:
    """Returns how many `texts` of these lengths (integers) are truncated, and how many `tokens` they lose."""
    cut = lengths.cast(pl.Int64) - experiment.max_tokens
    return {"texts": int((cut > 0).sum()), "tokens": int(cut.clip(lower_bound=0).sum())}
