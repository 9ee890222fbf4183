"""The best settings of a search on a terminal."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from textrnn.search.result import SearchResult
from textrnn.wording import percent, setting

BEST = 10


def show(folder: Path, console: Console) -> None:
    """Prints the best trials of the search in `folder`, with their settings.

    Raises:
        TextrnnError: see `SearchResult.load`.
    """
    result = SearchResult.load(folder)
    finished = result.trials[result.trials["outcome"] == "finished"].sort_values(["value", "trial"]).head(BEST)
    table = Table("trial", "loss", "valid %", *result.space, box=None, padding=(0, 2, 0, 0), header_style="bold")
    for row in finished.to_dict("records"):
        settings = [setting(row[key]) for key in result.space]
        table.add_row(str(row["trial"]), f"{row['value']:.4f}", percent(row["val_accuracy"]), *settings)
    counts = ", ".join(f"{count} {outcome}" for outcome, count in result.outcomes.items())
    console.print(Text(f"{result.name}: {sum(result.outcomes.values())} settings tried ({counts})"))
    console.print(table)
    console.print(Text(f"`dvc repro` trains the winner, trial {result.winner}, with the study's seeds."))
