"""A search: how soon it is as good as random trials that nothing cuts, its overhead, and what two processes bring.

On the tokens and vectors of the project in the current folder.
"""

from __future__ import annotations

import tempfile
import time
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

from benchmarks.data import Workplace
from benchmarks.measure import Claim, Figures, Result, Skipped, at_most, faster, in_process
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
TRIALS, FEW, BATCH, RUNGS = 64, 12, 9, 3
"""Of a batch of nine, one trial goes through all three rungs: of 3, 9 and 27 epochs."""


def search(work: Workplace) -> Result:
    """A search by halving, compared with random trials and with trainings by themselves."""
    if not (EMBEDDINGS / EMBEDDING).is_dir():
        raise Skipped(f"needs {TOKENS} and {EMBEDDINGS / EMBEDDING}: run `make repro STUDY=cells` first")
    trials, few, short = (4, 2, {}) if work.quick else (TRIALS, FEW, {"epochs": SHORT})
    start = START.model_copy(update={"epochs": 1, "train_examples": 200} if work.quick else {})
    work.say(f"{trials} random trials")
    uncut = in_process(_search, _settings(trials, sampler="random", rungs=1), 2, start)
    work.say("a search by halving")
    batch = min(BATCH, trials)
    halving = _settings(2 * trials // batch * batch, batch=batch, rungs=1 if work.quick else RUNGS)
    cut = in_process(_search, halving, 2, start, uncut["best"])
    start = start.model_copy(update=short)
    whole = _settings(few, sampler="random", rungs=1)
    work.say(f"{few} trials by themselves")
    bare = in_process(_trainings, whole, start)
    work.say(f"the same {few} in a search")
    one, two = (in_process(_search, whole, jobs, start)["seconds"] for jobs in (1, 2))
    reached = cut["best"] <= uncut["best"]
    answer = "reaches" if reached else "does not reach"
    name = f"{trials} random trials that nothing cuts: time to their best validation loss"
    soon = faster(name, cut["seconds"], uncut["seconds"], 4)
    return Result(
        [
            Claim(**{**vars(soon), "reached": soon.reached and reached}),
            at_most(f"{few} trainings in one process, without a search", one, bare["seconds"], 1.1),
            faster("one process, the same trials", two, one, 1.8),
        ],
        f"Rotten Tomatoes, {EPOCHS} epochs, the best of which is kept ({SHORT} epochs in the last two rows), "
        f"{len(SPACE)} knobs, one seed. The random trials reach a "
        f"validation loss of {uncut['best']:.4f} on two cores; the search (TPE, batches of {BATCH}, {RUNGS} rungs, "
        f"reduction 3) {answer} it, with {cut['best']:.4f} after {cut['trials']:.0f} trials. "
        "Time counts from the start of the search to the end of the batch that reaches it, the start of the processes "
        "included; so do the trainings by themselves include imports and loading. Each measured once.",
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
    from textrnn.search.trainings import Inputs, Record, Workers

    trials: list[Trial] = []
    started = time.perf_counter()

    def best() -> float:
        return min(trial.value for trial in trials if trial.outcome == FINISHED and trial.value is not None)

    def on_batch(batch: list[Trial]) -> None:
        if best() <= until:
            raise _Reached

    with tempfile.TemporaryDirectory() as scratch, redirect_stdout(StringIO()):
        folder = Path(scratch)
        inputs = Inputs(TOKENS, EMBEDDINGS, folder, "", ((EMBEDDING, ""),))
        progress = Progress(search, start, trials)
        try:
            with Workers(jobs, inputs, Record(folder, ""), progress) as workers:
                Halving(search, start, workers.train, on_batch, trials).run()
        except _Reached:
            pass
    return {"seconds": time.perf_counter() - started, "best": best(), "trials": len(trials)}


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
