"""Reads one file of a published archive in place: zip (wheel), tar, or a single file, compressed or not."""

import bz2
import io
import lzma
import re
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from difflib import get_close_matches
from functools import partial
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO, Any, cast

from isal import igzip, isal_zlib

from textrnn.errors import TextrnnError, first_line

OF_MACOS = re.compile(r"(^|/)(__MACOSX/|\._|\.DS_Store$)")  # finds the paths of files that macOS adds to archives

_DECOMPRESSORS: dict[str, tuple[re.Pattern[bytes], Callable[..., Any]]] = {
    ".gz": (re.compile(rb"\x1f\x8b\x08"), igzip.open),
    ".bz2": (re.compile(rb"BZh[1-9](1AY&SY|\x17rE8P\x90)"), bz2.open),  # up to the mark of the first block or the end
    ".xz": (re.compile(rb"\xfd7zXZ\x00"), lzma.open),
}
"""By suffix: the first bytes, and what opens the file."""

_ISAL_ERROR = cast(type[Exception], isal_zlib.error)  # its stub declares an instance
_DAMAGE = (EOFError, OSError, lzma.LZMAError, tarfile.TarError, zipfile.BadZipFile, zlib.error, _ISAL_ERROR)
"""Raised for an archive that is truncated, or not an archive."""
_BLOCK = 1 << 20

_Members = dict[str, Callable[[], IO[bytes]]]  # the paths of an archive's files, with functions that open them


@contextmanager
def open_member(archive: Path, member: str | None, whole: bool = False) -> Iterator[io.BufferedReader]:
    """Yields the bytes of `member` of `archive`; without one, of its only file, or of `archive` itself if it is a file.

    Zip, tar and the compressions gzip, bzip2 and xz (of archive or member) are recognised by their first bytes.
    With `whole` a tar, too, is yielded as it is, decompressed.

    Raises:
        TextrnnError: the archive is missing, damaged (also if the caller's reading shows it) or of another kind; the
            member is missing, is not named where there are several, or its path leads out of the archive.
    """
    if not archive.is_file():
        raise TextrnnError(f"{archive}: no such file. Run the download stage first (dvc repro).")
    with ExitStack() as stack, _damage_reported(archive):
        if member is not None:
            path = PurePosixPath(member.replace("\\", "/"))
            if path.is_absolute() or PureWindowsPath(member).drive or ".." in path.parts:
                raise TextrnnError(
                    f"{archive}: member {member!r} leads out of the archive. A member is a relative path "
                    "without '..': correct it in catalog.yaml."
                )
            name = member
            _, members = _members(stack, archive)
            if member not in members:
                near = get_close_matches(member, members, n=3, cutoff=0.4) or sorted(members)[:3]
                raise TextrnnError(
                    f"{archive} has no member {member!r}. Nearest of its {len(members)} files: {', '.join(near)}. "
                    "Correct 'member' in catalog.yaml."
                )
            stream = stack.enter_context(members[member]())
        else:
            kind, members = ("", {}) if whole else _members(stack, archive, may_be_none=True)
            name = _only(archive, kind, members) if kind else archive.name
            stream = stack.enter_context(members[name]() if kind else archive.open("rb"))
        first = cast(io.BufferedReader, stream).peek(16)
        suffix = next((each for each, (begin, _) in _DECOMPRESSORS.items() if begin.match(first)), None)
        _, decompress = _DECOMPRESSORS.get(suffix or PurePosixPath(name).suffix, (None, None))
        opened = stack.enter_context(decompress(stream)) if decompress else stream
        yield io.BufferedReader(cast(io.RawIOBase, opened), _BLOCK)  # the members' own `readline` are slower


def _members(stack: ExitStack, archive: Path, *, may_be_none: bool = False) -> tuple[str, _Members]:
    """Returns the archive's kind and its files; `stack` closes it.

    With `may_be_none` any other file has kind "", also one that only resembles an archive.
    """
    with archive.open("rb") as file:
        is_zip = (file.read(2) == b"PK" or not may_be_none) and zipfile.is_zipfile(archive)
    if is_zip:
        opened = stack.enter_context(zipfile.ZipFile(archive))
        files = (item for item in opened.infolist() if not item.is_dir())
        return "zip", {item.filename: partial(_open_zipped, opened, item) for item in files}
    if may_be_none and not tarfile.is_tarfile(archive):
        return "", {}
    tar = stack.enter_context(tarfile.TarFile.open(archive, "r:*"))
    items = tar.getmembers()
    if may_be_none and not items:
        return "", {}  # the file begins with a block of NULs
    return "tar", {item.name: partial(cast(Any, tar.extractfile), item) for item in items if item.isfile()}


def _only(archive: Path, kind: str, members: _Members) -> str:
    if "[Content_Types].xml" in members:
        raise TextrnnError(
            f"{archive} is an Excel workbook (xlsx) or another Office file. Save the sheet as CSV (UTF-8)."
        )
    names = [name for name in members if not OF_MACOS.search(name)]
    if len(names) != 1:
        listed = ", ".join(sorted(names)[:5]) + (", …" if len(names) > 5 else "")
        raise TextrnnError(
            f"{archive} is a {kind} of {len(names)} files: {listed}. Name the one to read in catalog.yaml, as 'member'."
        )
    return names[0]


@contextmanager
def _damage_reported(archive: Path) -> Iterator[None]:
    try:
        yield
    except _DAMAGE as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the system's own error (disk, permissions): not about the archive
        reason = first_line(error).rstrip(":")
        raise TextrnnError(
            f"{archive} is damaged, or not the kind of archive that its entry in catalog.yaml says: "
            f"{reason}. Check format, member and sha256 there, then delete the file and download it again."
        ) from error


def _open_zipped(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> IO[bytes]:
    stream = archive.open(member)
    if member.compress_type == zipfile.ZIP_DEFLATED:
        # ISA-L takes less than half of zlib's time. Without this private attribute reading would only be slower.
        cast(Any, stream)._decompressor = isal_zlib.decompressobj(-zlib.MAX_WBITS)
    return stream
