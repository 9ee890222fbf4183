"""Any two runs against each other, the second also as it was at another git revision: `textrnn compare`."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from textrnn.analysis.sampling import seed_prior, units
from textrnn.analysis.significance import Estimate, contrast
from textrnn.config.params import Params, load_params
from textrnn.errors import TextrnnError
from textrnn.project import git
from textrnn.run_folder import RunFolder

if TYPE_CHECKING:
    from dvc.api import DVCFileSystem  # type: ignore[import-untyped]

SPLIT = "test"
RUNS, CORPUS = "runs", "data/corpus"
READ = ("run.json", "predictions.parquet")
"""What of a run a comparison reads; its models are larger, and stay where they are."""

_Predictions = list[tuple[list[str], np.ndarray, np.ndarray]]
"""Ids, labels and probabilities of each seed."""


@dataclass(frozen=True)
class Side:
    """One of the two.

    Attributes:
        label: what to call it.
        accuracies: of each seed that is compared; of a baseline one.
        mean: of these, over seeds and texts.
    """

    label: str
    accuracies: np.ndarray
    mean: Estimate

    def __str__(self) -> str:
        spread = f" ± {100 * self.accuracies.std(ddof=1):.1f}" if len(self.accuracies) > 1 else ""
        low, high = self.mean.accuracy_interval()
        interval = f" (95 % interval {100 * low:.1f} to {100 * high:.1f})" if isfinite(low) else ""
        return f"{100 * self.mean.value:.1f}{spread} % of the test texts right{interval}"


@dataclass(frozen=True)
class PairwiseComparison:
    """Two runs on the same test texts; as text, the whole answer.

    Attributes:
        difference: of accuracy, second minus first.
        level: up to which p value a difference counts as more than chance.
        seeds: those compared; none where both are baselines.
        texts: how many.
        groups: how many groups the texts were drawn in; as many as texts where each was drawn for itself.
        notes: sentences on what else to know of it.
    """

    first: Side
    second: Side
    difference: Estimate
    level: float
    seeds: tuple[int, ...]
    texts: int
    groups: int
    notes: tuple[str, ...]

    @property
    def verdict(self) -> str:
        """On the second: `better`, `worse`, or `unclear` at the level."""
        if self.difference.p_value > self.level:
            return "unclear"
        return "better" if self.difference.value > 0 else "worse"

    def __str__(self) -> str:
        first, second = self.first.label, self.second.label
        width = max(len(first), len(second))
        is_told = f"is {self.verdict} than {first}, beyond chance"
        verdict = f"{first} and {second} cannot be told apart" if self.verdict == "unclear" else f"{second} {is_told}"
        return "\n".join(
            (
                *(f"{side.label:<{width}}  {side}" for side in (self.first, self.second)),
                "",
                f"{second} minus {first}: {self._difference()}.",
                f"{verdict} (level {self.level:g}; one comparison, so p is not corrected for others).",
                f"Over {self._reach()}.",
                *self.notes,
            )
        )

    def _difference(self) -> str:
        low, high = self.difference.interval()
        if not isfinite(low):
            return f"{_points(self.difference.value)} points; one group of texts cannot tell what chance does"
        p_value = self.difference.p_value
        return f"{_points(self.difference.value)} points (95 % interval {_points(low)} to {_points(high)}), " + (
            "p < 0.001" if p_value < 0.001 else f"p = {p_value:.3f}"
        )

    def _reach(self) -> str:
        seeds = f"{_count(len(self.seeds), 'seed')} and " if self.seeds else ""
        drawn = f" in {_count(self.groups, 'group')} that were drawn whole, such as films"
        return seeds + _count(self.texts, "text") + (drawn if self.groups < self.texts else "")


def compare(project: Path, first: str, second: str | None = None, rev: str | None = None) -> PairwiseComparison:
    """Tests two runs on the test split, as the report does, but by themselves.

    Args:
        project: the project's top folder.
        first: name of an experiment or baseline.
        second: another one; with `rev` also the same, which is what None then means.
        rev: the git revision of which `second` is taken, out of DVC's cache or else the default remote;
            None takes it from the working tree, too.

    Raises:
        TextrnnError: there are not two runs, one is not to be had, or they cannot be compared.
    """
    params = load_params(project / "params.yaml")
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
    predictions = {
        label: [run.probabilities(seed, SPLIT) for seed in (seeds if _is_trained(run) else run.finished_seeds[:1])]
        for label, run in runs.items()
    }
    _check_same_texts(runs, predictions)
    ids = next(iter(predictions.values()))[0][0]
    belongs = units(project / CORPUS, SPLIT, ids)
    correct = [
        np.array([probabilities.argmax(axis=1) == labels for _, labels, probabilities in each])
        for each in predictions.values()
    ]
    prior = seed_prior(_study(project, params), SPLIT)
    ours, theirs = (
        Side(label, rows.mean(axis=1), contrast([rows], [1.0], belongs, prior))
        for label, rows in zip(runs, correct, strict=True)
    )
    return PairwiseComparison(
        first=ours,
        second=theirs,
        difference=contrast(correct, [-1.0, 1.0], belongs, prior),
        level=params.comparisons.level,
        seeds=tuple(seeds),
        texts=len(ids),
        groups=len(set(belongs)),
        notes=tuple(_notes(runs, seeds, predictions)),
    )


def _study(project: Path, params: Params) -> list[RunFolder]:
    """The study's experiments that have run: together they tell how far seeds spread, as in the report."""
    folders = (project / RUNS / name for name in params.experiments)
    return [RunFolder.load(folder) for folder in folders if (folder / "run.json").is_file()]


