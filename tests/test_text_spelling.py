"""Tokens in a text's own spelling."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from textrnn.text.spelling import spellings
from textrnn.text.tokenizer import tokenize


def spell(text: str) -> list[tuple[str, str, bool]]:
    """Token, spelling, and whether something separates it from the one before."""
    texts = pl.Series([text], dtype=pl.String)
    tokens = tokenize(texts)
    return [(token, *own) for token, own in zip(tokens[0], spellings(texts, tokens)[0], strict=True)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A Story", "A| Story"),
        ("Don’t!", "Do|n’t|!"),
        ("so… no....", "so|…| no|...."),
        ("<b>Great</b><br />i am", "Great| i| am"),
        ('<a href="b>c">c</a>', "c"),
        ("a <3 b", "a| <|3| b"),
        ("a <b and c>", "a| <|b| and| c|>"),
        ("salt &amp; &eacute;t&eacute;", "salt| &amp;| &eacute;t&eacute;"),
        ("Cafe\u0301 x", "Cafe\u0301| x"),
        ("by-the 7/10", "by|-|the| 7/10"),
        ("\u200fzero\u200bwidth\x1b[31m", "zero| width| [|31m"),
        ("", ""),
    ],
)
def test_tokens_are_spelled_as_the_text_spells_them(text: str, expected: str) -> None:
    """With a space where something separates a token from the one before."""
    assert "|".join(" " * apart + own for _, own, apart in spell(text)) == expected


def test_what_cannot_be_found_is_its_own_spelling_and_the_next_words_are_found_again() -> None:
    """The last sigma of a Greek word has another form than a sigma by itself, so ΟΔΟΣ is not found letter by letter."""
    assert spell("ΟΔΟΣ Nice ΟΔΟΣ, End") == [
        ("οδος", "οδος", False),
        ("nice", "Nice", True),
        ("οδος", "οδος", True),
        (",", ",", True),
        ("end", "End", True),
    ]


def test_each_text_has_its_own() -> None:
    texts = pl.Series(["A b", "", "B A"])
    words = [[word for word, _ in each] for each in spellings(texts, tokenize(texts))]
    assert words == [["A", "b"], [], ["B", "A"]]


@settings(max_examples=50, deadline=None)
@given(st.text(st.characters(codec="utf-8", max_codepoint=0x2FF), max_size=40))
def test_every_token_has_one_and_nothing_invisible_is_in_it(text: str) -> None:
    for token, own, _ in spell(text):
        assert tokenize(pl.Series([own]))[0].to_list() == [token] or own == token
        assert all(letter.isprintable() for letter in own)
