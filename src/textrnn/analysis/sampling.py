"""What is a sample here: texts, of which those of one film were drawn together, and seeds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import polars as pl

from textrnn.analysis.significance import SeedPrior
from textrnn.errors import TextrnnError
from textrnn.run_folder import RunFolder

Units = Callable[[str, Sequence[str]], Sequence[str]]
"""`units` of one corpus: from a split and ids to the units of sampling."""


def units(corpus: Path, split: str, ids: Sequence[str]) -> list[str]:
    """Returns for each of `ids` the name of its group in the prepared `corpus`; without one it is its own.

    Raises:
        TextrnnError: the split is not there, or lacks one of `ids`.
    """
    file = corpus / f"{split}.parquet"
    if not file.is_file():
        raise TextrnnError(f"{file}: no such file. The prepare stage writes it: run `dvc repro`.")
    known = pl.read_parquet(file, glob=False, columns=["id", "group"]).with_columns(known=True)
    found = pl.DataFrame({"id": list(ids)}, schema={"id": pl.String}).join(
        known, on="id", how="left", maintain_order="left"
    )
    missing = found.filter(pl.col("known").is_null())["id"]
    if len(missing):
        raise TextrnnError(
            f"{file} lacks {len(missing)} of the {len(found)} texts that were predicted, such as {missing[0]!r}: "
            "runs and corpus are of different versions. Bring them up to date with `dvc repro`."
        )
    # No group is named like that: it would have to hold the character that no text holds.
    return found.select(pl.coalesce("group", pl.format("\0{}", "id")))["group"].to_list()


def seed_prior(runs: Iterable[RunFolder], split: str) -> SeedPrior:
    """Returns what the experiments among `runs` tell of how far the seeds' accuracies spread on a split."""
    return SeedPrior.of_study(run.correct(split) for run in runs if run.kind == "experiment" and run.finished_seeds)