def _of_working_tree(project: Path, params: Params, name: str) -> RunFolder:
    known = sorted(file.parent.name for file in (project / RUNS).glob("*/run.json"))
    if name not in (*known, *params.experiments, *params.baselines):
        raise TextrnnError(f"{RUNS}/{name}: no such run. Known: {', '.join(known) or 'none; run `dvc repro`'}.")
    return RunFolder.load(project / RUNS / name)


def _of_revision(project: Path, name: str, rev: str) -> RunFolder:
    with tempfile.TemporaryDirectory() as scratch:
        with silent_logs():
            _fetch(project, name, rev, Path(scratch))
        try:
            run = RunFolder.load(Path(scratch))
            run.predictions  # noqa: B018  # read while the file is there
        except (TextrnnError, KeyError, ValueError, pl.exceptions.PolarsError) as error:
            raise TextrnnError(
                f"{RUNS}/{name} at {rev} was written by code that wrote runs differently, and cannot be read: "
                f"{_first_line(error)}. Name another revision."
            ) from None
    return run


@contextmanager
def silent_logs() -> Iterator[None]:
    """DVC logs to the terminal; what the user should know of it stands in our errors."""
    logging.disable()
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


def _fetch(project: Path, name: str, rev: str, target: Path) -> None:
    """Copies a revision's run into `target`; neither the working tree nor DVC's cache changes."""
    # Not before: it takes a second, which a comparison within the working tree does without.
    from dvc.api import DVCFileSystem

    top = git.prefix(project)  # in a larger git repository the project is one below its top
    runs = f"/{top}{RUNS}"
    with closing(DVCFileSystem(str(project), rev=rev, subrepos=bool(top))) as files:
        known = _finished(files, runs, rev)
        if name not in known:
            raise TextrnnError(
                f"{RUNS}/{name} at {rev}: that revision has no such finished run. "
                + (f"It has: {', '.join(known)}." if known else "It has none. Name another one with --rev.")
            )
        try:
            for file in READ:
                files.get_file(f"{runs}/{name}/{file}", str(target / file))
        except Exception as error:  # every kind of remote raises its own
            raise TextrnnError(
                f"{RUNS}/{name} at {rev} is not in DVC's cache, and a default remote does not give it: "
                f"{_first_line(error)}. If another remote has it: `dvc fetch --all-commits --remote NAME "
                f"{RUNS}/{name}`. Else compute it again: `git checkout {rev}`, `dvc repro`, and back with "
                "`git checkout -`, `dvc checkout`."
            ) from None


