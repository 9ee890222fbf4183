"""Where the models err: accuracy on groups of the validation texts, and the texts that are hardest.

Errors are what one acts upon. So they are those of the validation split: the test split stays unseen.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pandas as pd
import polars as pl

from textrnn.analysis.sampling import Units
from textrnn.analysis.significance import contrast
from textrnn.analysis.tables import DIGITS
from textrnn.errors import TextrnnError
from textrnn.run_folder import RunFolder
from textrnn.text.tokenizer import tokenize
from textrnn.text.vocabulary import UNKNOWN

SPLIT = "valid"

TOKENS = (1, 11, 21, 41, 81, 161, 321)
UNKNOWN_WORDS = (0, 1, 2, 3)
DISTANCES = (0, 5, 10, 20, 40)
"""Where the groups of `ranges` begin."""

EVIDENCE = "distance of the evidence from the end"

NEGATIONS = ("not", "n't", "cannot", "no", "none", "nobody", "nothing", "nowhere", "neither", "nor", "never")
"""English negation, as tokens: `not` and the absolute negators of Huddleston & Pullum, The Cambridge Grammar of
the English Language (2002), chapter 9. `tokenize` splits `don't` into `do n't`, and leaves `cannot` whole."""

FEWEST = 30
"""Of a group with fewer texts no interval is given: it would promise more than so few texts can tell."""


def log_count_ratios(train: pl.DataFrame, classes: int, words: int) -> np.ndarray:
    """Returns how much each word of the training texts speaks for each class: float64 [classes, words].

    It is ln of how much likelier the word is in texts of the class than in all others, with one added
    to every count; a text counts a word once (Wang & Manning, "Baselines and Bigrams", ACL 2012).
    Padding and unknown speak for no class: 0.

    Args:
        train: the train split's `ids` (list[int32]) and `label` (int32, null where unlabelled).
        words: size of the vocabulary.
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
    """Sorts `values` (int [n]) into the ranges that begin at `starts`, the last one open.

    Returns:
        The ranges' names, and int [n]: the range of each value; -1 below the first.

    Example:
        `ranges(np.array([3, 0, 20]), (0, 1, 5))` is `["0", "1-4", "5+"]` and `[1, 0, 2]`.
    """
    closed = [(low, after - 1) for low, after in pairwise(starts)]
    names = [str(low) if low == high else f"{low}-{high}" for low, high in closed]
    return [*names, f"{starts[-1]}+"], np.searchsorted(starts, values, side="right") - 1


def slices(runs: Sequence[RunFolder], texts: pl.DataFrame, ratios: np.ndarray, units: Units) -> pd.DataFrame:
    """Returns the accuracy of every run on groups of the validation texts; no row for an empty group.

    Columns: `experiment`, `by` (what the texts are grouped by), `group`, `order` (of the group among
    those of `by`), `texts`, `accuracy` (mean over seeds), `low` and `high` (its 95 % interval over seeds
    and texts, as of `significance.contrast`; empty for fewer than `FEWEST` texts). Texts are grouped by

    - `tokens`: how many there are, whether an experiment reads all of them or not
    - `unknown words`: how many of these the vocabulary lacks
    - `negation`: whether one of `NEGATIONS` stands in the text
    - `distance of the evidence from the end`: how many tokens come after the one that speaks most for
      any class, the last such one; a text without such a token is in no group

    Args:
        texts: `id`, `text` (str) and `ids` (list[int32]) of the validation split, in any order.
        ratios: `log_count_ratios(…)`, float64 [classes, words]
        units: the corpus' units of sampling.

    Raises:
        TextrnnError: the runs predicted texts that are not in `texts`.
    """
    rows = []
    finished = [run for run in runs if run.finished_seeds]
    predicted = _predicted_texts(finished[0], texts) if finished else texts.clear()
    groups = _groups(predicted, ratios) if finished else {}
    belongs = np.array(units(SPLIT, predicted["id"].to_list()))
    for run in finished:
        correct = run.correct(SPLIT)
        for by, (names, places) in groups.items():
            for place in np.unique(places[places >= 0]):
                own = correct[:, places == place]
                low, high = _interval(own, belongs[places == place])
                rows.append((run.name, by, names[place], int(place), own.shape[1], float(own.mean()), low, high))
    return pd.DataFrame(rows, columns=["experiment", "by", "group", "order", "texts", "accuracy", "low", "high"])


