"""How numbers and names are written, the same in every report, picture and sentence; nothing where none is known."""

import re
import string
from collections.abc import Callable, Iterable
from math import isnan


def number(value: float | None, digits: str) -> str:
    """Returns `value` in a format such as `.2f` or `,`; nothing for None and NaN."""
    return "" if value is None or isnan(value) else f"{value:{digits}}"


def percent(share: float | None) -> str:
    """Returns `79.5` for 0.795."""
    return "" if share is None else number(100 * share, ".1f")


def points(share: float | None) -> str:
    """Returns a difference of shares in percentage points: `+2.6`, `−0.4`; what rounds to zero is `+0.0`."""
    return "" if share is None else number(100 * share, "+z.1f").replace("-", "−")


def two_digits(value: float) -> str:
    """Returns two significant digits, without an exponent where a reader can do without: `220`, `3.9`, `0.45`."""
    return "" if isnan(value) else f"{float(f'{value:.2g}'):,g}"


def p_value(value: float | None, name: str = "") -> str:
    """Returns `0.021`, or `< 0.001`; with the name `p`, for a sentence, `p = 0.021`."""
    if value is not None and value < 0.001:
        return f"{name} < 0.001".lstrip()
    return f"{name} = {value:.3f}" if name else number(value, ".3f")


def interval(low: float | None, high: float | None, form: Callable[[float], str] = percent) -> str:
    """Returns `75.7 to 79.5`, each limit written by `form`."""
    return "" if low is None or high is None or isnan(low) else f"{form(low)} to {form(high)}"


def estimate(value: float, low: float | None, high: float | None, form: Callable[[float], str] = percent) -> str:
    """Returns `77.6 (75.7 to 79.5)`; the value alone where there is no interval."""
    limits = interval(low, high, form)
    return form(value) + (f" ({limits})" if limits else "")


def count(number: int, noun: str) -> str:
    """Returns `1 seed`, `1,200 seeds`."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def duration(seconds: float) -> str:
    """Returns `42 s`, or `12 min`."""
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"


def setting(value: object) -> str:
    """Returns the value of a setting: `off` for None and NaN, `true` and `false`, a number with three digits."""
    if value is None or value != value:
        return "off"
    if isinstance(value, bool | str):
        return str(value).lower() if isinstance(value, bool) else value
    figure = float(str(value))
    return f"{figure:.0f}" if figure.is_integer() else f"{figure:.3g}"


def code(text: object) -> str:
    """Returns `text` as code in Markdown, in a longer fence where it holds backticks (CommonMark)."""
    fence = "`" * (max(map(len, re.findall("`+", str(text))), default=0) + 1)
    return f"{fence} {text} {fence}" if len(fence) > 1 else f"`{text}`"


def listed(names: Iterable[object]) -> str:
    """Returns names as code, with commas."""
    return ", ".join(map(code, names))


def escape(text: object) -> str:
    r"""Returns untrusted text as Markdown that shows it verbatim, on one line: `a|b` becomes `a\|b`."""
    one_line = " ".join(str(text).split())
    return one_line.translate({ord(mark): f"\\{mark}" for mark in string.punctuation if mark not in "',"})
