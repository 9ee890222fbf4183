"""Stage `compare`: the study's run folders -> its report: leaderboard, tests, tables, pictures, page."""

from __future__ import annotations

import sys
from pathlib import Path

from rich.console import Console

from textrnn.config.plan import planned_study
from textrnn.errors import TextrnnError
from textrnn.project.prune import prune_folder, prune_lock
from textrnn.report import study
from textrnn.report.plots import lettering
from textrnn.report.summary import show
from textrnn.stage import run_stage, write_folder


def main(plan: Path, runs: Path, corpus: Path, tokens: Path, embeddings: Path, probes: Path, report: Path) -> None:
    """Compares the RUNS that params.yaml declares, and writes the REPORT folder, if PLAN holds."""
    params, catalog, _ = planned_study(plan)
    # DVC hashes these folders when this ends: what no longer belongs must not be a part of that.
    prune_lock(Path("dvc.lock"), params)
    names = [*params.experiments, *params.baselines]
    prune_folder(runs, names)
    prune_folder(embeddings, params.embeddings)
    prune_folder(probes, params.probes)
    missing = [name for name in names if not (runs / name / "run.json").is_file()]
    if missing:
        raise TextrnnError(
            f"params.yaml declares {len(names)} runs, and of these {runs} lacks: {', '.join(missing)}. "
            "Run `dvc repro`, which makes them first."
        )
    with write_folder(report) as fresh:
        study.write(
            fresh,
            params,
            study.Folders(runs, corpus, tokens, embeddings, probes),
            catalog.corpus(params.corpus).not_stated,
        )
    sys.stderr.writelines(f"warning: {sentence}\n" for sentence in lettering.advice())
    show(report, Console(highlight=False))


if __name__ == "__main__":
    run_stage(main)
