"""The page needs no other file, repeats its bytes, and shows what strangers wrote without obeying it."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from urllib.parse import unquote
from xml.etree import ElementTree

import pandas as pd
import pytest
from fake_report import PICTURES, empty_report, make_report

from textrnn.report import page
from textrnn.report.plots import draw
from textrnn.report.sections import Report

VOID = {"meta", "link", "br", "hr", "img", "input"}
HOSTILE = "</script><script>alert(1)</script> a | b `c` *d* ![e](http://e.example/x) <img src=x onerror=f()> &amp; \\"


class Page(HTMLParser):
    """What the tests ask about a page: its elements with their attributes, and their text."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None], list[str]]] = []
        self._open: list[tuple[str, list[str]]] = []
        self.feed(html)
        self.close()
        assert not self._open, f"never closed: {self._open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        text: list[str] = []
        assert len(dict(attrs)) == len(attrs)
        self.elements.append((tag, dict(attrs), text))
        if tag not in VOID:
            self._open.append((tag, text))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs), []))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop()[0] == tag

    def handle_data(self, data: str) -> None:
        for _, text in self._open:
            text.append(data)

    def all(self, tag: str) -> list[tuple[dict[str, str | None], str]]:
        return [(attributes, "".join(text)) for name, attributes, text in self.elements if name == tag]

    def texts(self, tag: str) -> list[str]:
        return [" ".join(text.split()) for _, text in self.all(tag)]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Report]:
    folder = tmp_path_factory.mktemp("study")
    report = make_report(folder)
    draw.study(folder, report.board, report.tables)
    return folder, report


@pytest.fixture(scope="module")
def html(study: tuple[Path, Report]) -> str:
    folder, report = study
    page.write(folder, report)
    return (folder / "index.html").read_text(encoding="utf-8")


def _addresses(parsed: Page) -> Iterator[str]:
    for _, attributes, _ in parsed.elements:
        for name, value in attributes.items():
            if name in ("src", "href", "xlink:href", "srcset", "action", "data", "poster"):
                yield value or ""
            yield from re.findall(r"url\(([^)]*)\)", value or "")


