"""Why runs predict what they do, as explained by the stage `explain`."""

from collections.abc import Sequence
from json import loads
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl

from textrnn.analysis.examples import Groups
from textrnn.analysis.run_tables import DIGITS
from textrnn.analysis.significance import Estimate, contrast
from textrnn.errors import TextrnnError
from textrnn.run_folder import RunFolder

DELETION, MISTAKES = "deletion.parquet", "mistakes.jsonl"
"""The files of the stage."""

KINDS = ("important", "random", "gap")
NUMBERS = tuple(f"{kind}{limit}" for kind in KINDS for limit in ("", "_low", "_high"))
DELETION_COLUMNS = ("experiment", "model", "share", "texts", *NUMBERS)
MISTAKE_COLUMNS = (
    *("experiment", "seed", "id", "class", "label", "probability", "log_odds", "without_words", "error"),
    *("word", "token", "apart", "known", "attribution"),
)


def surest_mistakes(run: RunFolder, seed: int, limit: int) -> list[tuple[str, str]]:
    """Returns the id and class of the validation texts that `seed` gets wrong, those of which it is surest first."""
    ids, labels, probabilities = run.probabilities(seed, "valid")
    wrong = np.flatnonzero(probabilities.argmax(axis=1) != labels)
    ranked = sorted(wrong, key=lambda row: (-probabilities[row].max(), ids[row]))
    return [(ids[row], run.classes[labels[row]]) for row in ranked[:limit]]


def deletion(runs: Sequence[RunFolder], groups: Groups) -> pd.DataFrame:
    """Returns the probability of the predicted class without a share of the words; no row of a run without seeds.

    Columns: `experiment`, `model`, `share`, `texts`, and the mean over texts and seeds of the probability without the
    most `important` words, without as many at `random`, and their `gap` (random minus important), each with the limits
    of its 95 % interval over both, `…_low` and `…_high`.

    Raises `TextrnnError`: a run was not explained.
    """
    rows = []
    for run in runs:
        table = pl.read_parquet(_file(run, DELETION)).sort("seed", "id", "share")
        if table.is_empty():
            continue
        counts = [table[column].n_unique() for column in ("seed", "id", "share")]
        important, at_random = (table[kind].to_numpy().reshape(counts) for kind in KINDS[:2])
        of_text = groups("valid", table["id"].unique(maintain_order=True).to_list())
        for place, share in enumerate(table["share"].unique().sort()):
            values = [important[:, :, place], at_random[:, :, place]]
            found = [contrast([each], [1.0], of_text) for each in values]
            gap = contrast([values[1] - values[0].astype(np.float64)], [1.0], of_text)
            numbers = [number for each in found for number in _numbers(each, each.accuracy_interval())]
            rows.append((run.name, run.model, share, counts[1], *numbers, *_numbers(gap, gap.interval())))
    return pd.DataFrame(rows, columns=DELETION_COLUMNS)


def mistakes(runs: Sequence[RunFolder]) -> pd.DataFrame:
    """Returns a row per word of each mistake that was explained, with `MISTAKE_COLUMNS`.

    `class` is the right one, `label` the predicted one; the others are as in `Explanation`.

    Raises `TextrnnError`: a run was not explained.
    """
    rows = [
        {"experiment": run.name, **record, **word}
        for run in runs
        for record in map(loads, _file(run, MISTAKES).read_text(encoding="utf-8").splitlines())
        for word in record["words"]
    ]
    return pd.DataFrame(rows, columns=MISTAKE_COLUMNS)


def _numbers(estimate: Estimate, limits: tuple[float, float]) -> list[float]:
    return [round(number, DIGITS) for number in (estimate.value, *limits)]


def _file(run: RunFolder, name: str) -> Path:
    file = run.path.with_name(f"explain@{run.name}") / name
    if not file.is_file():
        raise TextrnnError(f"{file} is missing: {run.name} was not explained. Run `dvc repro`.")
    return file
