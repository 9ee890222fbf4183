"""Reads one file of a published archive in place: zip (wheel), tar, or a single file, compressed or not."""

import bz2
import io
import lzma
import re
import stat
import tarfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from difflib import get_close_matches
from functools import partial
from itertools import islice
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO, Any, Self, cast

from isal import igzip, isal_zlib

from textrnn.errors import TextrnnError, first_line, is_damage

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
_LARGEST_HEADER = 1 << 16  # bytes of a header of a tar: a path has some thousand at most
_MOST_FILES = 1_000_000  # of a tar: each takes memory, and next to no space in a compressed one
_ANEW = "Delete the file and download it again"

_Members = dict[str, Callable[[], IO[bytes]]]  # the paths of an archive's files, with functions that open them


@contextmanager
def open_member(archive: Path, member: str | None, limit: int, whole: bool = False) -> Iterator[io.BufferedReader]:
    """Yields the bytes of `member` of `archive`; without one, of its only file, or of `archive` itself if it is a file.

    Zip, tar and the compressions gzip, bzip2 and xz (of archive or member) are recognised by their first bytes.
    With `whole` a tar, too, is yielded as it is, decompressed.

    Raises:
        TextrnnError: the archive is missing, damaged (also if the caller's reading shows it) or of another kind; the
            member is missing, is not named where there are several, or its path leads out of the archive; what is read,
            or the archive as it is decompressed to find the member, has more than `limit` bytes.
    """
    if not archive.is_file():
        raise TextrnnError(f"{archive}: no such file. Run the download stage first (dvc repro).")
    with ExitStack() as stack, _damage_reported(archive):
        with _damage_reported(archive, is_damage):
            stream = _opened(stack, archive, member, limit, whole)
        yield stream


def _opened(stack: ExitStack, archive: Path, member: str | None, limit: int, whole: bool) -> io.BufferedReader:
    if member is not None:
        path = PurePosixPath(member.replace("\\", "/"))
        if path.is_absolute() or PureWindowsPath(member).drive or ".." in path.parts:
            raise TextrnnError(
                f"{archive}: member {member!r} leads out of the archive. A member is a relative path "
                "without '..': correct it in catalog.yaml."
            )
        name = member
        _, members = _members(stack, archive, limit)
        if member not in members:
            near = get_close_matches(member, members, n=3, cutoff=0.4) or sorted(members)[:3]
            raise TextrnnError(
                f"{archive} has no member {member!r}. Nearest of its {len(members)} files: {', '.join(near)}. "
                "Correct 'member' in catalog.yaml."
            )
        stream = stack.enter_context(members[member]())
    else:
        kind, members = ("", {}) if whole else _members(stack, archive, limit, may_be_none=True)
        name = _only(archive, kind, members) if kind else archive.name
        stream = stack.enter_context(members[name]() if kind else archive.open("rb"))
    return _limited(_decompressed(stack, stream, name), archive, limit)


def _decompressed(stack: ExitStack, stream: IO[bytes], name: str) -> IO[bytes]:
    """Returns the content of `stream`, which its first bytes or the suffix of `name` say how to decompress."""
    first = cast(io.BufferedReader, stream).peek(16)
    suffix = next((each for each, (begin, _) in _DECOMPRESSORS.items() if begin.match(first)), None)
    _, decompress = _DECOMPRESSORS.get(suffix or PurePosixPath(name).suffix, (None, None))
    return stack.enter_context(decompress(stream)) if decompress else stream