def hardest(runs: Sequence[RunFolder], texts: pl.DataFrame, limit: int = 20) -> pd.DataFrame:
    """Returns the `limit` validation texts that most models of the experiments, seeds counted singly, get wrong.

    Columns: `id`, `label`, `text`, `wrong` (how many models), `of` (how many there are). Of texts that
    equally many get wrong, those come first whose class the models together find less probable.
    Baselines have no say.

    Args:
        texts: `id` and `text` (str) of the validation split, in any order.

    Raises:
        TextrnnError: the runs predicted texts that are not in `texts`.
    """
    experiments = [run for run in runs if run.kind == "experiment" and run.finished_seeds]
    if not experiments:
        return pd.DataFrame(columns=["id", "label", "text", "wrong", "of"])
    first = experiments[0]
    predicted = _predicted_texts(first, texts)
    _, labels, _ = first.probabilities(first.finished_seeds[0], SPLIT)
    wrong = np.concatenate([~run.correct(SPLIT) for run in experiments])
    probability = np.mean(
        [
            run.probabilities(seed, SPLIT)[2][np.arange(len(labels)), labels].astype(np.float64)
            for run in experiments
            for seed in run.finished_seeds
        ],
        axis=0,
    )
    table = pd.DataFrame(
        {
            "id": predicted["id"].to_list(),
            "label": [first.classes[label] for label in labels],
            "text": predicted["text"].to_list(),
            "wrong": wrong.sum(axis=0),
            "of": len(wrong),
            "probability": probability.round(DIGITS),
        }
    )
    table = table.sort_values(["wrong", "probability", "id"], ascending=[False, True, True])
    return table.drop(columns="probability").head(limit).reset_index(drop=True)


def _predicted_texts(run: RunFolder, texts: pl.DataFrame) -> pl.DataFrame:
    """`texts` in the order in which `run`, and so every run of its study, predicted them."""
    ids, _, _ = run.probabilities(run.finished_seeds[0], SPLIT)
    predicted = pl.DataFrame({"id": ids}).join(texts, on="id", how="inner", maintain_order="left")
    if len(predicted) < len(ids):
        raise TextrnnError(
            f"runs/{run.name} predicted {len(ids)} validation texts, and only {len(predicted)} of them are in "
            "the corpus and token tables of now. Bring them up to date with `dvc repro`."
        )
    return predicted


def _groups(texts: pl.DataFrame, ratios: np.ndarray) -> dict[str, tuple[list[str], np.ndarray]]:
    """What texts are grouped by: the groups' names, and int [texts]: the group of each text, -1 for none."""
    unknown = texts["ids"].list.count_matches(UNKNOWN).to_numpy()
    negated = tokenize(texts["text"]).list.eval(pl.element().is_in(NEGATIONS)).list.any().to_numpy()
    return {
        "tokens": ranges(texts["ids"].list.len().to_numpy(), TOKENS),
        "unknown words": ranges(unknown, UNKNOWN_WORDS),
        "negation": (["without", "with"], negated.astype(np.int64)),
        EVIDENCE: ranges(_evidence_distance(texts["ids"], ratios), DISTANCES),
    }


def _evidence_distance(ids: pl.Series, ratios: np.ndarray) -> np.ndarray:
    """int [texts]: how many tokens come after the strongest evidence, -1 where there is none."""
    strength = ratios.max(axis=0)
    distances = np.full(len(ids), -1)
    for place, text in enumerate(ids):
        backwards = strength[text.to_numpy()[::-1]]
        if backwards.max() > 0:
            distances[place] = backwards.argmax()
    return distances


def _interval(correct: np.ndarray, belongs: np.ndarray) -> tuple[float, float]:
    """Limits of the interval around the accuracy of bool [seeds, texts], where there are texts enough."""
    if correct.shape[1] < FEWEST:
        return float("nan"), float("nan")
    return contrast([correct], [1.0], list(belongs)).accuracy_interval()
