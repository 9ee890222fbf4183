"""The one exception that a user is meant to read."""

from __future__ import annotations

import sys
from types import TracebackType


class TextrnnError(Exception):
    """A mistake that the user can mend.

    Its message names what was given, the rule that it breaks, and what to do next. Entry points
    print the message without a traceback and exit with status 1.
    """


def print_mistake(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    """Prints what nobody caught: a `TextrnnError`, which may come of an import already, without its traceback."""
    if isinstance(error, TextrnnError):
        sys.stderr.write(f"error: {error}\n")
    else:
        sys.__excepthook__(kind, error, traceback)


if sys.excepthook is sys.__excepthook__:
    sys.excepthook = print_mistake
