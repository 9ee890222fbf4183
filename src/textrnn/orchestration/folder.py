"""What has to be true of a folder before a study runs in it."""

from __future__ import annotations

import fcntl
import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import chain
from pathlib import Path

import psutil
from filelock import FileLock, Timeout

from textrnn.config.yaml_file import HalfMerged
from textrnn.errors import TextrnnError
from textrnn.project import dvc, git
from textrnn.project.dvc_lock import read_stages

LOCK = Path(".dvc/tmp/textrnn.lock")

UNSYNCED = Path(".dvc/tmp/textrnn.unsynced")
"""Is there from when a call begins to change results until MLflow agrees with them."""

KEPT = Path(".dvc/tmp/textrnn.dvc.lock")
"""dvc.lock as a call found it; empty where there was none."""

IN_USE = Path(".dvc/tmp/rwlock")
"""Where DVC notes which files its processes use."""

DVC_LOCK = Path(".dvc/tmp/lock")
"""Locked by a DVC process, except while it runs a stage."""

PATIENCE, POLL_SECONDS = 30.0, 0.2
"""How long, and how often, a call looks whether the DVC processes of the last one have ended."""


def check_folder() -> None:
    """Raises a `TextrnnError` where the current folder is not a project's top folder."""
    for needed in (Path("dvc.yaml"), Path(".dvc")):
        if not needed.exists():
            raise TextrnnError(f"{needed}: not in {Path.cwd()}. Run this in the project's top folder, a git clone.")
    if not Path("dvc.yaml").read_bytes().strip():
        raise TextrnnError("dvc.yaml is empty. `git restore dvc.yaml` brings back what is committed.")
    reason = git.failure(Path(), "rev-parse", "--git-dir")
    if reason is not None and not dvc.works_without_git():
        raise TextrnnError(f"DVC needs git here: {reason}. Or do without: `dvc config core.no_scm true`.")


@contextmanager
def alone() -> Iterator[None]:
    """Keeps a second call out of the folder, and first repairs what a kill has left."""
    check_folder()
    LOCK.parent.mkdir(exist_ok=True)
    try:
        with FileLock(LOCK, blocking=False):
            _repair_lock(Path("dvc.lock"))
            _free_files()
            _clean_cache()
            yield
    except Timeout:
        raise TextrnnError(
            f"another `textrnn repro` is at work in {Path.cwd()}. Wait until it is done, or stop it."
        ) from None


def _repair_lock(lock: Path) -> None:
    """Brings dvc.lock back as the last call found it: DVC writes it in place, so a kill or a full disk may cut it off.

    What has run since is in DVC's run cache, and does not run again.
    """
    content = lock.read_bytes() if lock.is_file() else b""
    try:
        read_stages(lock)
        is_whole = not lock.is_file() or content.endswith(b"\n")
    except HalfMerged:
        raise
    except TextrnnError:
        if not KEPT.is_file():
            raise
        is_whole = False
    if not is_whole and KEPT.is_file():
        content = KEPT.read_bytes()
        if content:
            _replace(lock, content)
        else:
            lock.unlink()
        sys.stderr.write(
            "warning: dvc.lock was cut off, as by a kill. It is again what it was before the last `textrnn repro`, and "
            "what ran since comes from DVC's cache.\n"
        )
    _replace(KEPT, content)


def _free_files() -> None:
    """Waits until the DVC processes of a call that was killed have ended, and deletes their list of files in use.

    DVC takes a zombie for a process, and writes the list in place, so that a kill may cut it off.
    """
    deadline = time.monotonic() + PATIENCE
    was_cut_off = False
    while IN_USE.is_file() and time.monotonic() < deadline:
        try:
            used = json.loads(IN_USE.read_bytes())
            users = [*used.get("write", {}).values(), *chain(*used.get("read", {}).values())]
            at_work = any(_is_at_work(user["pid"]) for user in users)
        except ValueError:
            at_work, was_cut_off = not was_cut_off, True  # for a moment it may just be being written
        if not at_work:
            IN_USE.unlink(missing_ok=True)
        else:
            time.sleep(POLL_SECONDS)


def _clean_cache() -> None:
    """Deletes what a kill has left of a file in DVC's cache, and of a record of a run, unless DVC is at work here.

    DVC keeps such parts for ever. It takes a part of a record for whole, and fails on a folder without a record.
    """
    cache = dvc.cache_folder().resolve()
    # Another project may just be writing to a cache that is shared.
    settled = time.time() - (0.0 if cache.is_relative_to(Path().resolve()) else PATIENCE)
    with suppress(BlockingIOError), DVC_LOCK.open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        for folder in () if IN_USE.is_file() else chain(cache.glob("runs/*/*"), cache.glob("files/md5/*")):
            with suppress(OSError):  # another project was faster, or the folder holds more
                if folder.stat().st_mtime <= settled:
                    for part in folder.glob("*.tmp"):
                        part.unlink()
                    folder.rmdir()


def _is_at_work(pid: int) -> bool:
    with suppress(psutil.NoSuchProcess):
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    return False


def _replace(file: Path, content: bytes) -> None:
    """Writes `file` under another name first, so that it is whole at any moment."""
    fresh = file.with_name(f"{file.name}.tmp")
    fresh.write_bytes(content)
    fresh.replace(file)
