"""Any two runs against each other, the second also as it was at another git revision: `textrnn compare`."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from textrnn.analysis.examples import check_same_examples, groups
from textrnn.analysis.significance import Estimate, SeedPrior, contrast
from textrnn.config.params import Params
from textrnn.errors import TextrnnError, first_line
from textrnn.project.remote import copy_run
from textrnn.run_folder import RunFolder
from textrnn.search.winner import load_study

SPLIT = "test"
RUNS, CORPUS = "runs", "data/corpus"
READ = ("run.json", "predictions.parquet")
"""The files of a run that a comparison reads; models are larger and are not fetched."""


@dataclass(frozen=True)
class Side:
    """One of the two."""

    label: str  # its name in messages
    accuracies: np.ndarray  # of each seed that is compared; of a baseline or an ensemble one
    mean: Estimate  # of these, over seeds and texts
    failure: str | None  # which seeds failed and why; None when none did


@dataclass(frozen=True)
class PairwiseComparison:
    """Two runs on the same test texts."""

    first: Side
    second: Side
    difference: Estimate  # of accuracy, second minus first
    level: float  # the largest p value at which a difference counts as more than chance
    seeds: tuple[int, ...]  # those compared; none where both are baselines or ensembles
    left_out: tuple[int, ...]  # seeds that not both have finished
    texts: int  # how many
    groups: int  # how many groups the texts were drawn in; as many as texts where each was drawn by itself
    is_same: bool  # whether both give the same probabilities

    @property
    def verdict(self) -> str:
        """On the second: `better`, `worse`, or `unclear` at the level."""
        if self.difference.p_value > self.level:
            return "unclear"
        return "better" if self.difference.value > 0 else "worse"


def compare(project: Path, first: str, second: str | None = None, rev: str | None = None) -> PairwiseComparison:
    """Tests two runs on the test split, as the report does, without correction for other comparisons.

    Args:
        project: the project's top folder.
        first: name of an experiment, baseline or ensemble.
        second: another one; with `rev` also the same, which is the default then.
        rev: the git revision from which `second` is taken, out of DVC's cache or else the default remote;
            None takes it from the working tree, too.

    Raises `TextrnnError`: there are not two runs, one is unavailable, or they cannot be compared.
    """
    params = load_study(project)
    other = second or first
    if rev is None and other == first:
        raise TextrnnError(
            f"{first} can only be compared with another run, or with itself at another git revision: "
            "name a second run, or a revision with --rev."
        )
    here = _of_working_tree(project, params, first)
    if rev is None:
        runs = {first: here, other: _of_working_tree(project, params, other)}
    else:
        runs = {f"{first} here": here, f"{other} at {rev}": _of_revision(project, other, rev)}
    seeds = _common_seeds(runs)
    check_same_examples(runs, [SPLIT])
    predictions = [
        [run.probabilities(seed, SPLIT) for seed in (seeds if _is_trained(run) else run.finished_seeds[:1])]
        for run in runs.values()
    ]
    correct = [
        np.array([probabilities.argmax(axis=1) == labels for _, labels, probabilities in each]) for each in predictions
    ]
    ids = predictions[0][0][0]
    of_text = groups(project / CORPUS, SPLIT, ids)
    # The study's experiments show together how far seeds spread, as in the report.
    folders = (project / RUNS / name for name in params.experiments)
    study = [RunFolder.load(folder) for folder in folders if (folder / "run.json").is_file()]
    prior = SeedPrior.of_runs(study, SPLIT)
    ours, theirs = (
        Side(label, rows.mean(axis=1), contrast([rows], [1.0], of_text, prior), run.failure)
        for (label, run), rows in zip(runs.items(), correct, strict=True)
    )
    wanted = dict.fromkeys(seed for run in runs.values() if _is_trained(run) for seed in run.seeds)
    return PairwiseComparison(
        ours,
        theirs,
        difference=contrast(correct, [-1.0, 1.0], of_text, prior),
        level=params.comparisons.level,
        seeds=tuple(seeds),
        left_out=tuple(seed for seed in wanted if seed not in seeds),
        texts=len(ids),
        groups=len(set(of_text)),
        is_same=np.array_equal([each[2] for each in predictions[0]], [each[2] for each in predictions[1]]),
    )


def _of_working_tree(project: Path, params: Params, name: str) -> RunFolder:
    known = sorted(file.parent.name for file in (project / RUNS).glob("*/run.json"))
    if name not in (*known, *params.runs):
        raise TextrnnError(f"{RUNS}/{name}: no such run. Known: {', '.join(known) or 'none; run `dvc repro`'}.")
    return RunFolder.load(project / RUNS / name)


def _of_revision(project: Path, name: str, rev: str) -> RunFolder:
    with tempfile.TemporaryDirectory() as scratch:
        copy_run(project, f"{RUNS}/{name}", rev, READ, Path(scratch))
        try:
            run = RunFolder.load(Path(scratch))
            run.predictions  # noqa: B018  # read before the folder is removed
        except (TextrnnError, KeyError, ValueError, pl.exceptions.PolarsError) as error:
            raise TextrnnError(
                f"{RUNS}/{name} at {rev} was written by code that wrote runs differently, and cannot be read: "
                f"{first_line(error)}. Name another revision."
            ) from None
    return run


def _is_trained(run: RunFolder) -> bool:
    """Whether its results vary over seeds; those of a baseline or an ensemble do not."""
    return run.kind == "experiment"


def _common_seeds(runs: dict[str, RunFolder]) -> list[int]:
    """Returns the seeds that every trained run has finished; none where all are baselines or ensembles.

    Raises `TextrnnError`: there are none in common.
    """
    for label, run in runs.items():
        if not run.finished_seeds:
            raise TextrnnError(
                f"{label} has no finished seed to compare: {run.failure or 'it was trained with none'}. "
                "Lower learning_rate, or set gradient_clip, and run `dvc repro`."
            )
    trained = {label: run.finished_seeds for label, run in runs.items() if _is_trained(run)}
    common = [seed for seed in next(iter(trained.values()), []) if all(seed in each for each in trained.values())]
    if trained and not common:
        finished = " and ".join(f"{label} has {', '.join(map(str, seeds))}" for label, seeds in trained.items())
        raise TextrnnError(
            f"no seed was finished by both: {finished}. The same seeds are compared, so that nothing else differs: "
            "give both the same `seeds` in params.yaml, and run `dvc repro`."
        )
    return common
