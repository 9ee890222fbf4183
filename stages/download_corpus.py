"""Stage `download_corpus`: the archive of the study's corpus, or one for each split, as published."""

from __future__ import annotations

from pathlib import Path

from textrnn.config.plan import planned_study
from textrnn.corpus.fetch import fetch, fetch_splits
from textrnn.stage import run_stage


def main(plan: Path, archive: Path) -> None:
    """Downloads the corpus of the active study into the folder ARCHIVE, if PLAN holds."""
    params, catalog, _ = planned_study(plan)
    entry = catalog.corpus(params.corpus)
    if entry.sources is not None:
        fetch_splits(entry.sources, archive)
    else:
        fetch(str(entry.source), entry.sha256, archive)


if __name__ == "__main__":
    run_stage(main)
