"""What a network reads of an encoded text: which part of it, in which direction, filled up or not.

Training and prediction call the same function, so a served model reads a text as it was trained to.
"""

from __future__ import annotations

import polars as pl

from textrnn.config.params import Experiment
from textrnn.text.vocabulary import PADDING


def read(ids: pl.Series, experiment: Experiment) -> pl.Series:
    """Returns what the network of `experiment` reads of texts whose words are `ids` (list[int32], none empty).

    It is list[int32] of at most `max_tokens` each, of just as many with `padding: left`.

    Example:
        `1 2 3 4` with `max_tokens: 3, keep: end` is read as `2 3 4`, with `reverse` as `4 3 2`; with
        `max_tokens: 6, padding: left` as `0 0 1 2 3 4`.
    """
    words = _cut(ids, experiment)
    if experiment.reverse:
        words = words.list.reverse()
    if experiment.padding == "left":
        zeros = pl.lit([PADDING] * experiment.max_tokens, pl.List(pl.Int32))
        words = pl.select(ids=pl.concat_list(zeros, words).list.tail(experiment.max_tokens))["ids"]
    return words


def truncation(lengths: pl.Series, experiment: Experiment) -> dict[str, int]:
    """Returns how many `texts` of the given lengths (integers) are cut short, and how many `tokens` that costs."""
    cut = lengths.cast(pl.Int64) - experiment.max_tokens
    return {"texts": int((cut > 0).sum()), "tokens": int(cut.clip(lower_bound=0).sum())}


def _cut(ids: pl.Series, experiment: Experiment) -> pl.Series:
    """At most `max_tokens` of each; `both` keeps the two ends, the head one longer if need be."""
    limit = experiment.max_tokens
    if experiment.keep == "start":
        return ids.list.head(limit)
    if experiment.keep == "end":
        return ids.list.tail(limit)
    tail = limit // 2
    ends = pl.concat_list(ids.list.head(limit - tail), ids.list.tail(tail))
    return pl.select(ids=pl.when(ids.list.len() <= limit).then(ids).otherwise(ends))["ids"]
