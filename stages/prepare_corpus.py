"""Stage `prepare_corpus`: makes a table per split and a quality report out of the downloaded archive."""

from __future__ import annotations

from pathlib import Path

from textrnn.config.plan import CorpusPlan, load_planned_stage
from textrnn.corpus.formats import read_corpus
from textrnn.corpus.quality import quality_report
from textrnn.corpus.splits import split_corpus
from textrnn.corpus.tables import Corpus
from textrnn.stage import only_file, run_stage, write_folder


def main(plan: Path, download: Path, corpus: Path) -> None:
    """Reads the archive in DOWNLOAD; writes splits and a quality report to CORPUS."""
    settings = load_planned_stage(plan, CorpusPlan).settings
    archive = only_file(download) if settings.entry.sources is None else download
    raw = read_corpus(archive, settings.entry, settings.prepare.unlabelled)
    frames, dropped, drawn = split_corpus(raw.frame, settings.prepare)
    prepared = Corpus(settings.corpus, tuple(settings.entry.classes), frames)
    with write_folder(corpus) as folder:
        prepared.save(folder, quality_report(prepared, raw.skipped, dropped, drawn))


if __name__ == "__main__":
    run_stage(main)
