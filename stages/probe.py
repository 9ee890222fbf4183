"""Stage `probe@<experiment>`: how far back through the text the gradient of a trained network reaches."""

from __future__ import annotations

import sys
from pathlib import Path

import polars as pl

from textrnn.config.experiment import Experiment
from textrnn.config.plan import load_planned_stage
from textrnn.config.validation import Strict
from textrnn.errors import TextrnnError
from textrnn.modeling.batches import Tokens
from textrnn.modeling.memory import GRADIENT_SCHEMA, TEXTS, gradient_norms, gradient_rows, long_texts
from textrnn.modeling.saved_model import load_model
from textrnn.run_folder import RunFolder, digest
from textrnn.stage import run_stage, write_folder


def main(plan: Path, run: Path, tokens: Path, out: Path) -> None:
    """Probes the experiment of PLAN on texts of the validation split."""
    name = load_planned_stage(plan, Strict).name
    trained = RunFolder.load(run)
    if trained.kind != "experiment":
        raise TextrnnError(
            f"{name} is a {trained.kind}, which has no gradient. Name experiments in params.yaml: probes."
        )
    if digest(tokens) != trained.inputs["tokens"]:
        raise TextrnnError(f"{run} was trained on tokens that differ from those in {tokens}. Run `dvc repro`.")
    file, experiment = tokens / "valid.parquet", Experiment.model_validate(trained.params)
    valid = Tokens.load(file, experiment)
    rows, distances = long_texts(valid.lengths)
    ids = valid.ids[rows].to_list()
    table = pl.DataFrame(schema=GRADIENT_SCHEMA)
    for seed in trained.finished_seeds:
        model, encoder, _ = load_model(run / "model" / str(seed))
        known = Tokens.load(file, experiment, encoder.vocabulary)
        table.extend(gradient_rows(seed, ids, gradient_norms(model, known, rows, distances)))
    with write_folder(out) as folder:
        table.sort("seed", "id", "distance").write_parquet(folder / "gradients.parquet")
    shorter = int((valid.lengths < distances).sum())
    sys.stdout.write(
        f"{name}: {len(rows)} validation texts, {distances} distances from the end, "
        f"seeds: {', '.join(map(str, trained.finished_seeds)) or 'none'}; "
        f"left out: {shorter} shorter, {len(valid) - shorter - len(rows)} after the first {TEXTS}\n"
    )


if __name__ == "__main__":
    run_stage(main)