def _finished(files: DVCFileSystem, runs: str, rev: str) -> list[str]:
    """Returns the names of the runs that a revision's dvc.lock has in the folder `runs`."""
    from dvc.exceptions import DvcException  # type: ignore[import-untyped]
    from dvc.scm import RevError  # type: ignore[import-untyped]

    try:
        if not rev:
            raise RevError("without one DVC would take the working tree")
        # What a revision declares, but had not run, has no hash there.
        return sorted(Path(entry["name"]).name for entry in files.ls(runs) if "md5" in entry)
    except RevError:
        raise TextrnnError(
            f"--rev {rev!r}: git knows no such revision here. Name a branch, a tag or a commit (see `git log`)."
        ) from None
    except FileNotFoundError:
        return []
    except DvcException as error:
        raise TextrnnError(
            f"--rev {rev}: DVC cannot read the project at this revision: {_first_line(error)}. Name another one."
        ) from None


def _is_trained(run: RunFolder) -> bool:
    """Whether it has seeds by which its results vary; a baseline has not."""
    return run.kind != "baseline"


def _common_seeds(runs: dict[str, RunFolder]) -> list[int]:
    """Returns the seeds that every trained run has finished; none where all are baselines.

    Raises:
        TextrnnError: there are none in common.
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
        finished = " and ".join(f"{label} has {_listed(seeds)}" for label, seeds in trained.items())
        raise TextrnnError(
            f"no seed was finished by both: {finished}. The same seeds are compared, so that nothing else differs: "
            "give both the same `seeds` in params.yaml, and run `dvc repro`."
        )
    return common


def _check_same_texts(runs: dict[str, RunFolder], predictions: dict[str, _Predictions]) -> None:
    """Makes sure that all seeds predicted the same texts, in the same order, with the same labels and classes.

    Raises:
        TextrnnError: says what differs, or whose predictions are no numbers.
    """
    for label, each in predictions.items():
        if not all(ids and np.isfinite(probabilities).all() for ids, _, probabilities in each):
            raise TextrnnError(
                f"{label} lacks predictions of the test split, or some are no finite numbers; a seed that finished has "
                "a probability for every text and class. Delete the run and repeat it with `dvc repro`."
            )
    (first, ours), (second, theirs) = predictions.items()
    (ids, labels, _), *others = *ours, *theirs
    classes, other_classes = runs[first].classes, runs[second].classes
    if classes != other_classes:
        what = f"the classes of one are {', '.join(classes)}, of the other {', '.join(other_classes)}"
    elif any(other != ids for other, *_ in others):
        common = len(set(ids) & set(theirs[0][0]))
        what = (
            f"one predicted {len(ids):,} test texts, the other {len(theirs[0][0]):,}, and only {common:,} are the same"
        )
    elif not all(np.array_equal(labels, other) for _, other, _ in others):
        what = "some of their test texts have different labels"
    else:
        return
    raise TextrnnError(
        f"{first} and {second} cannot be compared: {what}. A comparison needs the same corpus, split in the same way. "
        "Bring the working tree up to date with `dvc repro`, or name a revision with this corpus."
    )


def _notes(runs: dict[str, RunFolder], seeds: list[int], predictions: dict[str, _Predictions]) -> list[str]:
    notes = [f"{label} failed with {run.failure.rstrip('.')}." for label, run in runs.items() if run.failure]
    wanted = dict.fromkeys(seed for run in runs.values() if _is_trained(run) for seed in run.seeds)
    left_out = [seed for seed in wanted if seed not in seeds]
    if left_out:
        notes.append(
            f"Left out: {len(left_out)} of {_count(len(wanted), 'seed')} ({_listed(left_out)}), not finished by both."
        )
    if len(seeds) == 1:
        notes.append(
            "With one seed this is about these trained models only: whether the settings are better, and not this seed "
            "lucky, takes more seeds."
        )
    ours, theirs = ([probabilities for *_, probabilities in each] for each in predictions.values())
    if np.array_equal(ours, theirs):
        notes.append("Both predict exactly the same.")
    return notes


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0].rstrip(".")


def _listed(seeds: list[int]) -> str:
    return ", ".join(map(str, seeds))


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def _points(share: float) -> str:
    return f"{100 * share:+z.1f}".replace("-", "−")
