"""Trainings on IMDB against the textbook listing, and against what the processor can do."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks import textbook
from benchmarks.data import Workplace, experiment
from benchmarks.measure import (
    Claim,
    Contender,
    Figures,
    Result,
    alternate,
    best,
    cores,
    faster,
    in_process,
    side_by_side,
)
from textrnn.analysis.significance import SeedPrior, contrast

if TYPE_CHECKING:
    from textrnn.modeling.training import Trainer

DIMENSION = 32
CELLS = ("lstm", "gru", "simple_rnn")
"""The longest training first, as in `textrnn repro`."""

ARITHMETIC_TEXTS = 6_400
ARITHMETIC_UNITS, ARITHMETIC_DIMENSION = 128, 100
MATRIX = 4096


def epoch(work: Workplace) -> Result:
    """One epoch of the listing's LSTM(32)."""
    tokens, repeats = work.tokens(), work.repeats(5)
    epochs = 1 if work.quick else 3

    def run(name: str, train: Callable[..., Figures], *threads: int) -> Contender:
        return lambda seed: in_process(
            train, tokens, _file(work, "epoch", name, seed), "lstm", [seed], epochs, *threads
        )

    contenders = {
        "textrnn": run("textrnn", _train),
        "listing": run("listing", textbook.train),
        "listing, one thread": run("one-thread", textbook.train, 1),
    }
    measured = alternate(contenders, repeats, work.say)
    ours, listing, one_thread = (best(each) for each in measured.values())
    right, right_there = (
        _right(_file(work, "epoch", name, seed) for seed in range(repeats)) for name in ("textrnn", "listing")
    )
    return Result(
        [
            faster(
                "the textbook listing: `pad_sequences` to 500, `model.fit`, one thread as here", ours, one_thread, 3
            ),
            faster("the same with TensorFlow's own settings, all cores", ours, listing, 3),
            _accuracy("the same: accuracy", [right], [right_there]),
        ],
        f"{_SAME} An epoch trains on 20,000 reviews and validates on 5,000; the first of each process, which traces, "
        f"does not count. A training here uses one thread. {_ACCURACY} There were {epochs} epochs and {repeats} seeds.",
    )


def nine(work: Workplace) -> Result:
    """SimpleRNN, LSTM and GRU with three seeds each."""
    tokens = work.tokens()
    epochs, seeds, cells = (1, [0], CELLS[:1]) if work.quick else (3, [0, 1, 2], CELLS)

    def run(name: str, jobs: int, train: Callable[..., Figures]) -> Contender:
        calls = [(train, tokens, _file(work, "nine", name, cell), cell, seeds, epochs) for cell in cells]
        return lambda _: _timed(calls, jobs)

    contenders = {
        "textrnn": run("textrnn", 2, _train),
        "listing": run("listing", 1, textbook.train),
    }
    measured = alternate(contenders, 1, work.say)
    ours, listing = (best(each) for each in measured.values())
    right, right_there = (
        {cell: np.load(_file(work, "nine", name, cell)) for cell in cells} for name in ("textrnn", "listing")
    )
    prior = SeedPrior.of_study([*right.values(), *right_there.values()])
    by_cell = [_accuracy(f"the same: {cell}", [right[cell]], [right_there[cell]], prior) for cell in cells]
    return Result(
        [
            faster("the textbook listing, one training after another", ours, listing, 5),
            _accuracy("the same: accuracy of all nine", [*right.values()], [*right_there.values()], prior),
            *(replace(claim, wanted="no target", reached=True) for claim in by_cell),
        ],
        f"{_SAME} {epochs} epochs each, measured once, from the start of the first process to the end of the last, "
        "predictions for the test split included. Here the three seeds of a cell share a process and two processes "
        "run side by side, one thread each: bare trainings, without DVC, MLflow, checkpoints and saved models. The "
        f"listing's processes follow each other, with TensorFlow's own settings, all cores. {_ACCURACY} "
        "The variance between seeds is moderated by all cells together, as in the reports "
        "(`analysis/significance.py`).",
    )


_SAME = (
    "IMDB, the same tokens (the last 500 of a review, a vocabulary of 10,000 words), embeddings of 32 numbers learned "
    "from scratch, 32 units, batches of 128, RMSprop with a rate of 0.001."
)
_ACCURACY = (
    "Accuracy is that on the test split after the epoch with the lowest validation loss. The difference, here minus "
    "there, has a 95 % interval over seeds and texts. The whole interval has to be above -0.5 points: too little "
    "evidence does not pass."
)


