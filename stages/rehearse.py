"""Stage `rehearse`: the report on made-up results, so that none fails, or is nonsense, once training is paid for."""

from __future__ import annotations

import sys
from pathlib import Path

from textrnn.config.plan import planned_study
from textrnn.errors import TextrnnError
from textrnn.report.rehearsal import rehearse
from textrnn.stage import run_stage, write_folder


def main(plan: Path, corpus: Path, tokens: Path, folder: Path) -> None:
    """Makes the report of CORPUS and TOKENS up and throws it away, if PLAN holds; says in FOLDER that it can be made.

    What FOLDER says never changes: where another report can be made, nothing trains anew.
    """
    params = planned_study(plan).params
    try:
        rehearse(params, corpus, tokens)
    except TextrnnError as error:
        raise TextrnnError(f"the report cannot be made for this corpus: {error} Nothing was trained.") from None
    except Exception:
        sys.stderr.write("The report cannot be made for this corpus, and nothing was trained. A defect of ours:\n")
        raise
    with write_folder(folder) as fresh:
        (fresh / "rehearsed.txt").write_text("The report can be made.\n", encoding="utf-8")


if __name__ == "__main__":
    run_stage(main)
