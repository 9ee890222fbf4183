"""Text of strangers in Markdown."""

from __future__ import annotations

import string


def escape(text: object) -> str:
    r"""Any text as Markdown that shows just it, on one line: `a|b` becomes `a\|b`."""
    one_line = " ".join(str(text).split())
    return one_line.translate({ord(mark): f"\\{mark}" for mark in string.punctuation if mark not in "',"})
