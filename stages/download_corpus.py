"""Stage `download_corpus`: the archive of the study's corpus, or one for each split, as published."""

from __future__ import annotations

from pathlib import Path

from textrnn.config.plan import CorpusDownload, load_planned_stage
from textrnn.corpus.fetch import fetch, fetch_splits
from textrnn.stage import run_stage


def main(plan: Path, archive: Path) -> None:
    """Downloads the corpus of PLAN into the folder ARCHIVE."""
    settings = load_planned_stage(plan, CorpusDownload).settings
    if settings.sources is not None:
        fetch_splits(settings.sources, archive)
    else:
        fetch(str(settings.source), settings.sha256, archive)


if __name__ == "__main__":
    run_stage(main)
