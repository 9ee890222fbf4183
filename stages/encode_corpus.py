"""Stage `encode_corpus`: makes word indices and the vocabulary out of the tables."""

from __future__ import annotations

import json
from pathlib import Path

from textrnn.config.plan import load_planned_stage
from textrnn.config.sections import Encode
from textrnn.stage import run_stage, write_folder
from textrnn.text.encoding import encode_corpus


def main(plan: Path, corpus: Path, tokens: Path) -> None:
    """Reads the splits in CORPUS; writes encoded splits, encoder and a report to TOKENS."""
    settings = load_planned_stage(plan, Encode).settings
    with write_folder(tokens) as folder:
        encoder, report = encode_corpus(corpus, settings, folder)
        encoder.save(folder)
        content = json.dumps(report, indent=2, ensure_ascii=False) + "\n"
        (folder / "report.json").write_text(content, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    run_stage(main)
