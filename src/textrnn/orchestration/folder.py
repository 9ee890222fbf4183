"""What has to be true of a folder before a study runs in it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from textrnn.errors import TextrnnError
from textrnn.project import dvc, git

LOCK = Path(".dvc/tmp/textrnn.lock")


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
    """Keeps a second call out of the folder."""
    check_folder()
    LOCK.parent.mkdir(exist_ok=True)
    try:
        with FileLock(LOCK, blocking=False):
            yield
    except Timeout:
        raise TextrnnError(
            f"another `textrnn repro` is at work in {Path.cwd()}. Wait until it is done, or stop it."
        ) from None
