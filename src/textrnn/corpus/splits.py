"""Divides a corpus into train, valid and test so that no film, and no text, tells on the other side."""

from __future__ import annotations

import polars as pl

from textrnn.config.params import Prepare
from textrnn.corpus.tables import SPLITS
from textrnn.errors import TextrnnError

_LATER = {"train": ("valid", "test"), "valid": ("test",), "unlabelled": ("valid", "test")}
"""Which splits a text must not stand in again."""


_HELP = (
    "What can help: more examples of that class; larger prepare.valid and prepare.test; a split column of the corpus' "
    "own (columns.split); merging the class with another, or leaving it out (skip_labels)."
)


def split_corpus(
    frame: pl.DataFrame, prepare: Prepare
) -> tuple[dict[str, pl.DataFrame], dict[str, int], dict[str, dict[str, float]]]:
    """Returns the splits, rows in the corpus' order, how many rows each lost to leakage, and what was drawn.

    Of each split that was drawn that is the share asked for (`asked`) of what it was drawn from, and its
    share of the rows there (`rows`); where whole groups were drawn also that of the largest group.

    `frame` has the columns `id, text, label, group, split`. Published splits stay as they are;
    rows without one are train. A missing test and then a missing valid split are drawn from train:
    whole groups where any group is known (a row without one counts as its own), else rows with
    equal shares of each class.

    Raises:
        TextrnnError: too little to draw from, or a class is missing from a split.
    """
    published = set(frame["split"].drop_nulls())
    frame = frame.with_columns(pl.col("split").fill_null("train"))
    pool = frame.filter(pl.col("split") == "train")
    if pool["group"].null_count() < pool.height:
        pool = pool.with_columns(pl.col("group").fill_null(pl.format("\0row {}", "id")))
    units = pool["group"].n_unique() if pool["group"].null_count() == 0 else pool.height
    whole, largest = pool.height, _largest_group(pool)
    shares: dict[str, dict[str, float]] = {}
    for name, share in (("test", prepare.test), ("valid", prepare.valid)):
        if name not in published:
            drawn = _draw(pool, name, max(1, round(share * units)), prepare.seed)
            pool = pool.filter(~pl.col("id").is_in(drawn.implode()))
            moved = pl.col("id").is_in(drawn.implode())
            shares[name] = {"asked": share, "rows": round(len(drawn) / whole, 6), **largest}
            frame = frame.with_columns(split=pl.when(moved).then(pl.lit(name)).otherwise("split"))
    present = [split for split in SPLITS if split != "unlabelled" or split in published]
    frames = {split: frame.filter(pl.col("split") == split).drop("split") for split in present}
    dropped: dict[str, int] = {}
    if prepare.leakage == "drop":
        frames, dropped = _without_leakage(frames)
    _check_classes(frames)
    return frames, dropped, shares


def _largest_group(pool: pl.DataFrame) -> dict[str, float]:
    if pool.is_empty() or pool["group"].null_count():
        return {}
    return {"largest_group": round(int(pool["group"].value_counts()["count"].max()) / pool.height, 6)}  # type: ignore[arg-type]


def _draw(pool: pl.DataFrame, name: str, count: int, seed: int) -> pl.Series:
    """Returns the ids of `count` groups' rows of `pool`, of `count` rows where it has no groups."""
    # Imported here: scikit-learn takes a second to start, and a published split needs none of it.
    from sklearn.model_selection import GroupShuffleSplit, StratifiedShuffleSplit

    grouped = pool["group"].null_count() == 0
    splitter = GroupShuffleSplit if grouped else StratifiedShuffleSplit
    try:
        rows = splitter(n_splits=1, test_size=count, random_state=seed).split(
            pool["id"].to_numpy(), pool["label"].to_numpy(), pool["group"].to_numpy() if grouped else None
        )
        return pool["id"].gather(next(rows)[1])
    except ValueError as error:
        raise TextrnnError(
            f"prepare.{name}: cannot draw {count} {'groups' if grouped else 'rows'} for the {name} split "
            f"out of {pool.height} rows ({error}). Change prepare.{name}, or give more data. {_HELP}"
        ) from error


def _without_leakage(frames: dict[str, pl.DataFrame]) -> tuple[dict[str, pl.DataFrame], dict[str, int]]:
    """Drops rows whose text stands in a later split; later splits are looked at before they lose rows."""
    kept = {}
    for split, frame in frames.items():
        later = [frames[name].select("text") for name in _LATER.get(split, ())]
        kept[split] = frame.join(pl.concat(later), on="text", how="anti", maintain_order="left") if later else frame
    return kept, {split: frames[split].height - kept[split].height for split in frames if split in _LATER}


def _check_classes(frames: dict[str, pl.DataFrame]) -> None:
    labelled = {split: frame for split, frame in frames.items() if split != "unlabelled"}
    everywhere = pl.concat([frame["label"] for frame in labelled.values()])
    for split, frame in labelled.items():
        missing = sorted(set(everywhere) - set(frame["label"]))
        if missing:
            counts = ", ".join(f"{name!r} (the corpus has {int((everywhere == name).sum()):,})" for name in missing)
            raise TextrnnError(
                f"split {split!r}: no example of class {counts} among its {frame.height}. Every split needs every "
                f"class. {_HELP}"
            )
