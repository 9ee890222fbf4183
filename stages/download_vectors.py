"""Stage `download_vectors@<embedding>`: the archive with the word vectors, as published."""

from __future__ import annotations

from pathlib import Path

from textrnn.config.plan import planned_study
from textrnn.corpus.fetch import fetch
from textrnn.stage import run_stage


def main(plan: Path, archive: Path) -> None:
    """Downloads the vectors of PLAN's embedding into ARCHIVE, if PLAN holds; leaves it empty for those made here."""
    params, catalog, name = planned_study(plan)
    entry = catalog.vector_source(params.embeddings[name].source)
    fetch(entry.source, entry.sha256, archive)


if __name__ == "__main__":
    run_stage(main)
