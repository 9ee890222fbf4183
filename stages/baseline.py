"""Stage `baseline@<name>`: fits a model without a network, and writes its run folder."""

from __future__ import annotations

import time
from pathlib import Path

import polars as pl

from textrnn.config.plan import load_planned_stage
from textrnn.config.sections import BaselineParams
from textrnn.corpus.tables import Corpus
from textrnn.modeling.baseline import fit_baseline
from textrnn.modeling.scores import final_scores
from textrnn.project.dvc_lock import hashes
from textrnn.project.origin import project_folder
from textrnn.run_folder import Run, digest, fingerprint, prediction_rows, write_run
from textrnn.stage import run_stage, write_folder, write_timings
from textrnn.tracking.live import LiveRun
from textrnn.tracking.record import TrackedRun

SEED = 0
"""A baseline is not random: its one result has this seed."""


def main(plan: Path, corpus_folder: Path, run_folder: Path, timings: Path) -> None:
    """Fits the baseline of PLAN."""
    name, settings, study, _ = load_planned_stage(plan, BaselineParams)
    corpus = Corpus.load(corpus_folder)
    classes = pl.Enum(corpus.classes)
    labels = {
        split: frame["label"].cast(classes).to_physical().cast(pl.Int32).to_numpy()
        for split, frame in corpus.frames.items()
        if split != "unlabelled"
    }
    resolved = settings.model_dump(exclude_none=True)
    inputs = {"corpus": digest(corpus_folder)}
    tracked = TrackedRun(
        study=study.study,
        corpus=study.corpus,
        name=name,
        kind="baseline",
        stage=study.stage(name),
        params=resolved,
        fingerprint=fingerprint(plan, inputs),
        datasets=hashes(Path("dvc.lock"), [corpus_folder]),
    )
    with LiveRun(tracked, project_folder()) as live, write_folder(run_folder) as folder:
        live.start_seed(SEED)
        train = corpus.frames["train"]["text"]
        started = time.perf_counter()
        model = fit_baseline(settings, train, labels["train"], len(corpus.classes))
        seconds = time.perf_counter() - started
        timing = {"seconds": seconds, "tokens_per_second": float(train.str.count_matches(r"\S+").sum()) / seconds}
        rows = []
        scores: dict[str, float] = {}
        for split in ("valid", "test"):
            probabilities = model.probabilities(corpus.frames[split]["text"])
            ids = corpus.frames[split]["id"].to_list()
            rows.append(prediction_rows(SEED, split, ids, labels[split], probabilities))
            scores |= final_scores(split, labels[split], probabilities)
        run = Run(
            name=name,
            kind="baseline",
            params=resolved,
            seeds=[SEED],
            classes=list(corpus.classes),
            inputs=inputs,
            fingerprint=tracked.fingerprint,
            parameters={"total": model.parameters, "trainable": model.parameters},
            flops={
                "training": model.training_flops,
                "prediction": model.prediction_flops(corpus.frames["valid"]["text"]),
            },
        )
        model.saved(corpus.classes).save(folder / "model" / str(SEED))
        write_run(folder, run, rows, [])
        live.end_seed({**scores, **timing})
        live.end(run.cost)
    write_timings(timings, run.fingerprint, {SEED: timing})


if __name__ == "__main__":
    run_stage(main)