def test_needs_nothing_but_itself_and_holds_no_script(html: str) -> None:
    parsed = Page(html)

    addresses = [address for address in _addresses(parsed) if not address.startswith("data:image/svg+xml,")]
    ids = [attributes["id"] for _, attributes, _ in parsed.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert addresses and all(address.startswith("#") and address[1:] in ids for address in addresses)
    assert not {tag for tag, _, _ in parsed.elements} & {"script", "iframe", "object", "embed", "svg", "link", "base"}
    assert len(parsed.all("img")) == len(parsed.all("figure"))
    assert not [name for _, attributes, _ in parsed.elements for name in attributes if name.startswith("on")]
    assert "@import" not in html and "url(" not in parsed.texts("style")[0]


def test_sections_are_in_the_order_in_which_a_reviewer_asks(html: str) -> None:
    parsed = Page(html)

    assert parsed.texts("h1") == ["Study fake on reviews"]
    order = [
        "answer",
        "leaderboard",
        "ensembles",
        "published",
        "protocol",
        "language-models",
        "search",
        "knobs",
        "effects",
        "data-size",
        "learning-curves",
        "metrics",
        "memory",
    ]
    order += ["errors", "hardest", "explanations", "calibration", "embeddings", "data", "reproduce", "method"]
    assert [attributes["id"] for attributes, _ in parsed.all("section")] == order
    assert [attributes["href"] for attributes, _ in parsed.all("a")] == ["#report", *(f"#{name}" for name in order)]
    levels = [int(tag[1]) for tag, _, _ in parsed.elements if re.fullmatch(r"h\d", tag)]
    assert all(after <= before + 1 for before, after in pairwise(levels))


def test_every_table_has_a_caption_a_region_and_headers_with_a_scope(html: str) -> None:
    parsed = Page(html)

    tables = parsed.all("table")
    regions = [attributes for attributes, _ in parsed.all("div") if attributes.get("role") == "region"]
    labels = [attributes["aria-label"] for attributes in regions]
    assert len(tables) > 12
    assert len(parsed.texts("caption")) == len(tables) == len(labels) - len(parsed.all("figure"))
    assert all(parsed.texts("caption")) and len(set(labels)) == len(labels)
    assert all(attributes["tabindex"] == "0" for attributes in regions)
    assert {attributes["scope"] for attributes, _ in parsed.all("th")} == {"col", "row"}
    assert sum(attributes["scope"] == "row" for attributes, _ in parsed.all("th")) == len(parsed.all("tr")) - len(
        tables
    )
    assert all(text for attributes, text in parsed.all("th"))
    assert {"Every run, best first", "Texts by split", "Analogies in glove: 1 of 2 right"} <= set(
        parsed.texts("caption")
    )


def test_pictures_are_inlined_as_they_are_with_a_text_alternative(study: tuple[Path, Report], html: str) -> None:
    parsed = Page(html)

    pictures = [attributes for attributes, _ in parsed.all("img")]
    assert len(pictures) == len(parsed.texts("figcaption")) == len(PICTURES)
    assert all(attributes["alt"] for attributes in pictures)
    shown = [unquote((attributes["src"] or "").removeprefix("data:image/svg+xml,")) for attributes in pictures]
    files = [ElementTree.fromstring((study[0] / f"{name}.svg").read_text(encoding="utf-8")) for name in PICTURES]
    assert [_words_of_svg(ElementTree.fromstring(svg)) for svg in shown] == [_words_of_svg(svg) for svg in files]


def _words_of_svg(svg: ElementTree.Element) -> list[tuple[str, dict[str, str]]]:
    """Every mark of a picture, whatever its line breaks."""
    return [(each.tag, {key: " ".join(value.split()) for key, value in each.attrib.items()}) for each in svg.iter()]


def test_a_picture_that_was_not_drawn_is_left_out(study: tuple[Path, Report], tmp_path: Path) -> None:
    page.write(tmp_path, study[1])

    assert Page((tmp_path / "index.html").read_text(encoding="utf-8")).all("img") == []


def test_what_strangers_wrote_is_shown_as_it_is_and_does_nothing(tmp_path: Path) -> None:
    report = make_report(tmp_path, hostile=HOSTILE)

    page.write(tmp_path, report)

    html = (tmp_path / "index.html").read_text(encoding="utf-8")
    parsed = Page(html)
    cells = [text for tag in ("td", "th") for _, text in parsed.all(tag)]
    assert cells.count(HOSTILE) == 4  # a slice; a word and its neighbour; answers to an analogy
    assert any(f"{HOSTILE}, " in cell for cell in cells)  # on the map
    assert f"{HOSTILE}, 75 of 75 wrong ({HOSTILE}): {HOSTILE}" in parsed.texts("li")
    test_needs_nothing_but_itself_and_holds_no_script(html)
    test_every_table_has_a_caption_a_region_and_headers_with_a_scope(html)
    # A row that a stray bar had cut would have another number of cells than its header.
    for table in re.findall(r"<table.*?</table>", html, flags=re.DOTALL):
        assert len({len(row) for row in _rows(table)}) == 1


NAMES = [
    "<b>",
    "a|b",
    "_private",
    "[x](http://y)",
    "`x`",
    "$x$",
    "# x",
    "- x",
    "1. x",
    "*",
    "&lt;",
    "\\",
    "a\x0bb",
    "\u202eb",
]


def test_names_of_classes_are_shown_as_they_are_or_written_out(study: tuple[Path, Report], tmp_path: Path) -> None:
    tables = study[1].tables
    words = pd.concat([tables["words"].iloc[[0]].assign(klass=name, word=name) for name in NAMES])
    hardest = pd.concat([tables["hardest"].iloc[[0]].assign(label=name, text=f"two\n {name}") for name in NAMES])
    named = {**tables, "words": words, "hardest": hardest}

    page.write(tmp_path, replace(study[1], tables=named))

    html = (tmp_path / "index.html").read_text(encoding="utf-8")
    parsed, shown = Page(html), [*NAMES[:-2], r"a\x0bb", r"\u202eb"]
    assert [row for row in _rows(html) if row[0] == row[-1] and row[0] in shown] == [[name, name] for name in shown]
    assert parsed.texts("strong")[: len(shown)] == shown
    texts = [text.rpartition("): ")[2] for text in parsed.texts("li") if "75 of 75 wrong" in text]
    assert texts == [f"two {name}" for name in [*NAMES[:-2], "a b", r"\u202eb"]]
    assert not any(0x20 > ord(letter) != 0x0A for letter in html)


def test_says_which_factors_do_nothing(study: tuple[Path, Report], html: str) -> None:
    paragraphs = Page(html).texts("p")

    assert (
        "Beyond chance, in points of test accuracy: "
        "cell from simple_rnn to lstm (+2.6); readout from max to mean (−1.4)."
    ) in paragraphs
    assert any(
        re.search(r"^No effect could be shown with 3 seeds; .* possible: l2 \(2\.1\)\.", text) for text in paragraphs
    )


def _rows(html: str) -> list[list[str]]:
    """The cells' text, row by row."""
    return [
        [unescape(re.sub(r"<[^>]+>", "", cell)) for cell in re.findall(r"<t[hd].*?</t[hd]>", row)]
        for row in re.findall(r"<tr>(.*?)</tr>", html.replace("\n", ""))
    ]


def test_numbers_of_the_tables_are_those_of_the_page(html: str) -> None:
    rows = _rows(html)

    header = ["factor", "change", "pairs", "points", "95 % interval", "p", "p after Holm", "second is"]
    assert rows[rows.index(header) + 1] == [
        "cell",
        "simple_rnn → lstm",
        "3",
        "+2.6",
        "+1.1 to +4.1",
        "< 0.001",
        "0.004",
        "better",
    ]
    assert ["bigru-combined", "gru", "40", "1 (1 to 1.1)", "0.5 (0.45 to 0.55)", "0.25 (0.23 to 0.28)"] in [
        row[:6] for row in rows
    ]
    assert ["1-10", "120", "70.0", "71.0", "72.0"] in rows
    assert ["11-20", "121", "68.0 (63.0 to 73.0)", "70.0 (65.0 to 75.0)", "72.3 (67.3 to 77.3)"] in rows
    assert ["bigru-combined", "5.0", "1.31", "2.1", "0.520", "0.498"] in rows
    # The best epochs are 2 and 1, the last ones 2 and 3.
    assert ["two-seeds", "2.5", "1.5", "0.550", "90.0", "71.0", "+19.0"] in rows
    assert ["nb_svm", ""] in [row[8:10] for row in rows if row[0] == "nb-svm"]


def test_balanced_accuracy_is_shown_where_it_is_not_the_accuracy(study: tuple[Path, Report], tmp_path: Path) -> None:
    report = study[1]
    titles = ["balanced accuracy %, validation", "balanced accuracy %, test"]
    assert titles == [name for name in Page(_html(tmp_path, report)).texts("th") if "balanced" in name]

    same = {f"test_balanced_accuracy{end}": report.board[f"test_accuracy{end}"] for end in ("", "_std")}
    equal = _html(tmp_path, replace(report, board=report.board.assign(**same)))
    assert titles[:1] == [name for name in Page(equal).texts("th") if "balanced" in name]


def test_says_how_far_the_gradient_shrinks(html: str) -> None:
    paragraphs = Page(html).texts("p")

    # 0.6 ** 4 and 0.5 ** 4, both within 10 %.
    assert (
        "From the last word to the one 4 before it the gradient shrinks by a factor of 7.7 (7 to 8.6) in simple-rnn, "
        "16 (15 to 18) in bigru-combined; in brackets the 95 % intervals."
    ) in paragraphs
    assert any("Measured on 40 validation texts" in text and "at least 5 words count" in text for text in paragraphs)


def test_compares_what_far_evidence_does_with_the_linear_model(study: tuple[Path, Report], tmp_path: Path) -> None:
    folder, report = study

    # The farthest group has no interval.
    said = (
        "From evidence 0-4 words before the end to 5-9, accuracy changes by these points: −1.0 in bigru-combined, "
        "−2.0 in lstm; in the linear model +0.3 in nb-svm."
    )
    assert any(text.endswith(said) for text in Page(_html(folder, report)).texts("p"))

    slices = report.tables["slices"]
    alone = replace(report, tables={**report.tables, "slices": slices[slices["experiment"] != "nb-svm"]})
    assert "accuracy changes by" not in _html(tmp_path, alone)


def test_one_seed_has_no_vote_and_intervals_over_texts_only(study: tuple[Path, Report], tmp_path: Path) -> None:
    folder, report = study
    votes = {name: float("nan") for name in ("vote_accuracy", "vote_low", "vote_high")}

    single = _html(tmp_path, replace(report, board=report.board.assign(seeds=1, **votes)))

    assert "vote of seeds %" in Page(_html(folder, report)).texts("th")
    assert not [name for name in Page(single).texts("th") if "vote" in name]
    assert ["nb_svm", ""] in [row[6:8] for row in _rows(single) if row[0] == "nb-svm"]
    assert "those of the test accuracy, over texts only" in single and "over seeds and texts" not in single
    assert "No effect could be shown with 1 seed;" in single


def test_names_the_embeddings_that_have_no_neighbours_before_training(html: str) -> None:
    parsed = Page(html)

    assert "random, word2vec start at random: no neighbours and no analogies before training." in parsed.texts("p")
    assert "Nearest words in bigru-combined after training" in parsed.texts("caption")


def _html(folder: Path, report: Report) -> str:
    page.write(folder, report)
    return (folder / "index.html").read_text(encoding="utf-8")


def test_a_language_model_needs_no_search(study: tuple[Path, Report], tmp_path: Path) -> None:
    tables = {name: table for name, table in study[1].tables.items() if not name.startswith("search")}
    empty = {name: table.head(0) for name, table in study[1].tables.items() if name.startswith("search")}
    html = _html(tmp_path, replace(study[1], tables={**tables, **empty}))
    assert "Language models after their last epoch" in html and 'id="search"' not in html


def test_says_why_nothing_is_shown(tmp_path: Path) -> None:
    page.write(tmp_path, empty_report(tmp_path))

    html = (tmp_path / "index.html").read_text(encoding="utf-8")
    for section in re.findall(r"<section.*?</section>", html, flags=re.DOTALL):
        assert re.search(r"<(p|li)>(<\w+>)*\w", section), section
    assert "None of the probed experiments finished a seed" in html
    assert (tmp_path / "report.md").is_file()


def test_says_what_validation_adds_and_where_ours_differ_from_published_figures(html: str) -> None:
    text = " ".join(" ".join(Page(html).texts("p")).split())
    assert "Of 2 published figures, 1 is within the 95 % interval of ours." in text
    assert "lstm (validation, best epoch) by −1.2 points" in text
    assert "A figure that was chosen on the test split is the best of several on these very texts" in text
    assert "unlabelled texts" in html
    assert "picking the epoch by its validation accuracy adds +1.2 points (−0.4 to +2.8) to the figure" in text


def test_says_how_many_settings_were_tried_and_how_optimistic_the_search_was(
    study: tuple[Path, Report], html: str
) -> None:
    tables, paragraphs, rows = study[1].tables, Page(html).texts("p"), _rows(html)
    rows = rows[next(place for place, cells in enumerate(rows) if "accuracy in the search %" in cells) :]
    for row in tables["searches"].itertuples():
        (said,) = (
            text for text in paragraphs if text.startswith(f"{row.search} tried {row.trials - row.refused} settings (")
        )
        assert f"Trial {row.winner} won: learning_rate: " in said
        cells = next(cells for cells in rows if cells[0] == row.search)
        figures = [f"{100 * value:.1f}" for value in (row.accuracy, row.accuracy_again)]
        assert cells[1:3] == figures
        assert f"was {figures[0]} % in the search (2 seeds), and is {figures[1]} % with 3 other seeds" in said
        assert said.endswith(f": an optimism of {cells[3]} points ({cells[4]}).")
        assert f"The best trials of {row.search}" in Page(html).texts("caption")


def test_importance_that_is_not_known_is_not_mentioned(study: tuple[Path, Report], html: str, tmp_path: Path) -> None:
    tables = study[1].tables
    unknown = tables["search_knobs"].assign(importance=None)

    without = _html(tmp_path, replace(study[1], tables={**tables, "search_knobs": unknown}))

    assert ["learning_rate", "41.0", "41.0"] in _rows(html) and "PED-ANOVA" in html
    assert "PED-ANOVA" not in without and "Importance of each knob" not in without


def test_of_a_search_whose_winner_failed_or_has_one_seed_nothing_is_made_up(
    study: tuple[Path, Report], tmp_path: Path
) -> None:
    tables = study[1].tables
    odd = tables["searches"].assign(seeds=[0, 1], accuracy_low=float("nan"), accuracy_high=float("nan"))

    said = Page(_html(tmp_path, replace(study[1], tables={**tables, "searches": odd}))).texts("p")

    assert any(text.endswith("Trained again, none of its seeds finished.") for text in said)
    assert any(re.search(r"with 1 other seed: an optimism of [+−][\d.]+ points\.$", text) for text in said)


def test_says_what_more_texts_bring_and_where_lines_meet(html: str) -> None:
    rows, paragraphs = _rows(html), Page(html).texts("p")

    sizes = ["100 texts", "1,000 texts", "8,000 texts"]
    accuracies = ["55.0 (53.0 to 57.0)", "56.0 (54.0 to 58.0)", "69.0 (67.0 to 71.0)"]
    assert rows[rows.index(["line", *sizes]) + 2] == ["random learned", *accuracies]
    differences = ["−5.0 (−8.0 to −2.0)"] * 3
    assert rows[rows.index(["first → second", *sizes]) + 1] == ["glove frozen → random learned", *differences]
    assert ["random learned", "glove frozen", "more than 8,000", "4,100 to more than 8,000"] in rows
    assert any("no guide to more texts: glove frozen −0.5 (−0.9 to −0.1). The" in text for text in paragraphs)
    assert any("these points of accuracy: glove frozen +1.1 (+0.4 to +2.0). The" in text for text in paragraphs)
    assert ["glove frozen", "100", "20.0", "0.90", "0.30", "8,000", "−0.5 (−0.9 to −0.1)", "73.1 (71.0 to 75.0)"] in [
        row[:8] for row in rows
    ]
    assert "accuracy does not rise" in [row[-1] for row in rows if row[0] == "random learned"]


def test_repeats_its_bytes(study: tuple[Path, Report], html: str, tmp_path: Path) -> None:
    for picture in study[0].glob("*.svg"):
        shutil.copy(picture, tmp_path)

    page.write(tmp_path, make_report(tmp_path))

    for name in ("index.html", "report.md"):
        assert (tmp_path / name).read_bytes() == (study[0] / name).read_bytes()
        assert b"\r" not in (tmp_path / name).read_bytes()


def test_sizes_for_a_study_of_28_runs_and_two_searches(study: tuple[Path, Report], html: str) -> None:
    short = (study[0] / "report.md").read_text(encoding="utf-8")

    assert len(study[1].board) == 28
    assert len(html.encode()) < 2_700_000
    assert len(short) < 20_000


def test_the_short_report_is_a_part_of_the_page(study: tuple[Path, Report], html: str) -> None:
    short = (study[0] / "report.md").read_text(encoding="utf-8")

    titles = re.findall(r"^## (.*)$", short, flags=re.MULTILINE)
    assert titles == [
        "Which model, and is it really better?",
        "Leaderboard",
        "Ensembles",
        "Published figures and ours",
        "What the validation adds",
        "Language models",
        "Search",
        "What a factor is worth",
        "Accuracy by the number of training texts",
        "How to reproduce it",
    ]
    assert set(titles) <= set(Page(html).texts("h2"))
    assert all(f"`{name}`" in short for name in study[1].board["experiment"])
    assert "![" not in short  # a comment has no files next to it
