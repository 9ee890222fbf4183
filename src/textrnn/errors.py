"""The one exception that a user is meant to read."""

from __future__ import annotations


class TextrnnError(Exception):
    """A mistake that the user can mend.

    Its message names what was given, the rule that it breaks, and what to do next. Entry points
    print the message without a traceback and exit with status 1.
    """
