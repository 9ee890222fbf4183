"""Stage `download_vectors@<embedding>`: the archive with the word vectors, as published."""

from __future__ import annotations

from pathlib import Path

from textrnn.catalog import load_catalog
from textrnn.corpus.fetch import fetch
from textrnn.errors import TextrnnError
from textrnn.params import load_params
from textrnn.stage import run_stage


def main(embedding: str, archive: Path) -> None:
    """Download the vectors that EMBEDDING starts from into the folder ARCHIVE; made here: leave it empty."""
    catalog = load_catalog()
    embeddings = load_params(catalog=catalog).embeddings
    if embedding not in embeddings:
        raise TextrnnError(
            f"params.yaml: embeddings: no embedding {embedding!r}. Known: {', '.join(sorted(embeddings))}. "
            "Name one of these, or add it there."
        )
    entry = catalog.vector_source(embeddings[embedding].source)
    fetch(entry.source, entry.sha256, archive)


if __name__ == "__main__":
    run_stage(main)
