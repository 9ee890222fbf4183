"""Stage `download_vectors@<embedding>`: the archive with the word vectors, as published."""

from __future__ import annotations

from pathlib import Path

from textrnn.corpus.fetch import fetch
from textrnn.plan import planned_study
from textrnn.stage import run_stage


def main(embedding: str, plan: Path, archive: Path) -> None:
    """Download the vectors that EMBEDDING starts from into ARCHIVE, if PLAN holds; made here: leave it empty."""
    params, catalog = planned_study(plan)
    entry = catalog.vector_source(params.embeddings[embedding].source)
    fetch(entry.source, entry.sha256, archive)


if __name__ == "__main__":
    run_stage(main)
