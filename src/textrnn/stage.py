"""What every entry point of `stages/` shares: arguments, readable errors, all-or-nothing output."""

from __future__ import annotations

import json
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import typer

from textrnn.errors import TextrnnError


def run_stage(main: Callable[..., None]) -> None:
    """Runs `main` with the command line's arguments, as typer reads them off its signature.

    A `TextrnnError` is printed to standard error as `error: …`, and the process exits with
    status 1; any other exception is a defect of ours and keeps its traceback.
    """
    # A killed stage cleans up behind it, as an interrupted one does.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(main)
    with readable_errors():
        app()


@contextmanager
def readable_errors() -> Iterator[None]:
    """Turns a `TextrnnError` into one message on standard error and exit status 1."""
    try:
        yield
    except TextrnnError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(1)


@contextmanager
def write_folder(folder: Path) -> Iterator[Path]:
    """Yields an empty temporary folder that takes the place of `folder` when the block succeeds.

    When the block raises (Ctrl-C included) nothing is left behind, and `folder` stays as it was.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as scratch:
        fresh = Path(scratch) / folder.name
        fresh.mkdir()
        yield fresh
        if folder.exists():
            folder.rename(Path(scratch) / "replaced")
        fresh.rename(folder)


def only_file(folder: Path) -> Path:
    """Returns the one file in `folder`: the archive that a download stage put there.

    Raises:
        TextrnnError: the folder is missing, or holds anything but one file.
    """
    files = sorted(path for path in folder.glob("*") if path.is_file()) if folder.is_dir() else []
    if len(files) != 1:
        found = ", ".join(path.name for path in files) or "nothing"
        raise TextrnnError(f"{folder} must hold one downloaded archive. Found: {found}. Run `dvc repro`.")
    return files[0]


def write_timings(file: Path, seconds: dict[str, float], tokens: float) -> None:
    """Writes the seconds that each seed took, and the tokens trained on per second (`tokens` are one seed's).

    Clock times differ between equal runs, so they lie outside of what DVC and git keep.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    content = {"seconds": seconds, "tokens_per_second": tokens * len(seconds) / sum(seconds.values())}
    file.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def loaded_code() -> list[Path]:
    """Returns the project's own source files that this process has imported, its entry point included.

    It is the code that a result depends on, and what the stage lists as `deps` in dvc.yaml.
    """
    library = Path(__file__).parent
    loaded = {Path(file) for module in sys.modules.values() if (file := getattr(module, "__file__", None))}
    return sorted(file for file in loaded if library in file.parents or file.resolve() == Path(sys.argv[0]).resolve())
