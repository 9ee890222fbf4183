from __future__ import annotations

import re
import unicodedata

import polars as pl
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from textrnn.text.tokenizer import tokenize


def tokens(text: str) -> list[str]:
    return tokenize(pl.Series([text])).to_list()[0]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("I don't like it", "i do n't like it"),
        ("It's, well, HE CAN'T!", "it 's , well , he ca n't !"),
        ("I'm sure they've said we'll, you're, I'd", "i 'm sure they 've said we 'll , you 're , i 'd"),
        ("good<br /><br />The end", "good the end"),
        ("bad <br>and<br/>good", "bad and good"),
        ("wait... what....... no…", "wait ... what ... no ..."),
        ("footage -- home movies --- and", "footage -- home movies --- and"),
        ('a "quiet" (odd) one', 'a " quiet " ( odd ) one'),
        ("“It\u2019s fine,” he didn\u2019t say", "\" it 's fine , \" he did n't say"),
        ("'some say'", "' some say '"),
        ("Mr. Smith of the U.S. rates it 7/10, or 3.5", "mr. smith of the u.s. rates it 7/10 , or 3.5"),
        ("O'Fallon and D'Artagnan", "o'fallon and d'artagnan"),
        ("by-the-numbers", "by - the - numbers"),
        ("end.Next", "end . next"),
        ("_great_ R&amp;B", "_ great _ r & b"),
        ("&quot;It&#39;s&quot;&nbsp;R&amp;B &#x27;&Eacute;t&eacute;", "\" it 's \" r & b ' été"),
        ("&bogus; AT&T &lt;3", "& bogus ; at&t <3".replace("at&t", "at & t").replace("<3", "< 3")),
        ("<i>Jaws</i>, </b>the<br  />good<BR/>one<HR>", "jaws , the good one"),
        ("a <a href=\"x.html\" target=_top>link</a> and <P CLASS='q'>", "a link and"),
        ("a < b and c > d, <3 -> <unk> a <b and c> d", "a < b and c > d , < 3 - > < unk > a < b and c > d"),
        (
            "I said &lt;b&gt; in a tag, &#60;br /&#62; and &amp;lt; <b &gt;",
            "i said < b > in a tag , < br / > and & lt ; < b >",
        ),
        ("a<!-- <b>one</b>\ntwo -- -->b <!-- open", "a b < ! -- open"),
        ('a <input disabled data-x1="a"> b <td nowrap COLSPAN=2>c', "a b c"),
        ("<img alt=\"1 > 0\" title='x <b> y'>seen 2 > 1", "seen 2 > 1"),
        ("cafe\u0301 재밌어요", "café 재밌어요"),
        ("a\x00b\u200bc\td\u2028e", "a b c d e"),
        ("Ёлки ÉTÉ 映画 ☺\ufe0f😀", "ёлки été 映画 ☺\ufe0f 😀"),
    ],
)
def test_follows_the_conventions_of_glove(text: str, expected: str) -> None:
    assert tokens(text) == expected.split(" ")


def test_nothing_visible_gives_no_tokens() -> None:
    assert tokenize(pl.Series(["", " \n\t", "\x00\u200b", "<br />"])).to_list() == [[], [], [], []]


def test_no_texts_give_no_lists() -> None:
    assert tokenize(pl.Series([], dtype=pl.String)).to_list() == []


@settings(deadline=None)
@given(st.text(st.characters(exclude_categories=("Cs",))))
def test_any_text_gives_clean_tokens_that_stay_as_they_are(text: str) -> None:
    found = tokens(text)
    assert not any(re.search(r"\s|[\x00-\x1f\x7f-\x9f]", token) for token in found)
    assert tokens(" ".join(found)) == found


@settings(deadline=None)
@given(st.text(st.characters(categories=("L", "N", "P", "S")), min_size=1))
def test_visible_text_never_vanishes(text: str) -> None:
    assume("<" not in text and "&" not in text)
    assert tokens(text)


def test_the_texts_given_stay_as_they_are() -> None:
    texts = pl.Series(["cafe\u0301 &amp;", "x"])
    tokenize(texts)
    assert texts.to_list() == ["cafe\u0301 &amp;", "x"]


@settings(deadline=None)
@given(st.text(st.characters(exclude_categories=("Cs",))))
def test_every_normal_form_gives_the_same_tokens(text: str) -> None:
    forms = {unicodedata.normalize(form, text) for form in ("NFC", "NFD")}
    assert len({tuple(tokens(form)) for form in forms}) == 1