def order(work: Workplace) -> Result:
    """Batches of texts of similar length against batches of any texts."""
    tokens = work.tokens()
    epochs, seeds = (1, [0]) if work.quick else (5, list(range(6)))

    def run(name: str, *call: Callable[..., Figures]) -> Contender:
        return lambda seed: in_process(*call, tokens, _file(work, "order", name, seed), "lstm", [seed], epochs)

    contenders = {"similar": run("similar", _train), "any": run("any", _with_any_batches, _train)}
    measured = alternate(contenders, len(seeds), work.say)
    ours, theirs = (best(each) for each in measured.values())
    right, right_there = (_right(_file(work, "order", name, seed) for seed in seeds) for name in contenders)
    return Result(
        [
            _accuracy("batches of any texts: accuracy", [right], [right_there]),
            faster("the same: an epoch", ours, theirs, 1),
        ],
        f"{_SAME} LSTM, {epochs} epochs, {len(seeds)} seeds. {_ACCURACY} Here texts of about one length share a batch, "
        "and the order of batches is drawn anew for each epoch; there each batch is a random sample, as long as its "
        "longest text. So are the batches of validation, which is part of an epoch's time: it is slower there, too.",
    )


def loop(work: Workplace) -> Result:
    """Our loop over time against Keras' own, all else equal."""
    tokens = work.tokens()
    cells = CELLS[:1] if work.quick else CELLS

    def run(cell: str, *call: Callable[..., Figures]) -> Contender:
        return lambda _: in_process(*call, tokens, cell)

    contenders = {cell: run(cell, _train_and_score) for cell in cells}
    keras = {f"Keras' {cell}": run(cell, _with_keras_loops, _train_and_score) for cell in cells}
    measured = alternate({**contenders, **keras}, work.repeats(3), work.say)
    return Result(
        [
            faster(
                f"Keras' own loop, {cell}: {what}",
                best(measured[cell], figure),
                best(measured[f"Keras' {cell}"], figure),
                1,
            )
            for cell in cells
            for what, figure in (("an epoch", "seconds"), ("scoring", "scoring"))
        ],
        f"{_SAME} Both sides are trainings of this project, with batches of texts of similar length and one thread; "
        "there `keras.layers` take the place of this project's recurrent layers of the same weights. An epoch trains "
        "on 20,000 reviews and validates on 5,000; scoring predicts the 25,000 of the test split. Tracing counts in "
        "neither.",
    )


def arithmetic(work: Workplace) -> Result:
    """The arithmetic rate of training an LSTM(128), on real tokens alone."""
    tokens, at_once = work.tokens(), cores()
    matrix = 256 if work.quick else MATRIX

    def train(_: int) -> Figures:
        rates = side_by_side([(_arithmetic, tokens)] * at_once, at_once)
        return {"flops": sum(figures["flops"] for figures in rates)}

    contenders = {"training": train, "matrix product": lambda _: in_process(matrix_product, matrix)}
    measured = alternate(contenders, work.repeats(3), work.say)
    return Result(
        [beside_product(*(best(repeats, "flops", "most") for repeats in measured.values()))],
        f"As many trainings side by side as there are cores ({at_once}), one thread each; their rates are added. "
        f"LSTM({ARITHMETIC_UNITS}), embedding of {ARITHMETIC_DIMENSION} numbers learned with it, batches of 128, Adam, "
        f"{ARITHMETIC_TEXTS:,} reviews of at most 500 tokens. Counted are the matrix products of real tokens "
        "(`modeling/cost.py`), not padding, not the embedding, not the optimizer. The other figure is NumPy's float32 "
        f"product of two square matrices of {matrix:,} rows, on all cores.",
    )


def _file(work: Workplace, *parts: str | int) -> Path:
    """Where a training writes which texts it classifies correctly."""
    return work.scratch / f"{'-'.join(map(str, parts))}.npy"


def _right(files: Iterable[Path]) -> np.ndarray:
    """Joins what trainings with different seeds have written: bool [seeds, texts]."""
    return np.concatenate([np.load(file) for file in files])


def _accuracy(
    name: str, ours: Sequence[np.ndarray], theirs: Sequence[np.ndarray], prior: SeedPrior | None = None
) -> Claim:
    """Claims that accuracy, the mean of some cells', is at most half a point lower here than there, beyond chance.

    Args:
        ours: for each cell bool [seeds, texts].
        theirs: the same, for the same cells.
        prior: of the variances between seeds.
    """
    weight = 1 / len(ours)
    difference = contrast([*ours, *theirs], [weight] * len(ours) + [-weight] * len(theirs), prior=prior or SeedPrior())
    low, high = (100 * limit for limit in difference.interval())
    shown = f"{100 * difference.value:+.2f} points ({low:+.2f} to {high:+.2f})"
    right, right_there = (100 * float(np.mean(each)) for each in (ours, theirs))
    return Claim(name, right, right_there, "%", shown, "all of it above -0.5 points", low > -0.5)


def _timed(calls: Sequence[tuple[Any, ...]], jobs: int) -> Figures:
    """Returns the `seconds` of all calls together."""
    started = time.perf_counter()
    side_by_side(calls, jobs)
    return {"seconds": time.perf_counter() - started}


