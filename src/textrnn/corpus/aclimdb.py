"""Reads the Large Movie Review Dataset (Maas et al., ACL 2011) in one pass over its tar."""

import re
import tarfile
from collections import Counter
from pathlib import Path, PurePosixPath
from typing import cast

import polars as pl

from textrnn.corpus.archive import OF_MACOS, TarItem, open_member
from textrnn.corpus.table_file import NO_CHARACTER, REPLACED, decode
from textrnn.errors import TextrnnError

_REVIEW = re.compile(r"(train|test)/(pos|neg|unsup)/(\d+)_(\d+)\.txt")
_FILMS = re.compile(r"(train|test)/urls_(pos|neg|unsup)\.txt")
_OF_THE_LAYOUT = re.compile(r"(README|imdb\.vocab|imdbEr\.txt|(train|test)/(labeled|unsup)Bow\.feat)")
_SPLIT = re.compile(r"^(.*?)(?:^|/)((?:train|test)/.*)$")
_FILM = re.compile(r"tt\d+")


def read_aclimdb(
    archive: Path, member: str | None, unlabelled: bool, limit: int
) -> tuple[pl.DataFrame, dict[str, int]]:
    """Returns the reviews as `id, text, label, group, split` (str), and what was skipped or replaced, by reason.

    Of two files of one name the later counts, as in any tar. The film of review n is in line n, counted from
    0, of the `urls_*.txt` of its folder. The tar may unpack to `limit` bytes.

    Raises `TextrnnError`: a review's film is unknown, reviews are in two folders, or there are no unlabelled ones.
    """
    reviews, lists, skipped = _files(archive, member, unlabelled, limit)
    if unlabelled and not any("/unsup/" in name for name in reviews):
        raise TextrnnError(f"{archive.name}: no unlabelled reviews. Set prepare.unlabelled to false.")
    skipped[REPLACED] += sum(len(NO_CHARACTER.findall(text)) for text in reviews.values())
    films: dict[str, list[str]] = {}
    rows = []
    for name in sorted(reviews, key=_place):
        split, folder, number, _ = _place(name)
        file = f"{split}/urls_{folder}.txt"
        if file not in films:
            films[file] = _films(lists.get(file, ""), f"{archive.name}: {file}")
        if number >= len(films[file]):
            raise TextrnnError(
                f"{archive.name}: no film for {name.removesuffix('.txt')}: {file} has {len(films[file])} lines. "
                "Valid splits are drawn by film: use the complete archive."
            )
        label, side = (None, "unlabelled") if folder == "unsup" else (folder, split)
        rows.append((name.removesuffix(".txt"), reviews[name], label, films[file][number], side))
    frame = pl.DataFrame(rows, schema=dict.fromkeys(("id", "text", "label", "group", "split"), pl.String), orient="row")
    text = pl.col("text").str.replace_all("\0", "\N{REPLACEMENT CHARACTER}", literal=True)
    return frame.with_columns(text), dict(skipped)


def _files(
    archive: Path, member: str | None, unlabelled: bool, limit: int
) -> tuple[dict[str, str], dict[str, str], Counter[str]]:
    """Returns the texts of the reviews and of the lists of films, by path, and what was skipped, by reason."""
    reviews: dict[str, str] = {}
    lists: dict[str, str] = {}
    skipped: Counter[str] = Counter()
    unasked: set[str] = set()
    tops: set[str] = set()
    with (
        open_member(archive, member, limit, whole=True) as stream,
        tarfile.open(fileobj=stream, mode="r|", tarinfo=TarItem) as tar,
    ):
        for item in tar:
            path = PurePosixPath(item.name)  # without a leading ./
            if item.isdir():
                continue
            top, name = found.groups() if (found := _SPLIT.match(path.as_posix())) else ("", path.as_posix())
            if OF_MACOS.search(path.as_posix()):
                skipped["file of macOS (__MACOSX, ._*, .DS_Store)"] += 1
            elif review := _REVIEW.fullmatch(name):
                tops.add(top)
                if review[2] == "unsup" and not unlabelled:
                    unasked.add(name)
                    continue
                if name in reviews:
                    skipped["review replaced by a later file of the same name"] += 1
                reviews[name] = _text(tar, item)
            elif _FILMS.fullmatch(name):
                lists[name] = _text(tar, item)
            elif not _OF_THE_LAYOUT.fullmatch(name if found else path.name):
                folder = PurePosixPath(*path.parts[:-1][:4]).as_posix()
                skipped[f"file that is no review by its path, in {folder}/"] += 1
    if len(tops) > 1:
        raise TextrnnError(
            f"{archive.name}: holds reviews in {len(tops)} folders: {', '.join(repr(top) for top in sorted(tops))}. "
            "One corpus is one folder: leave the copy out of the archive."
        )
    skipped["unlabelled, not asked for"] += len(unasked)
    return reviews, lists, skipped


def _place(name: str) -> tuple[str, str, int, int]:
    """Returns split, folder, number and rating of the review in the file `name`."""
    split, folder, number, rating = cast(re.Match[str], _REVIEW.fullmatch(name)).groups()
    return split, folder, int(number), int(rating)


def _films(content: str, where: str) -> list[str]:
    """The film of each line. A line without one would shift the lines after it."""
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
    stream = tar.extractfile(item) if item.isfile() and not item.issparse() else None
    if stream is None:
        raise TextrnnError(f"{item.name} in the tar is a link or no file. Use the archive as published.")
    return decode(stream.read(), item.name)
