"""Reads one file out of a published archive, in place: nothing is ever unpacked to disk.

Zip files and wheels, tar files in any compression, and files that are themselves compressed look
alike from here: a stream of the member's bytes.
"""

from __future__ import annotations

import bz2
import io
import lzma
import re
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from copy import copy
from difflib import get_close_matches
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO, Any, cast

from isal import igzip, igzip_lib, isal_zlib

from textrnn.errors import TextrnnError

_DECOMPRESSORS: dict[str, Callable[..., Any]] = {".gz": igzip.open, ".bz2": bz2.open, ".xz": lzma.open}

_FIRST_BYTES = {
    ".gz": re.compile(rb"\x1f\x8b\x08"),
    ".bz2": re.compile(rb"BZh[1-9](1AY&SY|\x17rE8P\x90)"),  # followed by the first block's mark, or the end's
    ".xz": re.compile(rb"\xfd7zXZ\x00"),
}

OF_MACOS = re.compile(r"(^|/)(__MACOSX/|\._|\.DS_Store$)")
"""Finds the paths of files that macOS adds to archives."""

_ISAL_ERROR = cast(type[Exception], isal_zlib.error)  # its stub takes it for an instance

_DAMAGE = (EOFError, OSError, lzma.LZMAError, tarfile.TarError, zipfile.BadZipFile, zlib.error, _ISAL_ERROR)
"""What is raised for an archive that is cut short or is something else."""

_BLOCK = 1 << 18


@contextmanager
def open_member(archive: Path, member: str | None) -> Iterator[IO[bytes]]:
    """Yields the bytes of `member` of `archive`; without one, of its only file, or of `archive` itself if it is none.

    The archive is a zip (or wheel) or a tar. That, and what is compressed with gzip, bzip2 or xz, archive
    or member, is recognised by the first bytes. The stream is read once, front to back.

    Raises:
        TextrnnError: the archive is missing, damaged or none; the member is missing, is not named where
            there are several, or its path leads out of the archive. Damage met later, while the caller
            reads, is reported alike.
    """
    if member is None and archive.is_file():
        with _damage_reported(archive):
            member = _only_member(archive)
    with open_stream(archive, member) as stream:
        yield stream


@contextmanager
def open_stream(archive: Path, member: str | None) -> Iterator[IO[bytes]]:
    """Yields what `open_member` does, but without a member all of `archive`, a tar included, decompressed."""
    if not archive.is_file():
        raise TextrnnError(f"{archive}: no such file. Run the download stage first (dvc repro).")
    with ExitStack() as stack, _damage_reported(archive):
        stream: IO[bytes]
        if member is None:
            stream = stack.enter_context(archive.open("rb"))
        else:
            _check_path(archive, member)
            stream = _enter_archive(stack, archive, member)
        suffix = PurePosixPath(member or archive.name).suffix
        first = cast(io.BufferedReader, stream).peek(16)
        known = next((each for each, begin in _FIRST_BYTES.items() if begin.match(first)), suffix)
        decompress = _DECOMPRESSORS.get(known)
        yield stack.enter_context(decompress(stream)) if decompress else stream


def _only_member(archive: Path) -> str | None:
    """The one file of a zip or tar, None if `archive` is neither."""
    with archive.open("rb") as file:
        begins_as_zip = file.read(2) == b"PK"
    if begins_as_zip and zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as opened:
            kind, names = "zip", [item.filename for item in opened.infolist() if not item.is_dir()]
        if "[Content_Types].xml" in names:
            raise TextrnnError(
                f"{archive} is an Excel workbook (xlsx) or another Office file. Save the sheet as CSV (UTF-8)."
            )
    elif tarfile.is_tarfile(archive):
        with tarfile.TarFile.open(archive, "r:*") as tar:
            members = tar.getmembers()
        if not members:
            return None  # a file that begins with a block of NULs
        kind, names = "tar", [item.name for item in members if item.isfile()]
    else:
        return None
    names = [name for name in names if not OF_MACOS.search(name)]
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
            raise  # the system's own complaint (disk, permissions): not about the archive
        reason = str(error).splitlines()[0].rstrip(":.")
        raise TextrnnError(
            f"{archive} is damaged, or not the kind of archive that its entry in catalog.yaml says: "
            f"{reason}. Check format, member and sha256 there, then delete the file and download it again."
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
        names = [item.filename for item in opened.infolist() if not item.is_dir()]
        if member in names:
            return stack.enter_context(_open_zipped(opened, opened.getinfo(member)))
    else:
        tar = stack.enter_context(tarfile.TarFile.open(archive, "r:*"))
        names = [item.name for item in tar if item.isfile()]
        if member in names and (stream := tar.extractfile(member)):
            return stack.enter_context(stream)
    near = get_close_matches(member, names, n=3, cutoff=0.4) or sorted(names)[:3]
    raise TextrnnError(
        f"{archive} has no member {member!r}. Nearest of its {len(names)} files: {', '.join(near)}. "
        "Correct 'member' in catalog.yaml."
    )


def _open_zipped(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> IO[bytes]:
    is_encrypted = member.flag_bits & 1
    if member.compress_type != zipfile.ZIP_DEFLATED or is_encrypted:
        return archive.open(member)
    packed = copy(member)  # of which `zipfile` hands out the bytes as they are stored
    packed.compress_type, packed.file_size = zipfile.ZIP_STORED, packed.compress_size
    del packed.CRC
    return io.BufferedReader(_Inflated(archive.open(packed), member.CRC), _BLOCK)


class _Inflated(io.RawIOBase):
    """A zip's member, decompressed by Intel's ISA-L in a third of the time that zlib takes, which `zipfile` uses."""

    def __init__(self, packed: IO[bytes], crc: int) -> None:
        self._packed, self._expected, self._crc = packed, crc, 0
        self._decompressor = igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_DEFLATE)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        """Fills the front of `buffer`; returns how many bytes, 0 at the member's end."""
        data = b""
        while not data and not self._decompressor.eof:
            block = self._packed.read(_BLOCK) if self._decompressor.needs_input else b""
            if self._decompressor.needs_input and not block:
                raise EOFError("it ends within a member")
            data = self._decompressor.decompress(block, len(buffer))
        self._crc = isal_zlib.crc32(data, self._crc)
        if self._decompressor.eof and self._crc != self._expected:
            raise zipfile.BadZipFile("a member's CRC-32 is another")
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self._packed.close()
        super().close()
