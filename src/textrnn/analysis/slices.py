"""Where the models err: accuracy on slices of the validation texts, and the texts that are hardest.

Errors lead to changes of the models, so they are those of the validation split: the test split stays unseen.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import polars as pl

from textrnn.analysis.examples import Groups, in_order
from textrnn.analysis.run_tables import DIGITS
from textrnn.analysis.significance import contrast
from textrnn.run_folder import RunFolder
from textrnn.text.tokenizer import tokenize
from textrnn.text.vocabulary import UNKNOWN

SPLIT = "valid"

# The starts of `ranges`.
TOKENS = (1, 11, 21, 41, 81, 161, 321)
UNKNOWN_WORDS = (0, 1, 2, 3)
DISTANCES = (0, 5, 10, 20, 40)

EVIDENCE = "distance of the evidence from the end"

NEGATIONS = ("not", "n't", "cannot", "no", "none", "nobody", "nothing", "nowhere", "neither", "nor", "never")
"""English negation, as tokens: `not` and the absolute negators of Huddleston & Pullum, The Cambridge Grammar of
the English Language (2002), chapter 9. `tokenize` splits `don't` into `do n't`, and leaves `cannot` whole."""

FEWEST = 30  # a slice with fewer texts has no interval: it would look more precise than it is

SLICE_COLUMNS = ("experiment", "by", "group", "order", "texts", "accuracy", "low", "high")
HARDEST_COLUMNS = ("id", "label", "text", "wrong", "of")
SOURCE = "The validation split of data/corpus and data/tokens"


def log_count_ratios(train: pl.DataFrame, classes: int, words: int) -> np.ndarray:
    """Returns how strongly each word of the training texts indicates each class: float64 [classes, words].

    It is the logarithm of how much likelier the word is in texts of the class than in all others, with one added to
    every count; a text counts a word once (Wang & Manning, "Baselines and Bigrams", ACL 2012). Padding and unknown have
    0. `train` has `ids` (list[int32]) and `label` (int32, null where unlabelled); `words` is the vocabulary's size.
    """
    pairs = train.filter(pl.col("label").is_not_null()).select("label", word=pl.col("ids").list.unique())
    cells = pairs.explode("word").select(pl.col("label").cast(pl.Int64) * words + pl.col("word"))["label"]
    counts = np.bincount(cells.to_numpy(), minlength=classes * words).reshape(classes, words)[:, UNKNOWN + 1 :]
    inside, outside = 1.0 + counts, 1.0 + counts.sum(axis=0) - counts
    ratios = np.zeros((classes, words))
    ratios[:, UNKNOWN + 1 :] = np.log(inside / inside.sum(axis=1, keepdims=True))
    ratios[:, UNKNOWN + 1 :] -= np.log(outside / outside.sum(axis=1, keepdims=True))
    return ratios.round(DIGITS)


def ranges(values: np.ndarray, starts: Sequence[int]) -> tuple[list[str], np.ndarray]:
    """Returns the names of the ranges that begin at `starts`, and the range of each of `values`; -1 below the first.

    `ranges(np.array([3, 0, 20]), (0, 1, 5))` is `["0", "1-4", "5+"]` and `[1, 0, 2]`.
    """
    closed = [(low, after - 1) for low, after in pairwise(starts)]
    names = [str(low) if low == high else f"{low}-{high}" for low, high in closed]
    return [*names, f"{starts[-1]}+"], np.searchsorted(starts, values, side="right") - 1


def slices(runs: Sequence[RunFolder], texts: pl.DataFrame, ratios: np.ndarray, groups: Groups) -> pd.DataFrame:
    """Returns the accuracy of every run on slices of the validation texts; no row for an empty slice.

    Columns: `experiment`, `by` (the property that slices the texts), `group` (the slice), `order` (of the slice among
    those of `by`), `texts`, `accuracy` (mean over seeds), `low` and `high` (its 95 % interval over seeds and texts;
    empty for fewer than `FEWEST` texts). Texts are sliced by

    - `tokens`: their number, whether an experiment reads all of them or not
    - `unknown words`: how many of these the vocabulary lacks
    - `negation`: whether one of `NEGATIONS` occurs in the text
    - `distance of the evidence from the end`: how many tokens follow the one that indicates any class most strongly,
      the last such one; a text without such a token is in no slice

    Args:
        texts: `id`, `text` (str) and `ids` (list[int32]) of the validation split, in any order.
        ratios: `log_count_ratios(…)`, float64 [classes, words]

    Raises `TextrnnError`: the runs predicted texts that are not in `texts`.
    """
    rows: list[tuple[Any, ...]] = []
    finished = [run for run in runs if run.finished_seeds]
    if not finished:
        return pd.DataFrame(rows, columns=SLICE_COLUMNS)
    ids, _, _ = finished[0].probabilities(finished[0].finished_seeds[0], SPLIT)  # those of all runs of a study
    ways = _ways(in_order(texts, ids, SOURCE), ratios)
    of_text = np.array(groups(SPLIT, ids))
    for run in finished:
        correct = run.correct(SPLIT)
        for by, (names, places) in ways.items():
            for place in np.unique(places[places >= 0]):
                inside = places == place
                own, count = correct[:, inside], int(inside.sum())
                limits = float("nan"), float("nan")
                if count >= FEWEST:
                    limits = contrast([own], [1.0], list(of_text[inside])).accuracy_interval()
                rows.append((run.name, by, names[place], int(place), count, float(own.mean()), *limits))
    return pd.DataFrame(rows, columns=SLICE_COLUMNS)


def hardest(runs: Sequence[RunFolder], texts: pl.DataFrame, limit: int = 20) -> pd.DataFrame:
    """Returns the `limit` validation texts that most models of the experiments, each seed a model, get wrong.

    Columns: `id`, `label`, `text`, `wrong` (how many models), `of` (how many there are). Of texts that equally many
    get wrong, those come first whose class has the lowest mean probability. Baselines do not count.

    Args:
        texts: `id` and `text` (str) of the validation split, in any order.

    Raises `TextrnnError`: the runs predicted texts that are not in `texts`.
    """
    experiments = [run for run in runs if run.kind == "experiment" and run.finished_seeds]
    if not experiments:
        return pd.DataFrame(columns=HARDEST_COLUMNS)
    each = [run.probabilities(seed, SPLIT) for run in experiments for seed in run.finished_seeds]
    ids, labels, _ = each[0]
    own = np.arange(len(labels)), labels
    table = pd.DataFrame(
        {
            "id": ids,
            "label": [experiments[0].classes[label] for label in labels],
            "text": in_order(texts, ids, SOURCE)["text"].to_list(),
            "wrong": np.sum([chances.argmax(axis=1) != labels for *_, chances in each], axis=0),
            "of": len(each),
            "probability": np.mean([chances[own].astype(np.float64) for *_, chances in each], axis=0).round(DIGITS),
        }
    )
    table = table.sort_values(["wrong", "probability", "id"], ascending=[False, True, True])
    return table[[*HARDEST_COLUMNS]].head(limit).reset_index(drop=True)


def _ways(texts: pl.DataFrame, ratios: np.ndarray) -> dict[str, tuple[list[str], np.ndarray]]:
    """By property: the names of its slices, and int [texts]: the slice of each text, -1 for none."""
    unknown = texts["ids"].list.count_matches(UNKNOWN).to_numpy()
    negated = tokenize(texts["text"]).list.eval(pl.element().is_in(NEGATIONS)).list.any().to_numpy()
    strength = ratios.max(axis=0)
    distances = np.full(len(texts), -1)
    for place, ids in enumerate(texts["ids"]):
        backwards = strength[ids.to_numpy()[::-1]]
        if backwards.max() > 0:
            distances[place] = backwards.argmax()
    return {
        "tokens": ranges(texts["ids"].list.len().to_numpy(), TOKENS),
        "unknown words": ranges(unknown, UNKNOWN_WORDS),
        "negation": (["without", "with"], negated.astype(np.int64)),
        EVIDENCE: ranges(distances, DISTANCES),
    }
