"""Divides a corpus into train, valid and test so that no film, and no text, is on both sides."""

import polars as pl

from textrnn.config.sections import Prepare
from textrnn.corpus.tables import SPLITS
from textrnn.errors import TextrnnError

_LATER = {"train": ("valid", "test"), "valid": ("test",), "unlabelled": ("valid", "test")}
"""The splits in which a text must not occur again."""

_HELP = (
    "What can help: more examples of that class; larger prepare.valid and prepare.test; a split column of the corpus' "
    "own (columns.split); merging the class with another, or leaving it out (skip_labels)."
)


def split_corpus(
    frame: pl.DataFrame, prepare: Prepare
) -> tuple[dict[str, pl.DataFrame], dict[str, int], dict[str, dict[str, float]]]:
    """Divides `frame` (`id, text, label, group, split`); published splits stay, rows without one are train.

    A missing test and then a missing valid split are drawn from train: whole groups where any group is known
    (a row without one counts as its own), otherwise rows with equal shares of each class.

    Returns:
        The splits, rows in the corpus' order; how many rows each lost to leakage; and of each drawn split the
        share requested (`asked`) of groups or rows, the share of `rows` drawn, and that of the `largest_group`.

    Raises `TextrnnError`: too little to draw from, or a class is missing from a split.
    """
    published = set(frame["split"].drop_nulls())
    frame = frame.with_columns(pl.col("split").fill_null("train"))
    pool = frame.filter(pl.col("split") == "train")
    is_grouped = pool["group"].null_count() < pool.height
    largest: dict[str, float] = {}
    if is_grouped:
        pool = pool.with_columns(pl.col("group").fill_null(pl.format("\0row {}", "id")))
        most = pool.group_by("group").len()["len"].to_list()
        largest = {"largest_group": round(max(most) / pool.height, 6)}
    whole, groups = pool.height, pool["group"].n_unique() if is_grouped else pool.height
    shares: dict[str, dict[str, float]] = {}
    for name, share in (("test", prepare.test), ("valid", prepare.valid)):
        if name not in published:
            drawn = _draw(pool, name, max(1, round(share * groups)), prepare.seed, is_grouped)
            is_drawn = pl.col("id").is_in(drawn.implode())
            pool = pool.filter(~is_drawn)
            shares[name] = {"asked": share, "rows": round(len(drawn) / whole, 6), **largest}
            frame = frame.with_columns(split=pl.when(is_drawn).then(pl.lit(name)).otherwise("split"))
    present = [split for split in SPLITS if split != "unlabelled" or split in published]
    frames = {split: frame.filter(pl.col("split") == split).drop("split") for split in present}
    dropped: dict[str, int] = {}
    if prepare.leakage == "drop":
        kept = {split: _without_leakage(split, frames) for split in frames}
        dropped = {split: frames[split].height - kept[split].height for split in frames if split in _LATER}
        frames = kept
    _check_classes(frames)
    return frames, dropped, shares


def _draw(pool: pl.DataFrame, name: str, count: int, seed: int, is_grouped: bool) -> pl.Series:
    """Returns the ids of `count` groups' rows of `pool`, or of `count` rows if it has no groups."""
    # scikit-learn takes a second to import, and a published split does not need it.
    from sklearn.model_selection import GroupShuffleSplit, StratifiedShuffleSplit

    splitter = GroupShuffleSplit if is_grouped else StratifiedShuffleSplit
    try:
        rows = splitter(n_splits=1, test_size=count, random_state=seed).split(
            pool["id"].to_numpy(), pool["label"].to_numpy(), pool["group"].to_numpy() if is_grouped else None
        )
        return pool["id"].gather(next(rows)[1])
    except ValueError as error:
        raise TextrnnError(
            f"prepare.{name}: cannot draw {count} {'groups' if is_grouped else 'rows'} for the {name} split "
            f"out of {pool.height} rows ({error}). Change prepare.{name}, or give more data. {_HELP}"
        ) from error


def _without_leakage(split: str, frames: dict[str, pl.DataFrame]) -> pl.DataFrame:
    """Returns the rows of `split` whose text occurs in no later split."""
    later = [frames[name].select("text") for name in _LATER.get(split, ())]
    return (
        frames[split].join(pl.concat(later), on="text", how="anti", maintain_order="left") if later else frames[split]
    )


def _check_classes(frames: dict[str, pl.DataFrame]) -> None:
    labelled = {split: frame["label"] for split, frame in frames.items() if split != "unlabelled"}
    everywhere = pl.concat(list(labelled.values()))
    for split, labels in labelled.items():
        if missing := sorted(set(everywhere) - set(labels)):
            counts = ", ".join(f"{name!r} (the corpus has {int((everywhere == name).sum()):,})" for name in missing)
            raise TextrnnError(
                f"split {split!r}: no example of class {counts} among its {len(labels)}. Every split needs every "
                f"class. {_HELP}"
            )
