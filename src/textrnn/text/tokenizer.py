"""Splits texts into tokens as GloVe's training texts were split (Penn Treebank, lower case).

`"I don't like it -- it's 7/10...<br />"` becomes `i do n't like it -- it 's 7/10 ...`. Hyphens are
punctuation: GloVe has the parts of compounds such as `by-the-numbers` far more often than the whole.
Scripts without spaces stay one token from one punctuation mark to the next. HTML tags and comments are
removed, then entities are decoded. Characters are composed (NFC).
"""

import html

import polars as pl

_ENTITY = r"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});"

_TAG = (
    r"<!--(?s:.*?)-->|</?(?:a|abbr|b|big|blockquote|body|br|button|center|cite|code|dd|del|div|dl|dt|em|font|form"
    r"|h[1-6]|head|hr|html|i|iframe|img|input|ins|li|ol|option|p|pre|q|s|select|small|span|strike|strong|sub|sup|table"
    r"|tbody|td|textarea|th|thead|tr|tt|u|ul)"
    r"""(?:\s+(?:[a-z][a-z0-9:_-]*\s*=\s*(?:"[^"]*"|'[^']*'|[^\s"'<>]+)"""
    r"|autoplay|checked|compact|controls|disabled|hidden|ismap|loop|multiple|muted|noshade|nowrap|readonly|required"
    r"|selected))*\s*/?>"
)
"""A comment or tag of HTML, in lower case. `<3`, `<unk>` and `a <b and c> d` do not match."""

_SPELLINGS = {
    **dict.fromkeys("\N{RIGHT SINGLE QUOTATION MARK}\N{LEFT SINGLE QUOTATION MARK}\N{ACUTE ACCENT}`", "'"),
    **dict.fromkeys("\N{LEFT DOUBLE QUOTATION MARK}\N{RIGHT DOUBLE QUOTATION MARK}", '"'),
    "\N{HORIZONTAL ELLIPSIS}": "...",
    "\N{NON-BREAKING HYPHEN}": "-",
}

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
        r"[^\s\p{Cc}\p{Cf}]\p{M}*",  # any other visible character by itself
    )
)


def tokenize(texts: pl.Series) -> pl.Series:
    """Returns the tokens of each of `texts` (str) as list[str], in order.

    The list is empty only where a text has nothing visible: white space, control and format characters
    separate tokens. Tokens joined by spaces give the same tokens again.
    """
    lower = compose(_without_entities(texts).str.to_lowercase())
    tokens = (
        pl.first()
        .str.replace_all(_TAG, " ")
        .str.replace_many(_SPELLINGS)
        .str.replace_all("n't", " n't", literal=True)
        .str.replace_all(r"\.{2,}", " ... ")  # a run of dots is one token
        .str.extract_all(_TOKEN)
    )
    # Only polars' streaming engine distributes texts over the cores.
    return lower.to_frame().lazy().select(tokens).collect(engine="streaming").to_series().rechunk()


def compose(texts: pl.Series) -> pl.Series:
    """Returns `texts` (str) in Unicode's composed form (NFC)."""
    # No character below U+0300 changes, and the search for others takes a tenth of the time.
    rows = texts.str.contains(r"[^\x00-\x{2ff}]").fill_null(False).arg_true()
    return texts.clone().scatter(rows, texts.gather(rows).str.normalize("NFC")) if len(rows) else texts


def _without_entities(texts: pl.Series) -> pl.Series:
    """Decodes named and numeric entities of HTML, such as `&quot;`; unknown ones stay.

    Tags are removed first, and a space after each `<` keeps decoded characters from forming one.
    """
    rows = texts.str.contains(_ENTITY).fill_null(False).arg_true()
    if not len(rows):
        return texts
    found = compose(texts.gather(rows)).str.replace_all(f"(?i){_TAG}", " ")
    entities = found.str.extract_all(_ENTITY).explode().unique()
    characters = {entity: html.unescape(entity) for entity in entities}
    return texts.clone().scatter(rows, found.str.replace_many(characters).str.replace_all("<", "< ", literal=True))
