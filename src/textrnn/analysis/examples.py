"""Which examples runs predicted: the same ones in every run, texts of the corpus, and which were drawn together."""

from collections.abc import Callable, Mapping, Sequence
from itertools import product
from pathlib import Path

import numpy as np
import polars as pl

from textrnn.errors import TextrnnError
from textrnn.run_folder import RunFolder

Groups = Callable[[str, Sequence[str]], Sequence[str]]
"""`groups` of one corpus: maps a split and ids to the group of each text."""


def groups(corpus: Path, split: str, ids: Sequence[str]) -> list[str]:
    """Returns the group (such as the film) of each of `ids` in the prepared `corpus`; a text without one is its own.

    Raises `TextrnnError`: the split is missing, or lacks one of `ids`.
    """
    file = corpus / f"{split}.parquet"
    if not file.is_file():
        raise TextrnnError(f"{file}: no such file. The prepare stage writes it: run `dvc repro`.")
    found = in_order(pl.read_parquet(file, glob=False, columns=["id", "group"]), ids, str(file))
    # No group has such a name: no text of the corpus holds the character \0.
    return found.select(pl.coalesce("group", pl.format("\0{}", "id")))["group"].to_list()


def in_order(texts: pl.DataFrame, ids: Sequence[str], source: str) -> pl.DataFrame:
    """Returns the rows of `texts` (with a column `id`) in the order of `ids`.

    Raises `TextrnnError`: `texts`, which come from `source`, lack one of `ids`.
    """
    wanted = pl.DataFrame({"id": list(ids)}, schema={"id": pl.String})
    missing = wanted.join(texts, on="id", how="anti")["id"]
    if len(missing):
        raise TextrnnError(
            f"{source} lacks {len(missing)} of the {len(wanted)} texts that were predicted, such as {missing[0]!r}: "
            "runs and corpus are of different versions. Bring them up to date with `dvc repro`."
        )
    return wanted.join(texts, on="id", how="left", maintain_order="left")


def check_same_examples(runs: Mapping[str, RunFolder], splits: Sequence[str]) -> None:
    """Checks that all finished seeds predicted the same examples, in the same order, with the same labels and classes.

    `runs` are by the name to report. Raises `TextrnnError`: names two runs that differ and says in what, or a run
    without finite probabilities.
    """
    first: dict[str, tuple[str, RunFolder, list[str], np.ndarray]] = {}
    for (name, run), split in product(runs.items(), splits):
        for seed in run.finished_seeds:
            ids, labels, probabilities = run.probabilities(seed, split)
            if not ids or not np.isfinite(probabilities).all():
                what = "predictions that are not finite numbers" if ids else "no predictions"
                raise TextrnnError(
                    f"{name} has {what} for seed {seed} on {split!r}; a seed that finished has a probability for "
                    "every text and class. Delete the run and repeat it with `dvc repro`."
                )
            other, other_run, other_ids, other_labels = first.setdefault(split, (name, run, ids, labels))
            if run.classes != other_run.classes:
                what = f"the classes of one are {', '.join(other_run.classes)}, of the other {', '.join(run.classes)}"
            elif ids != other_ids:
                what = (
                    f"one predicted {len(other_ids):,} texts, the other {len(ids):,}; they share "
                    f"{len(set(ids) & set(other_ids)):,}, or have them in another order"
                )
            elif not np.array_equal(labels, other_labels):
                what = "some of their texts have different labels"
            else:
                continue
            raise TextrnnError(
                f"{other} and {name} (seed {seed}) cannot be compared on {split!r}: {what}. A comparison needs the "
                "same corpus, split in the same way. Bring the working tree up to date with `dvc repro`, or name a "
                "revision with this corpus."
            )
