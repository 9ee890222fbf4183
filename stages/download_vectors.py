"""Stage `download_vectors@<embedding>`: the archive with the word vectors, as published."""

from __future__ import annotations

from pathlib import Path

from textrnn.config.catalog import Source
from textrnn.config.plan import load_planned_stage
from textrnn.corpus.fetch import fetch
from textrnn.stage import run_stage


def main(plan: Path, archive: Path) -> None:
    """Downloads the vectors of PLAN into the folder ARCHIVE, which gets a note where they are made here."""
    settings = load_planned_stage(plan, Source).settings
    fetch(str(settings.source), settings.sha256, archive)


if __name__ == "__main__":
    run_stage(main)
