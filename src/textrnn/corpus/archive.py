"""Reads one file out of a published archive, in place: nothing is ever unpacked to disk.

Zip files and wheels, tar files in any compression, and files that are themselves compressed look
alike from here: a stream of the member's bytes.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from difflib import get_close_matches
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO, BinaryIO, cast

from textrnn.errors import TextrnnError

_DECOMPRESSORS: dict[str, Callable[[IO[bytes]], IO[bytes]]] = {
    ".gz": lambda stream: cast(IO[bytes], gzip.open(stream)),
    ".bz2": lambda stream: cast(IO[bytes], bz2.open(stream)),
    ".xz": lambda stream: cast(IO[bytes], lzma.open(stream)),
}

_DAMAGE = (EOFError, OSError, lzma.LZMAError, tarfile.TarError, zipfile.BadZipFile, zlib.error)
"""What the standard library raises when an archive is cut short or is something else."""


@contextmanager
def open_member(archive: Path, member: str | None) -> Iterator[BinaryIO]:
    """Yields the bytes of `member` of `archive`; of `archive` itself where `member` is None.

    The archive is a zip (or wheel) or a tar, told by its content. What ends in `.gz`, `.bz2` or
    `.xz`, file or member, is decompressed on the way. The stream is read once, front to back.

    Raises:
        TextrnnError: the archive is missing, damaged or none; the member is missing, or its path
            leads out of the archive. Damage met later, while the caller reads, is told alike.
    """
    if not archive.is_file():
        raise TextrnnError(f"{archive}: no such file. Run the download stage first (dvc repro).")
    with ExitStack() as stack, _damage_told(archive):
        name, stream = archive.name, stack.enter_context(archive.open("rb"))
        if member is not None:
            _check_path(archive, member)
            name, stream = member, _enter_archive(stack, archive, member)
        decompress = _DECOMPRESSORS.get(PurePosixPath(name).suffix)
        yield cast(BinaryIO, stack.enter_context(decompress(stream)) if decompress else stream)


@contextmanager
def _damage_told(archive: Path) -> Iterator[None]:
    try:
        yield
    except _DAMAGE as error:
        raise TextrnnError(
            f"{archive} is damaged, or not the kind of archive that its entry in catalog.yaml says: {error}. "
            "Check format, member and sha256 there; then delete the file and download it again."
        ) from error


def _check_path(archive: Path, member: str) -> None:
    path = PurePosixPath(member.replace("\\", "/"))
    if path.is_absolute() or PureWindowsPath(member).drive or ".." in path.parts:
        raise TextrnnError(
            f"{archive}: member {member!r} leads out of the archive. A member is a relative path "
            "without '..': correct it in catalog.yaml."
        )


def _enter_archive(stack: ExitStack, archive: Path, member: str) -> IO[bytes]:
    """Returns the raw stream of `member`; `stack` closes what has been opened for it."""
    if zipfile.is_zipfile(archive):
        opened = stack.enter_context(zipfile.ZipFile(archive))
        if member in (names := opened.namelist()):
            return stack.enter_context(opened.open(member))
    else:
        tar = stack.enter_context(tarfile.open(archive, "r:*"))
        if member in (names := tar.getnames()):
            stream = tar.extractfile(member)
            if stream is not None:
                return stack.enter_context(stream)
    near = get_close_matches(member, names, n=3, cutoff=0.4) or sorted(names)[:3]
    raise TextrnnError(
        f"{archive} has no member {member!r}. Nearest of its {len(names)} members: {', '.join(near)}. "
        "Correct 'member' in catalog.yaml."
    )
