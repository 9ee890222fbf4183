"""Stage `compare`: the study's run folders -> its report: leaderboard, tests, tables, pictures, page."""

from __future__ import annotations

import sys
from pathlib import Path

from rich.console import Console

from textrnn.config.plan import ReportPlan, load_planned_stage
from textrnn.errors import TextrnnError
from textrnn.project.prune import undeclared
from textrnn.report import study
from textrnn.report.plots import lettering
from textrnn.report.summary import show
from textrnn.search.winner import with_winners
from textrnn.stage import run_stage, write_folder


def main(plan: Path, runs: Path, corpus: Path, tokens: Path, embeddings: Path, report: Path) -> None:
    """Compares the RUNS that PLAN declares, and writes the REPORT folder."""
    settings = load_planned_stage(plan, ReportPlan).settings
    params = with_winners(settings.params, runs)
    names = [*dict.fromkeys((*params.experiments, *params.searches, *params.baselines, *params.ensembles))]
    undone = params.searches.keys() - params.experiments.keys()  # or done with other settings
    missing = [name for name in names if name in undone or not (runs / name / "run.json").is_file()]
    if missing:
        raise TextrnnError(
            f"{runs} lacks {len(missing)} of the {len(names)} runs that params.yaml declares: {', '.join(missing)}. "
            "Run `dvc repro`, which makes them first."
        )
    with write_folder(report) as fresh:
        study.write(
            fresh,
            params,
            study.Folders(runs, corpus, tokens, embeddings),
            settings.not_stated,
        )
    sys.stderr.writelines(f"warning: {sentence}\n" for sentence in lettering.advice())
    if left := ", ".join(map(str, undeclared(Path(), params))):
        sys.stderr.write(f"warning: the study does not declare {left}, and `textrnn repro` removes it\n")
    show(report, Console(highlight=False))


if __name__ == "__main__":
    run_stage(main)
