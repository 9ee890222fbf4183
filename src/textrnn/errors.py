"""The exception whose message is for users, and how errors are shown."""

import sys
from types import TracebackType


class TextrnnError(Exception):
    """A mistake that the user can fix.

    Its message names what was given, the rule that it breaks, and what to do next. Entry points
    print the message without a traceback and exit with status 1.
    """


def first_line(error: BaseException) -> str:
    """Returns the first line of an error's message without its full stop; its type where it has no message."""
    return (str(error) or type(error).__name__).splitlines()[0].rstrip(".")


def print_mistake(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    """Prints an uncaught exception; a `TextrnnError`, which an import may raise, without its traceback."""
    if isinstance(error, TextrnnError):
        sys.stderr.write(f"error: {error}\n")
    else:
        sys.__excepthook__(kind, error, traceback)


if sys.excepthook is sys.__excepthook__:
    sys.excepthook = print_mistake
