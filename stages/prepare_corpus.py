"""Makes the corpus' tables out of the downloaded archive."""

from __future__ import annotations

from pathlib import Path

from textrnn.config.plan import planned_study
from textrnn.corpus.formats import read_corpus
from textrnn.corpus.quality import quality_report
from textrnn.corpus.splits import split_corpus
from textrnn.corpus.tables import Corpus
from textrnn.stage import only_file, run_stage, write_folder


def main(plan: Path, download: Path, corpus: Path) -> None:
    """Reads the archive in DOWNLOAD, if PLAN holds; writes splits and a quality report to CORPUS."""
    params, catalog, _ = planned_study(plan)
    entry = catalog.corpus(params.corpus)
    archive = only_file(download) if entry.sources is None else download
    raw = read_corpus(archive, entry, params.prepare.unlabelled)
    frames, dropped, drawn = split_corpus(raw.frame, params.prepare)
    prepared = Corpus(params.corpus, tuple(entry.classes), frames)
    with write_folder(corpus) as folder:
        prepared.save(folder, quality_report(prepared, raw.skipped, dropped, drawn))


if __name__ == "__main__":
    run_stage(main)
