"""Reads the Large Movie Review Dataset (Maas et al., ACL 2011) in one pass over its tar."""

from __future__ import annotations

import re
import tarfile
from collections import Counter
from pathlib import Path, PurePosixPath

import polars as pl

from textrnn.corpus.archive import OF_MACOS, open_stream
from textrnn.corpus.table_file import NO_CHARACTER, REPLACED, decode
from textrnn.errors import TextrnnError

_REVIEW = re.compile(r"(train|test)/(pos|neg|unsup)/(\d+)_(\d+)\.txt")
_FILMS = re.compile(r"(train|test)/urls_(pos|neg|unsup)\.txt")
_OF_THE_LAYOUT = re.compile(r"(README|imdb\.vocab|imdbEr\.txt|(train|test)/(labeled|unsup)Bow\.feat)")
_SPLIT = re.compile(r"^(.*?)(?:^|/)((?:train|test)/.*)$")
_FILM = re.compile(r"tt\d+")


def read_aclimdb(archive: Path, member: str | None, unlabelled: bool) -> tuple[pl.DataFrame, dict[str, int]]:
    """Returns the reviews as `id, text, label, group, split` (str), and what was left out or replaced, by reason.

    Of two files of one name the later one counts, as for tar. The film of review n is on line n, from
    0 on, of the `urls_*.txt` of its folder.

    Raises:
        TextrnnError: a review's film is not known, reviews are in two folders, or there are no unlabelled ones.
    """
    reviews: dict[str, tuple[tuple[str, ...], str]] = {}
    films: dict[str, str] = {}
    skipped: Counter[str] = Counter()
    unasked: set[str] = set()
    tops: set[str] = set()
    with open_stream(archive, member) as stream, tarfile.open(fileobj=stream, mode="r|*") as tar:
        for item in tar:
            path = PurePosixPath(item.name).as_posix()  # without a leading ./
            if item.isdir():
                continue
            if OF_MACOS.search(path):
                skipped["file of macOS (__MACOSX, ._*, .DS_Store)"] += 1
                continue
            top, name = found.groups() if (found := _SPLIT.match(path)) else ("", path)
            if review := _REVIEW.fullmatch(name):
                tops.add(top)
                if review[2] == "unsup" and not unlabelled:
                    unasked.add(name)
                    continue
                if name in reviews:
                    skipped["review replaced by a later file of the same name"] += 1
                reviews[name] = (review.groups(), _text(tar, item))
            elif _FILMS.fullmatch(name):
                films[name] = _text(tar, item)
            elif not _OF_THE_LAYOUT.fullmatch(name if found else PurePosixPath(path).name):
                folder = PurePosixPath(*PurePosixPath(path).parts[:-1][:4]).as_posix()
                skipped[f"file that is no review by its path, in {folder}/"] += 1
    if len(tops) > 1:
        raise TextrnnError(
            f"{archive.name}: holds reviews in {len(tops)} folders: {', '.join(repr(top) for top in sorted(tops))}. "
            "One corpus is one folder: leave the copy out of the archive."
        )
    if unlabelled and not any(folder == "unsup" for (_, folder, *_), _ in reviews.values()):
        raise TextrnnError(f"{archive.name}: no unlabelled reviews. Set prepare.unlabelled to false.")
    skipped["unlabelled, not asked for"] += len(unasked)
    rows = _with_films(reviews, films, archive.name)
    skipped[REPLACED] += sum(len(NO_CHARACTER.findall(str(row["text"]))) for row in rows)
    frame = pl.DataFrame(rows, schema=dict.fromkeys(("id", "text", "label", "group", "split"), pl.String))
    text = pl.col("text").str.replace_all("\0", "\N{REPLACEMENT CHARACTER}", literal=True)
    return frame.with_columns(text), dict(skipped)


def _with_films(
    reviews: dict[str, tuple[tuple[str, ...], str]], films: dict[str, str], where: str
) -> list[dict[str, str | None]]:
    lists: dict[str, list[str]] = {}
    rows = []
    for (split, folder, number, rating), text in sorted(reviews.values(), key=_place):
        name = f"{split}/urls_{folder}.txt"
        if name not in lists:
            lists[name] = _films(films.get(name, ""), f"{where}: {name}")
        listed = lists[name]
        if int(number) >= len(listed):
            raise TextrnnError(
                f"{where}: no film for {split}/{folder}/{number}_{rating}: {name} has {len(listed)} lines. "
                "Valid splits are drawn by film: use the complete archive."
            )
        is_labelled = folder != "unsup"
        rows.append(
            {
                "id": f"{split}/{folder}/{number}_{rating}",
                "text": text,
                "label": folder if is_labelled else None,
                "group": listed[int(number)],
                "split": split if is_labelled else "unlabelled",
            }
        )
    return rows


def _place(review: tuple[tuple[str, ...], str]) -> tuple[str, str, int, int, str]:
    (split, folder, number, rating), text = review
    return split, folder, int(number), int(rating), text


def _films(content: str, where: str) -> list[str]:
    """The film on each line; a line that holds none would shift those after it."""
    films = []
    for number, line in enumerate(content.rstrip().split("\n") if content.strip() else [], 1):
        found = _FILM.findall(line)
        if len(set(found)) != 1:
            raise TextrnnError(
                f"{where}, line {number}: {line.strip()[:60]!r} names no film, or several. The film of review n is on "
                "line n + 1: use the file as published."
            )
        films.append(found[0])
    return films


def _text(tar: tarfile.TarFile, item: tarfile.TarInfo) -> str:
    stream = tar.extractfile(item) if item.isfile() else None
    if stream is None:
        raise TextrnnError(f"{item.name} in the tar is a link or no file. Use the archive as published.")
    return decode(stream.read(), item.name)