class _Limited(io.RawIOBase):
    """The first `limit` bytes of `stream`. Reading on, or seeking there, which decompresses too, is refused."""

    def __init__(self, stream: IO[bytes], archive: Path, limit: int) -> None:
        self._stream, self._archive, self._limit, self._place = cast(Any, stream), archive, limit, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return bool(self._stream.seekable())

    def readinto(self, buffer: Any) -> int:
        count: int = self._stream.readinto(buffer)
        self._move(self._place + count)
        return count

    def readall(self) -> bytes:
        return b"".join(iter(partial(self.read, _BLOCK), b""))  # the inherited one reads a few kilobytes at a time

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        place = offset + (self._place if whence == io.SEEK_CUR else 0)
        self._move(place)
        self._place = self._stream.seek(place)
        return self._place

    def tell(self) -> int:
        return self._place

    def _move(self, place: int) -> None:
        if place > self._limit:
            raise TextrnnError(
                f"{self._archive} unpacks to more than {self._limit:,} bytes, which would fill memory or disk. If it "
                "is meant to, set max_bytes in its entry in catalog.yaml."
            )
        self._place = place


def _limited(stream: IO[bytes], archive: Path, limit: int) -> io.BufferedReader:
    return io.BufferedReader(_Limited(stream, archive, limit), _BLOCK)  # the members' own `readline` are slower


class TarItem(tarfile.TarInfo):
    """A header of a tar, which is refused where it promises a longer one that would fill the memory."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        """Returns the header in `buf`, as `tarfile` calls it."""
        item = super().frombuf(buf, encoding, errors)
        if item.type in _BEFORE_A_FILE and item.size > _LARGEST_HEADER:
            raise EOFError(f"a header has {item.size:,} bytes")
        return item


_BEFORE_A_FILE = (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE, tarfile.XGLTYPE, b"X")
"""Kinds of headers that say more of the next file, such as its path, and are read whole."""


def _members(stack: ExitStack, archive: Path, limit: int, *, may_be_none: bool = False) -> tuple[str, _Members]:
    """Returns the archive's kind and its files; `stack` closes it.

    With `may_be_none` any other file has kind "", also one that only resembles an archive.
    """
    with archive.open("rb") as file:
        is_zip = (file.read(2) == b"PK" or not may_be_none) and zipfile.is_zipfile(archive)
    if is_zip:
        opened = stack.enter_context(zipfile.ZipFile(archive))
        files = [item for item in opened.infolist() if not (item.is_dir() or stat.S_ISLNK(item.external_attr >> 16))]
        members: _Members = {item.filename: partial(_open_zipped, opened, item) for item in files}
        if len(members) < len(files):
            twice = Counter(item.filename for item in files).most_common(1)[0][0]
            raise TextrnnError(f"{archive} holds {twice!r} twice, and programs differ in which one they read. {_ANEW}.")
        return "zip", members
    unpacked = _limited(_decompressed(stack, stack.enter_context(archive.open("rb")), ""), archive, limit)
    try:
        tar = tarfile.TarFile.taropen(archive, "r", unpacked, tarinfo=TarItem)  # noqa: SIM115, as its stream is closed
    except (tarfile.ReadError, EOFError, OSError, ValueError, lzma.LZMAError, zlib.error, _ISAL_ERROR):
        if may_be_none:
            return "", {}
        raise
    items = list(islice(tar, _MOST_FILES + 1))
    if len(items) > _MOST_FILES:
        raise TextrnnError(f"{archive} holds more than {_MOST_FILES:,} files. {_ANEW}.")
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


def _shows_damage(error: BaseException) -> bool:
    """Of what a caller's own code may raise, too, only what archives raise."""
    return is_damage(error) and isinstance(error, _DAMAGE)


@contextmanager
def _damage_reported(archive: Path, shows: Callable[[BaseException], bool] = _shows_damage) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        if not shows(error):
            raise
        reason = first_line(error).rstrip(":")
        raise TextrnnError(
            f"{archive} is damaged, or not the kind of archive that its entry in catalog.yaml says: "
            f"{reason}. Check format, member and sha256 there, then {_ANEW[0].lower()}{_ANEW[1:]}."
        ) from error


def _open_zipped(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> IO[bytes]:
    stream = archive.open(member)
    if member.compress_type == zipfile.ZIP_DEFLATED:
        # ISA-L takes less than half of zlib's time. Without this private attribute reading would only be slower.
        cast(Any, stream)._decompressor = isal_zlib.decompressobj(-zlib.MAX_WBITS)
    return stream
