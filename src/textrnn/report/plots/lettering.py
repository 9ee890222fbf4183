"""The corpus' own text in pictures: how it is written, and fonts that have its letters.

The pictures' font has Latin, Greek, Cyrillic and some more. Other letters are drawn with the first font that has them:
of a Python package, which is the same everywhere, or of the machine.
"""

from __future__ import annotations

import re
import unicodedata
import warnings
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.font_manager import findSystemFonts, fontManager, get_font
from matplotlib.text import Text

ROOM = 28
"""The longest name or word, in Latin letters; longer ones are cut."""

PACKAGES = ("koreanize_matplotlib", "noto_cjk_sans_otc", "manimgx_fonts")
"""Python packages with fonts. They are not imported: the first would change matplotlib's settings."""

_CJK = "fonts-noto-cjk", "noto-cjk-sans-otc"
_INSTALL = {
    "Hangul": ("fonts-nanum", "koreanize-matplotlib"),
    "CJK": _CJK,
    "Hiragana": _CJK,
    "Katakana": _CJK,
    "Symbol": ("fonts-symbola", "manimgx-fonts"),
}
_OTHERS = "fonts-noto-core", "manimgx-fonts"
"""By script: a package of Debian, and one of Python, with its letters."""

_JOINERS = "\u200c\u200d"
"""Invisible, and needed for Persian, Hindi and families of emoji."""

_boxes: dict[str, str] = {}
"""By script: a letter that no font has."""


def label(text: str, room: int = ROOM) -> str:
    """Returns `text` as a picture shows it: `visible`, and with more than `room` Latin letters cut in the middle."""
    shown = visible(text)
    if width(shown) <= room:
        return shown
    head, tail = shown[: 2 * room], shown[-2 * room :]
    while width(head) > 2 * room // 3:
        head = head[:-1]
    while width(tail) > room - 1 - width(head):
        tail = tail[1:]
    return f"{head}…{tail}"


def labels(names: Sequence[str]) -> list[str]:
    """Returns the `label` of each name; of long names with a common beginning the part that differs."""
    shown = [label(name) for name in names]
    for double in {each for each in shown if shown.count(each) > 1}:
        alike = {place: visible(names[place]) for place, each in enumerate(shown) if each == double}
        letters = enumerate(zip(*alike.values(), strict=False))
        differ = next((place for place, each in letters if len(set(each)) > 1), min(map(len, alike.values())))
        for place, name in alike.items():
            shown[place] = label("…" + name[max(differ - 4, 1) :])
    return shown


def visible(text: str) -> str:
    r"""Returns `text` on one line, with invisible and direction-changing characters written out.

    Example:
        A line's end is `\n`, a right-to-left mark `\u202e`, a space at an end or after another one `␣`.
    """
    shown = "".join(
        letter if letter.isprintable() or letter in _JOINERS else letter.encode("unicode_escape").decode()
        for letter in text
    )
    return re.sub(r"^ | $| (?= )|(?<= ) ", "␣", shown) or '""'


def width(text: str) -> int:
    """Returns about how many Latin letters are as wide as `text`: a Korean one counts as two."""
    wide = sum(unicodedata.east_asian_width(letter) in "WF" for letter in text)
    return len(text) + wide - sum(unicodedata.category(letter) in ("Mn", "Me", "Cf") for letter in text)


def write(figure: Figure, draw: Callable[[], None]) -> None:
    """Calls `draw`, which draws `figure`, and again with other fonts if letters were missing."""
    missing = _undrawn(draw)
    if more := dict.fromkeys(family for _, letters in _scripts(missing) if (family := _family(letters))):
        for text in figure.findobj(Text):
            text.set_fontfamily([*text.get_fontfamily(), *more])
        missing = _undrawn(draw)
    for script, letters in _scripts(missing):
        _boxes.setdefault(script, letters[0])


def advice() -> list[str]:
    """Returns a sentence for each script that this process has drawn as boxes, because no font has its letters."""
    return [
        f"pictures show boxes for {script} letters such as {letter}: no font here has them. Install Debian's {debian}, "
        f"or the Python package {python}, and draw again: `dvc repro --force --single-item compare`."
        for script, letter in _boxes.items()
        for debian, python in [_INSTALL.get(script, _OTHERS)]
    ]


def _undrawn(draw: Callable[[], None]) -> set[str]:
    """The letters for which `draw` found no glyph; its other warnings are passed on."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        draw()
    missing = set()
    for warning in caught:
        if found := re.match(r"Glyph (\d+) .* missing from", str(warning.message)):
            missing.add(chr(int(found[1])))
        else:
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
    return missing


def _scripts(letters: Iterable[str]) -> list[tuple[str, list[str]]]:
    """The letters by script, such as `Hangul`, both sorted. Others, such as emoji, are a `Symbol`."""
    found: dict[str, list[str]] = {}
    for letter in sorted(letters):
        script = unicodedata.name(letter, "other").split()[0] if unicodedata.category(letter)[0] in "LM" else "symbol"
        found.setdefault(script if script == "CJK" else script.title(), []).append(letter)
    return sorted(found.items())


@cache
def _families() -> list[str]:
    """The families of fonts in the order in which they are tried: those of `PACKAGES`, Noto's, then by name."""
    known = {entry.fname for entry in fontManager.ttflist}
    for path in sorted(set(findSystemFonts()) - known):  # installed after matplotlib made its list, which it keeps
        with suppress(OSError, RuntimeError):
            fontManager.addfont(path)
    installed = sorted(fontManager.get_font_names(), key=lambda name: (not name.startswith("Noto Sans"), name))
    brought = []
    for package in PACKAGES:
        spec = find_spec(package)
        for folder in (spec and spec.submodule_search_locations) or ():
            for file in sorted(file for file in Path(folder).rglob("*") if file.suffix in (".ttf", ".otf", ".ttc")):
                fontManager.addfont(file)
                brought.append(get_font(file).family_name)
    # The last resort has boxes alone.
    return [name for name in dict.fromkeys([*brought, *installed]) if "LastResort" not in name.replace(" ", "")]


def _family(letters: Iterable[str]) -> str | None:
    """The first family that has all of the letters, else the one with most of them; None where none has any."""
    wanted, best, most = set(letters), None, 0
    for family in _families():
        if (has := sum(_draws(family, letter) for letter in wanted)) > most:
            best, most = family, has
        if has == len(wanted):
            break
    return best


def _draws(family: str, letter: str) -> bool:
    """Whether the font has an outline for the letter; colour fonts have pictures instead."""
    try:
        font = get_font(fontManager.findfont(family, fallback_to_default=False))
        if not font.get_char_index(ord(letter)):
            return False
        font.load_char(ord(letter))
        return len(font.get_path()[0]) > 0
    except (OSError, RuntimeError, ValueError):
        return False
