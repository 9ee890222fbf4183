"""Stage `compare`: the study's run folders -> its report: leaderboard, pictures, tables, data quality."""

from __future__ import annotations

import json
from pathlib import Path

from rich.console import Console

from textrnn.comparison import data_quality, leaderboard, plots, tables
from textrnn.errors import TextrnnError
from textrnn.orchestration.prune import prune_folder, prune_lock
from textrnn.params import load_params
from textrnn.run_folder import RunFolder
from textrnn.stage import run_stage, write_folder


def main(runs: Path, corpus: Path, tokens: Path, embeddings: Path, report: Path) -> None:
    """Compares the RUNS that params.yaml declares, and writes the REPORT folder."""
    params = load_params()
    # DVC hashes RUNS and EMBEDDINGS when this ends: what no longer belongs must not be a part of that.
    prune_lock(Path("dvc.lock"), params)
    prune_folder(runs, [*params.experiments, *params.baselines])
    prune_folder(embeddings, params.embeddings)
    declared = _load(runs, [*params.experiments, *params.baselines])
    quality = data_quality.to_markdown(
        data_quality.read_report(corpus / "quality.json"),
        data_quality.read_report(tokens / "report.json"),
        {name: data_quality.read_report(embeddings / name / "coverage.json") for name in params.embeddings},
    )
    study = tables.build(declared)
    board = leaderboard.build(declared, study["scores"])
    with write_folder(report) as fresh:
        plots.draw(fresh, board, study)
        for name, table in study.items():
            _write(fresh / f"{name}.csv", tables.to_csv(table))
        metrics = fresh / "metrics"
        metrics.mkdir()
        for name, values in leaderboard.to_metrics(board).items():
            _write(metrics / f"{name}.json", json.dumps(values, indent=2) + "\n")
        _write(fresh / "leaderboard.csv", tables.to_csv(board))
        _write(fresh / "leaderboard.md", leaderboard.to_markdown(board, params.study))
        _write(fresh / "data_quality.md", quality)
    leaderboard.show(report, Console(highlight=False))


def _load(runs: Path, names: list[str]) -> list[RunFolder]:
    missing = [name for name in names if not (runs / name / "run.json").is_file()]
    if missing:
        raise TextrnnError(
            f"params.yaml declares {len(names)} runs, and of these {runs} lacks: {', '.join(missing)}. "
            "Run `dvc repro`, which makes them first."
        )
    return [RunFolder.load(runs / name) for name in names]


def _write(file: Path, text: str) -> None:
    file.write_text(text, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    run_stage(main)
