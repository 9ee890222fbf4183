"""What an explanation says of a text; `explanation.py` makes them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

EXACT, LEAST = 0.01, 0.1
"""Attributions may miss the difference of the log-odds by this share of it, or of the least difference that counts."""


@dataclass(frozen=True)
class Word:
    """A word of a text.

    Attributes:
        word: as the text spells it.
        token: as the model reads it.
        apart: whether anything separates it from the word before.
        known: whether the model, or any member of an ensemble, knows it.
        attribution: how much it adds to the log-odds; None if the text is too long and the model does not read it.
    """

    word: str
    token: str
    apart: bool
    known: bool
    attribution: float | None


@dataclass(frozen=True)
class Explanation:
    """What a model predicts for a text, and why.

    Attributes:
        probability: of the `label`.
        log_odds: of the label, with the words, and
        without_words: with zero vectors in their place. The attributions add up to the difference.
        error: by how much they miss it, as a share of it; of a difference below `LEAST`, as a share of that.
        warning: of a text of which the model knows no word; else empty.
    """

    label: str
    probability: float
    log_odds: float
    without_words: float
    error: float
    words: list[Word]
    warning: str = ""

    @property
    def is_exact(self) -> bool:
        """Whether the attributions add up."""
        return self.error <= EXACT

    def record(self) -> dict[str, Any]:
        """Returns what a JSON line says of it, its numbers with six decimals."""
        return {key: _rounded(value) for key, value in asdict(self).items()}

    @classmethod
    def of_record(cls, record: Mapping[str, Any]) -> Self:
        """Returns the explanation that a record holds."""
        own = {field.name: record[field.name] for field in fields(cls) if field.name in record}
        names = [field.name for field in fields(Word)]
        return cls(**{**own, "words": [Word(**{name: word[name] for name in names}) for word in own["words"]]})


def _rounded(value: Any) -> Any:
    if isinstance(value, list):
        return [{key: _rounded(each) for key, each in word.items()} for word in value]
    return round(value, 6) if isinstance(value, float) else value
