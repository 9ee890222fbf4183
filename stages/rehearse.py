"""Stage `rehearse`: the report on made-up results, so that none fails after the trainings."""

from __future__ import annotations

import sys
from pathlib import Path

from textrnn.config.plan import load_planned_stage
from textrnn.config.validation import Strict
from textrnn.errors import TextrnnError
from textrnn.report.rehearsal import rehearse
from textrnn.stage import run_stage, write_folder


def main(plan: Path, corpus: Path, tokens: Path, folder: Path) -> None:
    """Writes a made-up report on CORPUS and TOKENS to a scratch folder, and to FOLDER that it can be made.

    The content of FOLDER is always the same, so that a changed rehearsal retrains nothing.
    """
    study = load_planned_stage(plan, Strict).study
    try:
        rehearse(study, corpus, tokens)
    except TextrnnError as error:
        raise TextrnnError(f"the report cannot be made for this corpus: {error} Nothing was trained.") from None
    except Exception:
        sys.stderr.write("The report cannot be made for this corpus, and nothing was trained. A defect of ours:\n")
        raise
    with write_folder(folder) as fresh:
        (fresh / "rehearsed.txt").write_text("The report can be made.\n", encoding="utf-8")


if __name__ == "__main__":
    run_stage(main)
