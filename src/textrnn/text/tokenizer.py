"""Splits texts into tokens the way GloVe's training texts were split (Penn Treebank, lower case).

`"I don't like it -- it's 7/10...<br />"` becomes `i do n't like it -- it 's 7/10 ...`. Hyphens are
punctuation: of compounds such as `by-the-numbers` GloVe has the parts far oftener than the whole.
Scripts that write no spaces between words stay one token from one punctuation mark to the next.
"""

from __future__ import annotations

import polars as pl

_SPELLINGS = {
    "<br />": " ",
    "<br/>": " ",
    "<br>": " ",
    "&amp;": "&",
    "\N{RIGHT SINGLE QUOTATION MARK}": "'",
    "\N{LEFT SINGLE QUOTATION MARK}": "'",
    "\N{ACUTE ACCENT}": "'",
    "`": "'",
    "\N{LEFT DOUBLE QUOTATION MARK}": '"',
    "\N{RIGHT DOUBLE QUOTATION MARK}": '"',
    "\N{HORIZONTAL ELLIPSIS}": "...",
    "\N{NON-BREAKING HYPHEN}": "-",
}
"""One spelling for what has many; HTML line breaks become spaces."""

_WORD = r"[\p{L}\p{M}\p{N}]"
_TOKEN = "|".join(
    (
        r"n't",
        r"'(?:s|m|d|re|ve|ll)(?-u:\b)",
        r"(?:[a-z]\.){2,}",  # u.s., e.g.
        r"(?:mrs?|ms|dr|st|jr|sr|vs)\.",
        r"[0-9]+(?:[.,:/][0-9]+)+",  # 1,000 3.5 7/10
        rf"[odl]'{_WORD}{{2,}}",  # o'neill, d'artagnan, l'amour
        rf"{_WORD}+",
        r"\.\.\.",
        r"--+",
        r"[^\s\p{Cc}\p{Cf}]\p{M}*",  # any other visible character stands alone
    )
)


def tokenize(texts: pl.Series) -> pl.Series:
    """Returns the tokens of each of `texts` (str) as list[str], in order.

    The list is empty only where a text has nothing visible: white space, control and format
    characters separate tokens and never stand in one. Tokens joined by spaces give the same tokens
    again.
    """
    tokens = (
        pl.first()
        .str.to_lowercase()
        .str.replace_many(_SPELLINGS)
        .str.replace_all("n't", " n't", literal=True)
        .str.replace_all(r"\.{2,}", " ... ")  # runs of dots of any length are one token
        .str.extract_all(_TOKEN)
    )
    # Polars' streaming engine alone shares texts among the cores.
    return texts.to_frame().lazy().select(tokens).collect(engine="streaming").to_series().rechunk()
