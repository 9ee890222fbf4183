"""Members are read in place; whatever is wrong with an archive is reported with a remedy."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from textrnn.corpus.archive import open_member
from textrnn.corpus.formats import MOST_BYTES
from textrnn.errors import TextrnnError

CONTENT = "text,label\nschön & gut,fresh\n".encode() * 50
COMPRESSORS = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress}


def read(archive: Path, member: str | None = None) -> bytes:
    with open_member(archive, member, MOST_BYTES) as stream:
        return stream.read()


def write_zip(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.mkdir("data")
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def write_tar(path: Path, members: dict[str, bytes], mode: str) -> Path:
    with tarfile.open(path, mode) as archive:
        for name, content in members.items():
            item = tarfile.TarInfo(name)
            item.size = len(content)
            archive.addfile(item, io.BytesIO(content))
    return path


def test_plain_file_is_its_own_member(tmp_path: Path) -> None:
    path = tmp_path / "corpus.csv"
    path.write_bytes(CONTENT)
    assert read(path) == CONTENT


@pytest.mark.parametrize("suffix", COMPRESSORS)
def test_compressed_file_is_decompressed(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"corpus.csv.{suffix}"
    path.write_bytes(COMPRESSORS[suffix](CONTENT))
    assert read(path) == CONTENT


@pytest.mark.parametrize("suffix", COMPRESSORS)
def test_compressed_member_of_a_wheel_is_decompressed(tmp_path: Path, suffix: str) -> None:
    member = f"data/corpus.csv.{suffix}"
    wheel = write_zip(tmp_path / "corpus-1.0-py3-none-any.whl", {member: COMPRESSORS[suffix](CONTENT)})
    assert read(wheel, member) == CONTENT


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2])
def test_zip_member_is_read_whole_by_pieces_and_by_lines(tmp_path: Path, method: int) -> None:
    long = CONTENT * 4_000  # many blocks, packed and unpacked
    with zipfile.ZipFile(tmp_path / "a.zip", "w", method) as archive:
        for name, content in {"empty": b"", "before": CONTENT, "long": long, "after": CONTENT}.items():
            archive.writestr(name, content)
    assert read(tmp_path / "a.zip", "empty") == b""
    assert read(tmp_path / "a.zip", "long") == long
    with open_member(tmp_path / "a.zip", "long", MOST_BYTES) as stream:
        assert stream.read(7) + stream.read(3_000_000) == long[:3_000_007]
    with open_member(tmp_path / "a.zip", "before", MOST_BYTES) as stream:
        assert list(stream) == CONTENT.splitlines(keepends=True)


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_tar_member_in_any_compression(tmp_path: Path, mode: str) -> None:
    archive = write_tar(tmp_path / "corpus.tar", {"a/one.txt": b"one", "a/two.txt": CONTENT}, mode)
    assert read(archive, "a/two.txt") == CONTENT


def test_nothing_is_unpacked(tmp_path: Path) -> None:
    archive = write_zip(tmp_path / "corpus.zip", {"data/a.txt": CONTENT})
    read(archive, "data/a.txt")
    assert list(tmp_path.iterdir()) == [archive]


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_missing_member_names_its_nearest(tmp_path: Path, kind: str) -> None:
    members = {"glove.6B.50d.txt": b"", "glove.6B.100d.txt": b"", "LICENSE": b""}
    path = tmp_path / f"vectors.{kind}"
    archive = write_zip(path, members) if kind == "zip" else write_tar(path, members, "w:gz")
    with pytest.raises(TextrnnError, match=r"no member 'glove\.6B\.10d\.txt'") as error:
        read(archive, "glove.6B.10d.txt")
    assert "glove.6B.100d.txt" in str(error.value)
    assert "3 files" in str(error.value)
    assert "Correct 'member' in catalog.yaml" in str(error.value)


def test_folder_is_no_member(tmp_path: Path) -> None:
    archive = write_zip(tmp_path / "corpus.zip", {"data/a.txt": b"a"})
    with pytest.raises(TextrnnError, match="no member 'data/'"):
        read(archive, "data/")


@pytest.mark.parametrize("member", ["/etc/passwd", "../secret.txt", "data/../../x", r"..\x", "C:/x", r"\\host\x"])
def test_member_that_leads_out_of_the_archive(tmp_path: Path, member: str) -> None:
    # Such a member is refused even where the archive really has it.
    archive = write_zip(tmp_path / "corpus.zip", {member: CONTENT})
    with pytest.raises(TextrnnError, match="leads out of the archive") as error:
        read(archive, member)
    assert repr(member) in str(error.value)
    assert "relative path without '..'" in str(error.value)


def truncated_zip(folder: Path) -> tuple[Path, str | None]:
    archive = write_zip(folder / "corpus.zip", {"a.txt": CONTENT})
    archive.write_bytes(archive.read_bytes()[:-40])
    return archive, "a.txt"


def truncated_tar(folder: Path) -> tuple[Path, str | None]:
    archive = write_tar(folder / "corpus.tar.gz", {"a.txt": CONTENT * 99}, "w:gz")
    archive.write_bytes(archive.read_bytes()[:-200])
    return archive, "a.txt"


def truncated_gz(folder: Path) -> tuple[Path, str | None]:
    archive = folder / "corpus.csv.gz"
    archive.write_bytes(gzip.compress(CONTENT)[:-20])
    return archive, None


def no_archive(folder: Path) -> tuple[Path, str | None]:
    archive = folder / "corpus.zip"
    archive.write_bytes(b"<html>Please log in</html>")
    return archive, "a.txt"


def no_bz2(folder: Path) -> tuple[Path, str | None]:
    archive = folder / "corpus.csv.bz2"
    archive.write_bytes(b"<html>Please log in</html>")
    return archive, None


def flipped_bit(folder: Path) -> tuple[Path, str | None]:
    archive = folder / "corpus.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as opened:
        opened.writestr("a.txt", CONTENT)
    archive.write_bytes(archive.read_bytes().replace(b"gut", b"git", 1))
    return archive, "a.txt"


def wrong_checksum(folder: Path) -> tuple[Path, str | None]:
    archive = write_zip(folder / "corpus.zip", {"a.txt": CONTENT})
    crc = zlib.crc32(CONTENT).to_bytes(4, "little")
    assert archive.read_bytes().count(crc) == 2
    archive.write_bytes(archive.read_bytes().replace(crc, b"\0\1\2\3"))
    return archive, "a.txt"


DAMAGES = [truncated_zip, truncated_tar, truncated_gz, no_archive, no_bz2, flipped_bit, wrong_checksum]


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_archive(tmp_path: Path, damage: Callable[[Path], tuple[Path, str | None]]) -> None:
    archive, member = damage(tmp_path)
    with pytest.raises(TextrnnError, match="is damaged, or not the kind of archive") as error:
        read(archive, member)
    assert str(archive) in str(error.value)
    assert "download it again" in str(error.value)


def test_missing_archive_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(TextrnnError, match=r"no such file.*dvc repro"):
        read(tmp_path / "corpus.zip", "a.txt")


def test_the_readers_own_trouble_is_not_blamed_on_the_archive(tmp_path: Path) -> None:
    archive = write_zip(tmp_path / "corpus.zip", {"a.txt": CONTENT})
    with pytest.raises(FileNotFoundError), open_member(archive, "a.txt", MOST_BYTES):
        (tmp_path / "absent").read_bytes()


def test_without_a_member_an_archive_of_one_file_is_read(tmp_path: Path) -> None:
    members = {"corpus.csv": CONTENT, "__MACOSX/._corpus.csv": b"x", ".DS_Store": b"x", "data/.DS_Store": b"x"}
    assert read(write_zip(tmp_path / "corpus.csv.zip", members)) == CONTENT
    assert read(write_zip(tmp_path / "named-otherwise", {"a.csv.gz": gzip.compress(CONTENT)})) == CONTENT
    assert read(write_tar(tmp_path / "corpus.tgz", {"corpus.csv": CONTENT}, "w:gz")) == CONTENT


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_without_a_member_an_archive_of_several_files_lists_them(tmp_path: Path, kind: str) -> None:
    members = {"train.csv": CONTENT, "test.csv": CONTENT}
    archive = tmp_path / "x"
    write_zip(archive, members) if kind == "zip" else write_tar(archive, members, "w:gz")
    with pytest.raises(TextrnnError, match=rf"is a {kind} of 2 files: test.csv, train.csv. Name the one .*'member'"):
        read(archive)


def test_a_workbook_is_named(tmp_path: Path) -> None:
    with pytest.raises(TextrnnError, match=r"is an Excel workbook \(xlsx\).*Save the sheet as CSV"):
        read(write_zip(tmp_path / "corpus.csv", {"[Content_Types].xml": b"x", "xl/workbook.xml": b"x"}))


@pytest.mark.parametrize("suffix", COMPRESSORS)
def test_what_is_compressed_is_known_by_its_first_bytes(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / "corpus.csv"
    path.write_bytes(COMPRESSORS[suffix](CONTENT))
    assert read(path) == CONTENT
    assert read(write_zip(tmp_path / "a.zip", {"data": COMPRESSORS[suffix](CONTENT)}), "data") == CONTENT


def test_what_only_begins_like_an_archive_is_read_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "corpus.csv"
    for content in (b"BZh,label\na,1\n", b"BZh9 text,label\na,1\n", bytes(20_000)):
        path.write_bytes(content)
        assert read(path) == content
    path.write_bytes(bz2.compress(b""))
    assert read(path) == b""
