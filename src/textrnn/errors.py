"""The exception whose message is for users, and how errors are shown."""

import errno
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from reprlib import Repr
from types import TracebackType

DAMAGE = (
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,  # a header that promises more than there is
    OSError,
    RuntimeError,  # nested too deep, encrypted, compressed in an unknown way
    SyntaxError,
    TypeError,
    ValueError,  # JSON, Unicode, pydantic
)
"""What reading a damaged file raises, besides the errors of libraries."""

_LIBRARIES = {
    *("_lzma", "igzip_lib", "polars.exceptions", "pyo3_runtime"),
    *("struct", "tarfile", "tokenize", "zipfile", "zlib"),
}
"""Modules whose errors say the same: by name, because most commands import few of them."""

_REPR = Repr()
_REPR.maxlevel = 3
_REPR.maxdict = _REPR.maxlist = 20
_REPR.maxstring = _REPR.maxother = _REPR.maxlong = 200

REDO = "Restore the folder with `dvc checkout --force`; if DVC's cache lacks it, delete it and run `dvc repro`."
"""What to do about a damaged result."""


class TextrnnError(Exception):
    """A mistake that the user can fix.

    Its message names what was given, the rule that it breaks, and what to do next. Entry points
    print the message without a traceback and exit with status 1.
    """


def first_line(error: BaseException) -> str:
    """Returns the first line of an error's message without its full stop; its type where it has no message."""
    return (str(error) or type(error).__name__).splitlines()[0].rstrip(".")


def shown(value: object) -> str:
    """Returns `repr(value)`, cut where it is long: a few aliases of YAML make it longer than any memory."""
    return _REPR.repr(value)


def is_damage(error: BaseException) -> bool:
    """Returns whether `error` may come of a damaged file; not where the system says that it is missing or not ours."""
    if isinstance(error, OSError):
        return error.errno in (None, errno.EINVAL)  # the latter of a place before the file's beginning
    return isinstance(error, DAMAGE) or type(error).__module__ in _LIBRARIES


@contextmanager
def readable(path: Path, advice: str = REDO) -> Iterator[None]:
    """Turns what reading a damaged file raises into a `TextrnnError` that names `path` and ends with `advice`."""
    try:
        yield
    except BaseException as error:  # a panic of polars is no `Exception`
        if not is_damage(error):
            raise
        raise TextrnnError(f"{path} is damaged: {_reason(error)}. {advice}") from None


def _reason(error: BaseException) -> str:
    if type(error).__module__ == "pydantic_core._pydantic_core" and hasattr(error, "errors"):
        first = error.errors()[0]
        return ": ".join(filter(None, [".".join(map(str, first["loc"])), first["msg"]]))[:300]
    reason = first_line(error)[:300]
    return reason if isinstance(error, ValueError | OSError) else f"{type(error).__name__}: {reason}"


def print_mistake(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    """Prints an uncaught exception; a `TextrnnError`, which an import may raise, without its traceback."""
    if isinstance(error, TextrnnError):
        sys.stderr.write(f"error: {error}\n")
    else:
        sys.__excepthook__(kind, error, traceback)


if sys.excepthook is sys.__excepthook__:
    sys.excepthook = print_mistake
