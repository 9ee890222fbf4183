"""Makes word indices and the vocabulary out of the corpus' tables."""

from __future__ import annotations

import json
from pathlib import Path

from textrnn.corpus.tables import Corpus, write_tables
from textrnn.params import load_params
from textrnn.stage import run_stage, write_folder
from textrnn.text.encoding import encode_corpus


def main(corpus: Path, tokens: Path) -> None:
    """Read the splits in CORPUS; write encoded splits, encoder and a report to TOKENS."""
    encoder, frames, report = encode_corpus(Corpus.load(corpus), load_params().encode)
    with write_folder(tokens) as folder:
        write_tables(folder, frames)
        encoder.save(folder)
        content = json.dumps(report, indent=2, ensure_ascii=False) + "\n"
        (folder / "report.json").write_text(content, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    run_stage(main)
