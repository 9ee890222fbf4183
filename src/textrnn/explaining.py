"""`textrnn explain`: why a trained model says what it says of texts from the command line, a file or standard input."""

import json
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import TextIO

import polars as pl
from rich.console import Console
from rich.progress import track

from textrnn.modeling.attributions import EXACT, Explanation
from textrnn.modeling.explanation import Explainer
from textrnn.prediction import STANDARD, TEXT, check_kind, check_question, chosen_model, read_table, report_gaps
from textrnn.process import cores
from textrnn.stage import check_writable

KINDS = ("text", "html", "jsonl")
CHUNK = 64  # texts that are explained between two updates of the progress bar
ADDED = ("model", *(field.name for field in fields(Explanation)))
"""What a JSON line has besides the columns of the table."""


def explain(
    texts: list[str],
    source: Path | None,
    target: Path,
    kind: str | None,
    given: str | None,
    run: str | None,
    seed: int | None,
) -> None:
    """Explains the predicted class of each of `texts`, or of the table in `source`, and writes that to `target`.

    Args:
        kind: the format of an output without a suffix; text on standard output.
        given: the format of an input without a suffix.
        run, seed: as of `predict`.

    Raises `TextrnnError`: as `predict`.
    """
    check_question(texts, source, run, seed)
    kind = check_kind(target, "text" if kind is None and target.suffix == ".txt" else kind, KINDS, "text")
    check_writable(None if target == STANDARD else target)
    table = pl.DataFrame({TEXT: texts}) if source is None else read_table(source, given, "--input-format", ADDED)
    with chosen_model(run, seed) as (model, folder):
        explainer = Explainer(folder, cores())
    parts = list(table.iter_slices(CHUNK))
    shown = track(parts, "explaining", console=Console(stderr=True), disable=table.height <= CHUNK)
    found = [each for part in shown for each in explainer.explain(part[TEXT])]
    if target == STANDARD:
        _write(table, found, model, kind, sys.stdout)
    else:
        with target.open("w", encoding="utf-8", newline="\n") as file:
            _write(table, found, model, kind, file)
    report_gaps(explainer.predictor, table.height, "see the warning of each")
    if inexact := sum(not each.is_exact for each in found):
        worst = max(each.error for each in found)
        sys.stderr.write(
            f"warning: the attributions of {inexact:,} of {table.height:,} texts miss the difference of the log-odds "
            f"by more than {EXACT:.0%}, at most by {worst:.1%}\n"
        )


def _write(table: pl.DataFrame, found: Sequence[Explanation], model: str, kind: str, file: TextIO) -> None:
    if kind == "jsonl":
        for row, each in zip(table.iter_rows(named=True), found, strict=True):
            file.write(json.dumps({**row, "model": model, **each.record()}, ensure_ascii=False, default=str) + "\n")
        return
    from textrnn.report import explained

    if kind == "html":
        file.write(explained.page(found, model))
    else:
        terminal = None if file is sys.stdout else False
        explained.show(found, model, Console(file=file, highlight=False, force_terminal=terminal))
