"""How a text itself spells its tokens, which are in lower case, composed, and without HTML."""

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence

import polars as pl

from textrnn.text.tokenizer import tokenize

Spelling = tuple[str, bool]
"""A token as the text has it, and whether anything separates it from the one before."""

_MARKUP = re.compile(r"""<!--.*?-->|<(?:"[^"]*"|'[^']*'|[^'"<>])*>""", re.DOTALL)
"""What may be a comment or a tag: it is one if it has no tokens."""

_PIECE = re.compile(r"&#?\w+;|\.{2,}|.", re.DOTALL)

_LONGER = 4  # times as long as a token the text's own letters may be, such as the parts of a Korean syllable


def spellings(texts: pl.Series, tokens: pl.Series) -> list[list[Spelling]]:
    """Returns the spelling of each of `tokens`, which are `tokenize(texts)`, list[str] [texts], in `texts` (str).

    A token whose letters cannot be found in the text, as in a rare script, is its own spelling.
    """
    plain = _plain({found[0] for text in texts for found in _MARKUP.finditer(text)})
    tags = {markup for markup, letters in plain.items() if not letters}
    pieces = [list(_pieces(text, tags)) for text in texts]
    plain |= _plain({piece for each in pieces for piece in each})
    return [_spell(each, plain, words) for each, words in zip(pieces, tokens.to_list(), strict=True)]


def _plain(pieces: set[str]) -> dict[str, str]:
    """The letters of the tokens of each piece; none of white space and tags."""
    distinct = pl.Series(sorted(pieces), dtype=pl.String)
    return dict(zip(distinct, tokenize(distinct).list.join(""), strict=True))


def _pieces(text: str, tags: set[str]) -> Iterator[str]:
    """Tags, entities, runs of dots, and single characters with the marks that follow them."""
    start = 0
    for found in _MARKUP.finditer(text):
        if found[0] in tags:
            yield from _letters(text[start : found.start()])
            yield found[0]
            start = found.end()
    yield from _letters(text[start:])


def _letters(text: str) -> Iterator[str]:
    piece = ""
    for letter in _PIECE.findall(text):
        if piece and not unicodedata.combining(letter[0]):
            yield piece
            piece = ""
        piece += letter
    if piece:
        yield piece


def _spell(pieces: Sequence[str], plain: Mapping[str, str], tokens: Sequence[str]) -> list[Spelling]:
    """Tokens follow each other in the letters of all pieces; after one that does not, the next is looked for."""
    letters = "".join(plain[piece] for piece in pieces)
    owner = [place for place, piece in enumerate(pieces) for _ in plain[piece]]
    found: list[Spelling] = []
    position, missed, last = 0, 0, -1
    for token in tokens:
        start = letters.find(token, position, position + len(token) + _LONGER * missed)
        if start < 0:
            missed += len(token)
            found.append((token, bool(found)))
            continue
        first, final = owner[start], owner[start + len(token) - 1]
        own = "".join(piece for piece in pieces[first : final + 1] if plain[piece])
        found.append((own if first > last else token, bool(found) and first > last + 1))
        position, missed, last = start + len(token), 0, final
    return found
