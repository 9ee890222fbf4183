"""Stage `download_corpus`: the archive of the study's corpus, as published."""

from __future__ import annotations

from pathlib import Path

from textrnn.catalog import load_catalog
from textrnn.corpus.fetch import fetch
from textrnn.params import load_params
from textrnn.stage import run_stage


def main(archive: Path) -> None:
    """Download the corpus of the active study into the folder ARCHIVE, once the whole study is validated."""
    catalog = load_catalog()
    entry = catalog.corpus(load_params(catalog=catalog).corpus)
    fetch(entry.source, entry.sha256, archive)


if __name__ == "__main__":
    run_stage(main)
