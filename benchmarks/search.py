"""A search: how soon it is as good as random trials that nothing cuts, its overhead, and what two processes bring.

On the tokens and vectors of the project in the current folder.
"""

from __future__ import annotations

import math
import tempfile
import time
from contextlib import redirect_stdout
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

from benchmarks.data import Workplace
from benchmarks.measure import Figures, Result, Skipped, alternate, at_most, best, faster, in_process, side_by_side
from textrnn.config.experiment import Experiment
from textrnn.config.params import load_params
from textrnn.config.search import Search

TOKENS, EMBEDDINGS = Path("data/tokens"), Path("data/embeddings")

STUDY, NAME = Path("studies/tuned.yaml"), "tuned-lstm"
"""The search is one of the project's own studies: its space is not made for this comparison."""

TRIALS, SEEDS = 64, (1000, 1001, 1002)
"""One search can be lucky: the median of several counts."""

FEW, SHORT = 12, {"learning_rate", "dropout"}
"""For the cost of a trial: so many, in a part of the space where all take as long."""


def search(work: Workplace) -> Result:
    """A search by halving, compared with random trials and with trainings by themselves."""
    study = load_params(STUDY)
    asked = study.searches[NAME]
    start, longest = study.experiments[asked.start], max(asked.space["epochs"].choices)
    missing = [name for name in asked.space["embedding"].choices if not (EMBEDDINGS / name).is_dir()]
    if missing:
        raise Skipped(f"needs {TOKENS} and {EMBEDDINGS / missing[0]}: run `make repro STUDY=cells` first")
    trials, few, seeds, repeats = (4, 2, SEEDS[:1], 1) if work.quick else (TRIALS, FEW, SEEDS, 2)
    if work.quick:
        start, longest = start.model_copy(update={"train_examples": 200}), 1
        asked = _changed(asked, space={key: asked.space[key] for key in SHORT | {"embedding"}}, batch=2, rungs=1)
    work.say(f"{trials} random trials")
    uncut = in_process(_search, _changed(asked, sampler="random", rungs=1, batch=trials, trials=trials), 2, start)
    cut = []
    for seed in seeds:
        work.say(f"a search by halving, seed {seed}")
        most = trials // asked.batch * 2 * asked.batch
        cut.append(in_process(_search, _changed(asked, seed=seed, trials=most), 2, start, uncut["best"]))
    middle = sorted(cut, key=lambda each: (each["best"] > uncut["best"], each["seconds"]))[len(cut) // 2]
    short = start.model_copy(update={"epochs": longest})
    space = {key: asked.space[key] for key in SHORT}
    whole = _changed(asked, space=space, sampler="random", rungs=1, batch=few, trials=few)
    seconds = alternate(
        {
            f"{few} trials by themselves": lambda _: _by_themselves(whole, 1, short),
            f"the same {few} in two processes": lambda _: _by_themselves(whole, 2, short),
            f"the same {few} in a search": lambda _: in_process(_search, whole, 1, short),
            f"the same {few} with two processes": lambda _: in_process(_search, whole, 2, short),
        },
        repeats,
        work.say,
    )
    bare, bare_two, one, two = map(best, seconds.values())
    ended = ", ".join(f"{each['seconds']:.0f} s and {each['trials']:.0f} trials: {each['best']:.4f}" for each in cut)
    name = f"{trials} random trials that nothing cuts: time to their best validation loss"
    soon = faster(name, middle["seconds"], uncut["seconds"], 4)
    return Result(
        [
            replace(soon, reached=soon.reached and middle["best"] <= uncut["best"]),
            at_most(f"{few} trainings in one process, without a search", one, bare, 1.1),
            at_most("the same in two processes, half of them each", two, bare_two, 1.1),
            faster("one process, the same trials", two, one, 1.8),
        ],
        f"The search `{NAME}` of `{STUDY}`, {len(asked.space)} knobs, on Rotten Tomatoes. The random trials reach a "
        f"validation loss of {uncut['best']:.4f} on two cores. {len(cut)} searches (TPE, batches of {asked.batch}, "
        f"{asked.rungs} rungs, reduction {asked.reduction}), one for each seed, end with the training that reaches it, "
        f"or after {most} trials: {ended}. The median counts; a search that does not reach it counts as the slowest. "
        "Time includes the start of the processes, and for the trainings by themselves imports and loading. The last "
        f"three rows vary {' and '.join(sorted(SHORT))} alone, for {longest} epochs, and are the best of {repeats} "
        f"runs in turn. What a second core brings is limited by the machine: {bare / bare_two:.2f}x without a search.",
    )


def _changed(search: Search, **changes: Any) -> Search:
    return Search.model_validate({**search.model_dump(), **changes})


class _Reached(Exception):
    """The search is as good as what it is compared with."""


def _search(search: Search, jobs: int, start: Experiment, until: float = 0.0) -> Figures:
    """Runs `search` up to the training with a validation loss of at most `until`, whatever rung it is on."""
    from textrnn.search.halving import Halving, Task, Training
    from textrnn.search.progress import Progress
    from textrnn.search.proposals import Trial
    from textrnn.search.trainings import Inputs, Processes, Record, Workers

    trials: list[Trial] = []
    lowest = [math.inf]
    started = time.perf_counter()

    class Watched(Progress):
        def end(self, task: Task, training: Training, node: str | None = None) -> None:
            super().end(task, training, node)
            if training.failure_until(task.until) is None:
                lowest.append(min(lowest[-1], training.kept(task.experiment, task.until)["val_loss"]))
            if lowest[-1] <= until:
                raise _Reached

    with tempfile.TemporaryDirectory() as scratch, redirect_stdout(StringIO()):
        folder = Path(scratch)
        used = search.space["embedding"].choices if "embedding" in search.space else [start.embedding]
        inputs = Inputs(TOKENS, EMBEDDINGS, folder, "", tuple((name, "") for name in used))
        progress = Watched(search, start, trials)
        try:
            with Processes(jobs, inputs) as executor:
                workers = Workers(executor, inputs, Record(folder, ""), progress)
                Halving(search, start, workers.train, trials=trials).run()
        except _Reached:
            pass
    return {"seconds": time.perf_counter() - started, "best": lowest[-1], "trials": len(trials)}


def _by_themselves(search: Search, jobs: int, start: Experiment) -> Figures:
    """Trains what `search` proposes first in `jobs` processes, without a search; returns the `seconds` of the last."""
    calls = [(_trainings, search, start, slice(job, None, jobs)) for job in range(jobs)]
    return {"seconds": best(side_by_side(calls, jobs), which="most")}


def _trainings(search: Search, start: Experiment, part: slice) -> Figures:
    """Trains a part of what `search` proposes first: one network after the other."""
    started = time.perf_counter()
    from textrnn.modeling.batches import load_splits
    from textrnn.modeling.start import Start
    from textrnn.modeling.training import Trainer
    from textrnn.search.proposals import Proposals

    trials = Proposals(search, start).batch(0)[part]
    common = Start.load(TOKENS, EMBEDDINGS / start.embedding)
    splits = load_splits(TOKENS, start, common.encoder.vocabulary, ("train", "valid"))
    for trial in trials:
        Trainer.of(common, trial.settings, splits).run(search.seed)
    return {"seconds": time.perf_counter() - started}