def _train(tokens: Path, target: Path, cell: str, seeds: Sequence[int], epochs: int) -> Figures:
    """As `textbook.train`, by this project."""
    trainer = _trainer(tokens, cell, epochs)
    times, right = [], []
    for seed in seeds:
        ends = [time.perf_counter()]
        result = trainer.run(seed, partial(_note_time, ends))
        times += textbook.epoch_times(ends)
        right.append(result.probabilities["test"].argmax(axis=1) == trainer.splits["test"].labels)
    np.save(target, np.stack(right))
    return {"seconds": min(times)}


def _train_and_score(tokens: Path, cell: str) -> Figures:
    """Returns the `seconds` of a second epoch, and those of `scoring` the test split after it."""
    from textrnn.modeling.backend import predict_function
    from textrnn.modeling.batches import predict

    trainer = _trainer(tokens, cell, 2)
    ends = [time.perf_counter()]
    trainer.run(0, partial(_note_time, ends))
    forward = predict_function(trainer.network)
    predict(forward, trainer.splits["valid"])  # traces
    started = time.perf_counter()
    predict(forward, trainer.splits["test"])
    return {"seconds": textbook.epoch_times(ends)[0], "scoring": time.perf_counter() - started}


def _trainer(tokens: Path, cell: str, epochs: int) -> Trainer:
    from textrnn.modeling.batches import Tokens
    from textrnn.modeling.training import Trainer

    settings = experiment(cell=cell, epochs=epochs, early_stopping=epochs)  # never stops, and keeps the best epoch
    splits = {split: Tokens.load(tokens / f"{split}.parquet", settings) for split in ("train", "valid", "test")}
    words = len((tokens / "vocabulary.txt").read_text(encoding="utf-8").split("\n")) - 1
    return Trainer(settings, splits, lambda seed: _drawn(seed, words, DIMENSION), 2)


def _with_any_batches(function: Callable[..., Figures], *arguments: Any) -> Figures:
    """Calls `function(*arguments)` in this process, with random samples as batches."""
    from textrnn.modeling import batches, training_texts

    for module in (training_texts, batches):  # that of training, that of validation
        module.__dict__["length_buckets"] = _random_batches
    return function(*arguments)


def _with_keras_loops(function: Callable[..., Figures], *arguments: Any) -> Figures:
    """Calls `function(*arguments)` in this process, with Keras' loops over time."""
    from textrnn.modeling import recurrence

    recurrence.on_cpu_tensorflow = False
    return function(*arguments)


def _random_batches(lengths: np.ndarray, batch_size: int, rng: np.random.Generator | None = None) -> list[np.ndarray]:
    """In the place of `length_buckets`."""
    rows = np.arange(len(lengths)) if rng is None else rng.permutation(len(lengths))
    return [rows[start : start + batch_size] for start in range(0, len(rows), batch_size)]


def _arithmetic(tokens: Path) -> Figures:
    """Returns the floating-point operations per second of a second epoch, as `flops`."""
    import polars as pl

    from textrnn.modeling.batches import Tokens
    from textrnn.modeling.cost import training_flops
    from textrnn.modeling.training import Trainer

    table = pl.read_parquet(tokens / "train.parquet").head(ARITHMETIC_TEXTS)
    few = table.head(64)
    settings = experiment(units=ARITHMETIC_UNITS, optimizer="adam", epochs=2)
    splits = {
        split: Tokens([rows["ids"]], settings, rows["id"], rows["label"].to_numpy())
        for split, rows in {"train": table, "valid": few, "test": few}.items()
    }
    words = len((tokens / "vocabulary.txt").read_text(encoding="utf-8").split("\n")) - 1
    trainer = Trainer(settings, splits, lambda seed: _drawn(seed, words, ARITHMETIC_DIMENSION), 2)
    ends = [time.perf_counter()]
    trainer.run(0, partial(_note_time, ends))
    count = training_flops(trainer.network, float(splits["train"].lengths.sum()), len(splits["train"]))
    return {"flops": count / textbook.epoch_times(ends)[0]}


def beside_product(ours: float, product: float) -> Claim:
    """Claims that `ours` is at least 40 % of the operations per second of a large matrix product."""
    name, shown = "the machine's own large matrix product", f"{ours / product:.0%}"
    return Claim(name, ours / 1e9, product / 1e9, "GFLOP/s", shown, "≥ 40 %", ours >= 0.4 * product)


def matrix_product(rows: int) -> Figures:
    """Returns the floating-point operations per second of NumPy's float32 product of two matrices, as `flops`."""
    draw = np.random.default_rng(0)
    first, second = (draw.standard_normal((rows, rows), dtype=np.float32) for _ in range(2))
    seconds = []
    for _ in range(5):
        started = time.perf_counter()
        first @ second
        seconds.append(time.perf_counter() - started)
    return {"flops": 2 * rows**3 / min(seconds)}


def _note_time(ends: list[float], row: object) -> None:
    ends.append(time.perf_counter())


def _drawn(seed: int, words: int, dimension: int) -> np.ndarray:
    """An embedding learned from scratch starts from this: float32 [words, dimension], even between -0.05 and 0.05."""
    return np.random.default_rng(seed).uniform(-0.05, 0.05, (words, dimension)).astype(np.float32)
