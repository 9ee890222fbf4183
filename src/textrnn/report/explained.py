"""Explanations in colour, in the terminal and as HTML: green speaks for the prediction, red against it."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from typing import Any

from rich.console import Console
from rich.text import Text

from textrnn.modeling.attributions import Explanation, Word

LEVELS = 4
"""So many shades of a colour; a word with less than a tenth of the text's largest attribution has none."""

MOST = 5
"""So many words are also named with their numbers, for and against."""

_SHADES = dict(enumerate(("#d9f0d3", "#a6dba0", "#7fbf7b", "#5aae61"), 1))
_SHADES |= {-level: shade for level, shade in enumerate(("#fddbc7", "#f4a582", "#e58368", "#d6604d"), 1)}


def signed(value: float) -> str:
    """Returns `+1.52`, `−0.40`, `+0.003`."""
    return f"{value:{'+.2f' if abs(value) >= 0.095 else '+.1g'}}".replace("-", "−")


def shades(words: Sequence[Word]) -> list[int]:
    """Returns the shade of each word, from `-LEVELS` (against) to `LEVELS` (for)."""
    values = [word.attribution or 0.0 for word in words]
    most = max(map(abs, values), default=0.0)
    return [
        0 if abs(value) < most / 10 or not most else ceil(LEVELS * abs(value) / most) * (1 if value > 0 else -1)
        for value in values
    ]


def sides(words: Sequence[Word]) -> tuple[list[str], list[str]]:
    """Returns the words that speak most for the prediction, and most against it, with their numbers."""
    read = [(word.attribution, word.word) for word in words if word.attribution]
    ranked = sorted(read, key=lambda each: -abs(each[0]))
    both = ([f"{word} {signed(value)}" for value, word in ranked if (value > 0) == way][:MOST] for way in (True, False))
    return next(both), next(both)


def gaps(words: Sequence[Word]) -> str:
    """Returns what the model does not know or read of a text, as a sentence; empty if there is nothing."""
    unknown = list(dict.fromkeys(word.word for word in words if not word.known and word.attribution is not None))
    unread = sum(word.attribution is None for word in words)
    parts = [f"unknown: {' '.join(unknown)}"] if unknown else []
    parts += [f"not read, because the text is too long: {unread:,} of {len(words):,} words"] if unread else []
    return "; ".join(parts)


def rows(found: Sequence[Explanation]) -> list[dict[str, Any]]:
    """Returns what templates show of each explanation."""
    return [
        {
            "label": each.label,
            "probability": f"{each.probability:.3f}",
            "log_odds": signed(each.log_odds),
            "without_words": signed(each.without_words),
            "words": list(zip(each.words, shades(each.words), strict=True)),
            "sides": sides(each.words),
            "gaps": gaps(each.words),
            "warning": each.warning,
        }
        for each in found
    ]


def page(found: Sequence[Explanation], model: str) -> str:
    """Returns a page of HTML about what `model` says, that needs no other file and has no script."""
    from textrnn.report.rendering import render  # imports pandas and matplotlib

    return render("explanations.html", texts=rows(found), model=model)


def show(found: Sequence[Explanation], model: str, console: Console) -> None:
    """Prints what `model` says and why, in colour where the console is a terminal that has it."""
    console.print(Text(f"{model}:"), soft_wrap=True)
    for number, (each, row) in enumerate(zip(found, rows(found), strict=True)):
        text = Text("\n" if number else "")
        text.append(f"{row['label']}, probability {row['probability']}; log-odds {row['log_odds']}, ")
        text.append(f"without words {row['without_words']}\n  ")
        for word, shade in row["words"]:
            text.append(" " if word.apart else "")
            colour = f"black on {_SHADES[shade]}" if shade else ""
            text.append(word.word, f"{colour} {'' if word.known else 'underline'}".strip())
        for side, words in zip(("for it", "against it"), row["sides"], strict=True):
            text.append(f"\n  {side}: {' · '.join(words)}" if words else "")
        text.append(f"\n  {row['gaps']}" if row["gaps"] else "")
        text.append(f"\n  warning: {each.warning}" if each.warning else "")
        console.print(text, soft_wrap=not console.is_terminal)
