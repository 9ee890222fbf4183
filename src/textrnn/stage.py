"""What the entry points in `stages/` share: arguments, readable errors, all-or-nothing output."""

import errno
import json
import os
import re
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import typer

from textrnn import process
from textrnn.errors import TextrnnError

_SPACE = "Make room there (for scratch files: name another folder in TMPDIR), and run this again"
_ACCESS = "Check who owns it, and that the disk is not read-only"
WAYS_OUT = {
    errno.ENOSPC: _SPACE,
    errno.EDQUOT: _SPACE,
    errno.ENOENT: "`textrnn repro` makes what is a result; scratch files go where TMPDIR says",
    errno.EROFS: _ACCESS,
    errno.EACCES: _ACCESS,
    errno.EPERM: _ACCESS,
    errno.EISDIR: "A file was expected: name another one",
    errno.ENOTDIR: "A folder was expected: name another one",
    errno.ENAMETOOLONG: "Take a shorter name",
}
"""What to do about an error of the system that the user can fix."""

_OF_SYSTEM = re.compile(r"\(os error (\d+)\)")


def run_stage(main: Callable[..., None]) -> None:
    """Runs `main` with the command line's arguments, as typer reads them off its signature.

    Errors are handled as in `readable_errors`.
    """
    process.begin()
    process.warn_of_inserted_code()
    # A terminated stage cleans up, as an interrupted one does.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(main)
    with readable_errors():
        app()


@contextmanager
def readable_errors() -> Iterator[None]:
    """Turns what the user can fix into one message, `error: …`, on standard error, and exit status 1.

    That is a `TextrnnError`, or an error of a file or disk in `WAYS_OUT`. Any other exception is a defect of ours, and
    keeps its traceback. A reader that closes the output early, as `head` does, ends the process without a message.
    """
    try:
        try:
            yield
        finally:
            if sys.stdout is not None:  # closed, as by `>&-`
                sys.stdout.flush()
    except TextrnnError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(1)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is left to flush goes nowhere
        sys.exit(1)
    except OSError as error:
        if error.errno not in WAYS_OUT:
            raise
        where = f"{error.filename2 or error.filename}: " if error.filename else ""
        sys.stderr.write(f"error: {where}{error.strerror}. {WAYS_OUT[error.errno]}.\n")
        sys.exit(1)


def check_writable(file: Path | None) -> None:
    """Raises a `TextrnnError` where `file` cannot be written: called before the work whose result it is to hold."""
    if file is None:
        return
    if not file.parent.is_dir():
        raise TextrnnError(f"{file.parent} is no folder, so nothing can be written there. Make it, or name another.")
    if file.is_dir():
        raise TextrnnError(f"{file} is a folder, and no file can be written in its place. Name another file.")
    if not os.access(file if file.exists() else file.parent, os.W_OK):
        raise TextrnnError(f"{file} cannot be written: no permission, or a read-only disk. Name another file.")


@contextmanager
def write_folder(folder: Path) -> Iterator[Path]:
    """Yields an empty scratch folder that takes the place of `folder` when the block succeeds.

    When the block raises (Ctrl-C included) nothing is left behind, and `folder` stays as it was. What a killed process
    left is deleted here: DVC runs no stage twice at once.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    for remains in folder.parent.glob(f".{folder.name}.????????"):
        shutil.rmtree(remains, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as scratch:
        fresh = Path(scratch) / folder.name
        fresh.mkdir()
        try:
            yield fresh
        except Exception as error:
            # polars' errors of the system have the number in their message alone.
            if (number := _OF_SYSTEM.search(str(error))) and getattr(error, "errno", None) is None:
                raise OSError(int(number[1]), os.strerror(int(number[1])), str(folder)) from error
            if isinstance(error, OSError):
                error.filename = error.filename or str(folder)  # an error of writing, such as a full disk, has none
            raise
        if folder.exists():
            folder.rename(Path(scratch) / "replaced")
        fresh.rename(folder)


def only_file(folder: Path) -> Path:
    """Returns the one file in `folder`: the archive that a download stage put there.

    Raises `TextrnnError`: the folder is missing, or holds anything but one file.
    """
    files = sorted(path for path in folder.glob("*") if path.is_file())
    if len(files) != 1:
        found = ", ".join(path.name for path in files) or "nothing"
        raise TextrnnError(f"{folder} must hold one downloaded archive. Found: {found}. Run `dvc repro`.")
    return files[0]


def write_timings(file: Path, fingerprint: str, seeds: dict[int, dict[str, float]]) -> None:
    """Writes how long each seed took (`seconds`), and how fast it was (`tokens_per_second`).

    Clock times differ between equal runs, so neither DVC nor git has this file; the fingerprint identifies the run.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    content = {"fingerprint": fingerprint, "seeds": {str(seed): timing for seed, timing in seeds.items()}}
    file.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")
