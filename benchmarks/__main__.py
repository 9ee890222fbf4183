"""Compares this project with the usual ways of doing the same work, and writes `reports/benchmarks.md`.

    python -m benchmarks --data FOLDER                  # everything: hours on two cores
    python -m benchmarks --data FOLDER --only encode    # one row; the page keeps the others
    python -m benchmarks --quick                        # miniature data: does everything run?

FOLDER holds the published archives of IMDB (aclImdb_v1.tar.gz or .tar.xz) and GloVe (glove.6B.zip or
glove.6B.100d.zip). What is missing is skipped and reported.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.status import Status

from benchmarks import pipeline, prediction, pretraining, report, scale, search, serving, text, training, vectors
from benchmarks.data import Workplace
from benchmarks.measure import Result, Skipped

BENCHMARKS: dict[str, tuple[str, Callable[[Workplace], Result]]] = {
    "epoch": ("one epoch of LSTM(32) on IMDB", training.epoch),
    "nine": ("SimpleRNN, LSTM, GRU x 3 seeds on IMDB", training.nine),
    "order": ("the order of batches, LSTM(32) on IMDB", training.order),
    "loop": ("our loop over time, 32 units on IMDB", training.loop),
    "arithmetic": ("float32 arithmetic rate on real tokens, LSTM(128)", training.arithmetic),
    "pretraining": ("language model of IMDB, LSTM(256)", pretraining.pretraining),
    "encode": ("50,000 IMDB reviews to ids, vocabulary included", text.encode),
    "embed": ("GloVe 100d zip to embedding matrix", text.embed),
    "word2vec": ("word2vec of 75,000 IMDB reviews", vectors.word2vec),
    "scale": ("IMDB 1x, 4x, 16x through encode and one epoch", scale.scale),
    "search": ("a search on Rotten Tomatoes", search.search),
    "study": ("the study from empty runs, downloads present, 2 jobs", pipeline.study),
    "nothing": ("a study with nothing to do", pipeline.nothing_to_do),
    "start": ("start-up of a data stage", pipeline.start),
    "predict": ("`textrnn predict` on 25,000 IMDB reviews", prediction.predict),
    "serving": ("requests to a served model, IMDB reviews", serving.serving),
    "soak": ("ten minutes of requests to a served model", serving.soak),
}


def main(
    only: Annotated[list[str] | None, typer.Option(help="A benchmark; more than once for more of them.")] = None,
    data: Annotated[Path | None, typer.Option(envvar="TEXTRNN_DATA", help="Folder with the archives.")] = None,
    quick: Annotated[bool, typer.Option(help="Miniature data, one repeat: the figures mean nothing.")] = False,
    reports: Annotated[Path | None, typer.Option(help="Where the page goes: reports/, nowhere with --quick.")] = None,
) -> None:
    """Compare this project with the usual ways of doing the same work."""
    unknown = sorted(set(only or []) - BENCHMARKS.keys())
    if unknown:
        raise typer.BadParameter(f"no benchmark {', '.join(unknown)}. Known: {', '.join(BENCHMARKS)}.")
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    console = Console(stderr=True, highlight=False)
    target = reports or (None if quick else Path("reports"))
    with tempfile.TemporaryDirectory() as scratch, console.status("") as status:
        for name in only or BENCHMARKS:
            work, run = BENCHMARKS[name]
            place = Workplace(data, Path(scratch), quick, partial(_say, status, name))
            try:
                row = report.row(work, run(place))
            except Skipped as reason:
                console.print(f"{name} skipped: {reason}", markup=False, soft_wrap=True)
                continue
            found = "; ".join(f"{claim['shown']} (wanted {claim['wanted']})" for claim in row["claims"])
            console.print(f"{name}: {found}", markup=False)
            if target:  # after each, for all of them take hours
                report.update(target, {name: row}, list(BENCHMARKS))


def _say(status: Status, name: str, what: str) -> None:
    status.update(f"{name}: {what}")


if __name__ == "__main__":
    typer.run(main)
