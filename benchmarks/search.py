"""A search: how soon it is as good as random trials that nothing cuts, its overhead, and what two processes bring.

On the tokens and vectors of the project in the current folder.
"""

from __future__ import annotations

import tempfile
import time
from contextlib import redirect_stdout
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

from benchmarks.data import Workplace
from benchmarks.measure import Figures, Result, Skipped, alternate, at_most, best, faster, in_process
from textrnn.config.experiment import Experiment
from textrnn.config.search import Search

TOKENS, EMBEDDINGS, EMBEDDING = Path("data/tokens"), Path("data/embeddings"), "glove-50d"

EPOCHS, SHORT = 27, 9
START = Experiment(embedding=EMBEDDING, max_tokens=64, epochs=EPOCHS, early_stopping=EPOCHS, batch_size=128)
"""It has all its epochs, and keeps the best of them."""

SPACE: dict[str, dict[str, Any]] = {
    "units": {"low": 16, "high": 64, "log": True},
    "cell": {"choices": ["lstm", "gru"]},
    "readout": {"choices": ["last", "max"]},
    "bidirectional": {"choices": [False, True]},
    "learning_rate": {"low": 0.0003, "high": 0.01, "log": True},
    "spatial_dropout": {"low": 0.0, "high": 0.6},
    "dropout": {"low": 0.0, "high": 0.7},
}
TRIALS, FEW = 64, 12
BATCH, RUNGS, REDUCTION = 32, 3, 4
"""Rungs end after 2, 7 and 27 epochs. Two trials of a batch go through all of them: one for each process."""

SEEDS = (1000, 1001, 1002)
"""One search can be lucky: the median of several counts."""


def search(work: Workplace) -> Result:
    """A search by halving, compared with random trials and with trainings by themselves."""
    if not (EMBEDDINGS / EMBEDDING).is_dir():
        raise Skipped(f"needs {TOKENS} and {EMBEDDINGS / EMBEDDING}: run `make repro STUDY=cells` first")
    trials, few, short, seeds, repeats = (
        (4, 2, {}, SEEDS[:1], 1) if work.quick else (TRIALS, FEW, {"epochs": SHORT}, SEEDS, 2)
    )
    start = START.model_copy(update={"epochs": 1, "train_examples": 200} if work.quick else {})
    work.say(f"{trials} random trials")
    uncut = in_process(_search, _settings(trials, sampler="random", rungs=1), 2, start)
    batch, rungs = min(BATCH, trials), 1 if work.quick else RUNGS
    cut = []
    for seed in seeds:
        work.say(f"a search by halving, seed {seed}")
        halving = _settings(2 * trials, batch=batch, rungs=rungs, reduction=REDUCTION, seed=seed)
        cut.append(in_process(_search, halving, 2, start, uncut["best"]))
    middle = sorted(cut, key=lambda each: (each["best"] > uncut["best"], each["seconds"]))[len(cut) // 2]
    short_start, whole = start.model_copy(update=short), _settings(few, sampler="random", rungs=1)
    seconds = alternate(
        {
            f"{few} trials by themselves": lambda _: in_process(_trainings, whole, short_start),
            f"the same {few} in a search": lambda _: in_process(_search, whole, 1, short_start),
            f"the same {few} with two processes": lambda _: in_process(_search, whole, 2, short_start),
        },
        repeats,
        work.say,
    )
    bare, one, two = map(best, seconds.values())
    ended = ", ".join(f"{each['seconds']:.0f} s and {each['trials']:.0f} trials: {each['best']:.4f}" for each in cut)
    name = f"{trials} random trials that nothing cuts: time to their best validation loss"
    soon = faster(name, middle["seconds"], uncut["seconds"], 4)
    return Result(
        [
            replace(soon, reached=soon.reached and middle["best"] <= uncut["best"]),
            at_most(f"{few} trainings in one process, without a search", one, bare, 1.1),
            faster("one process, the same trials", two, one, 1.8),
        ],
        f"Rotten Tomatoes, {EPOCHS} epochs, the best of which is kept ({SHORT} epochs in the last two rows), "
        f"{len(SPACE)} knobs. The random trials reach a validation loss of {uncut['best']:.4f} on two cores. "
        f"{len(cut)} searches (TPE, batches of {batch}, {rungs} rungs, reduction {REDUCTION}), one for each seed, end "
        f"with the batch that reaches it, or after {2 * trials} trials: {ended}. The median counts; a search that does "
        "not reach it counts as the slowest. Time includes the start of the processes, and for the trainings by "
        f"themselves imports and loading. The last two rows are the best of {repeats} runs in turn.",
    )


def _settings(trials: int, batch: int | None = None, **changes: Any) -> Search:
    size = {"trials": trials, "batch": batch or trials}
    return Search.model_validate({"start": "lstm", "space": SPACE, **size, **changes})


class _Reached(Exception):
    """The search is as good as what it is compared with."""


def _search(search: Search, jobs: int, start: Experiment, until: float = 0.0) -> Figures:
    """Runs `search` up to the batch in which a trial finishes with a value of at most `until`."""
    from textrnn.search.halving import Halving
    from textrnn.search.progress import Progress
    from textrnn.search.proposals import FINISHED, Trial
    from textrnn.search.trainings import Inputs, Processes, Record, Workers

    trials: list[Trial] = []
    started = time.perf_counter()

    def lowest() -> float:
        return min(trial.value for trial in trials if trial.outcome == FINISHED and trial.value is not None)

    def on_batch(batch: list[Trial]) -> None:
        if lowest() <= until:
            raise _Reached

    with tempfile.TemporaryDirectory() as scratch, redirect_stdout(StringIO()):
        folder = Path(scratch)
        inputs = Inputs(TOKENS, EMBEDDINGS, folder, "", ((EMBEDDING, ""),))
        progress = Progress(search, start, trials)
        try:
            with Processes(jobs, inputs) as executor:
                workers = Workers(executor, inputs, Record(folder, ""), progress)
                Halving(search, start, workers.train, on_batch, trials).run()
        except _Reached:
            pass
    return {"seconds": time.perf_counter() - started, "best": lowest(), "trials": len(trials)}


def _trainings(search: Search, start: Experiment) -> Figures:
    """Trains what `search` proposes first, without a search: one network after the other."""
    started = time.perf_counter()
    from textrnn.modeling.batches import load_splits
    from textrnn.modeling.inputs import load_start
    from textrnn.modeling.training import Trainer
    from textrnn.search.proposals import Proposals

    trials = Proposals(search, start).batch(0)
    encoder, embedding = load_start(TOKENS, EMBEDDINGS / EMBEDDING)
    splits = load_splits(TOKENS, start, encoder.vocabulary, ("train", "valid"))
    for trial in trials:
        trainer = Trainer(
            trial.settings, splits, embedding.draw, len(encoder.classes), fixed_rows=len(embedding.file_words)
        )
        trainer.run(search.seed)
    return {"seconds": time.perf_counter() - started}
