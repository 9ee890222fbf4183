"""Stage `ensemble@<name>`: averages the probabilities of other runs, and writes a run folder like theirs."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from textrnn.analysis.examples import check_same_examples
from textrnn.config.plan import EnsemblePlan, load_planned_stage
from textrnn.modeling.ensemble import fit_weights, mean_probabilities, save_ensemble
from textrnn.modeling.model_files import Member
from textrnn.modeling.scores import final_scores
from textrnn.project.dvc_lock import hashes
from textrnn.project.origin import project_folder
from textrnn.run_folder import Run, RunFolder, digest, fingerprint, prediction_rows, write_run
from textrnn.stage import run_stage, write_folder
from textrnn.tracking.live import LiveRun
from textrnn.tracking.record import TrackedRun
from textrnn.wording import count

SEED = 0
"""An ensemble of all seeds has one result, like a baseline: it has this seed."""


def main(plan: Path, members_folder: Path, run_folder: Path) -> None:
    """Averages the runs in MEMBERS_FOLDER as PLAN says."""
    name, settings, study, _ = load_planned_stage(plan, EnsemblePlan)
    runs = [RunFolder.load(members_folder / run) for run in settings.ensemble.of]
    check_same_examples({run.name: run for run in runs}, ["valid", "test"])
    lost = [f"its member {run.name} has no finished seed ({run.failure})" for run in runs if not run.finished_seeds]
    members = [] if lost else _weigh(runs, settings.ensemble.weights)
    inputs = {"members": digest(members_folder)}
    tracked = TrackedRun(
        study=study.study,
        corpus=study.corpus,
        name=name,
        kind="ensemble",
        stage=study.stage(name),
        params=settings.ensemble.model_dump(),
        fingerprint=fingerprint(plan, inputs),
        datasets=hashes(Path("dvc.lock"), [run.path for run in runs]),
    )
    with LiveRun(tracked, project_folder()) as live, write_folder(run_folder) as folder:
        live.start_seed(SEED)
        counted = [(run, len(run.finished_seeds)) for run, member in zip(runs, members, strict=False) if member.weight]
        run = Run(
            name=name,
            kind="ensemble",
            params=tracked.params,
            seeds=[SEED],
            classes=runs[0].classes,
            inputs=inputs,
            fingerprint=tracked.fingerprint,
            parameters={kind: sum(n * run.parameters[kind] for run, n in counted) for kind in ("total", "trainable")},
            flops={what: sum(n * run.flops[what] for run, n in counted) for what in ("training", "prediction")},
            failures={str(SEED): "; ".join(lost)} if lost else {},
        )
        rows, scores = [], dict[str, float]()
        for split in ("valid", "test") if members else ():
            ids, labels, _ = runs[0].probabilities(runs[0].finished_seeds[0], split)
            each = [member.weight * mean_probabilities(run, split) for run, member in zip(runs, members, strict=True)]
            average = np.sum(each, axis=0)
            rows.append(prediction_rows(SEED, split, ids, labels, average))
            scores |= final_scores(split, labels, average)
        if members:
            save_ensemble(folder / "model" / str(SEED), members, runs)
        write_run(folder, run, rows, [])
        live.end_seed(scores, run.failure)
        live.end(run.cost, run.failure)
    for member in members:
        sys.stdout.write(f"{member.run}: weight {member.weight:.4g}, {count(len(member.seeds), 'seed')}\n")
    if run.failure is not None:
        sys.stderr.write(f"warning: {name} failed, {run.failure}. The leaderboard reports it.\n")


def _weigh(runs: list[RunFolder], kind: str) -> list[Member]:
    """Returns the members with their weights; fitted ones are fitted on the validation split."""
    weights = [1 / len(runs)] * len(runs)
    if kind == "fitted":
        _, labels, _ = runs[0].probabilities(runs[0].finished_seeds[0], "valid")
        weights = fit_weights(labels, np.stack([mean_probabilities(run, "valid") for run in runs]))
    return [Member(run.name, weight, run.finished_seeds) for run, weight in zip(runs, weights, strict=True)]


if __name__ == "__main__":
    run_stage(main)
