"""Independent seeds, averaged weights, early stopping, trainings that diverge or continue from a checkpoint."""

from __future__ import annotations

import hashlib
import itertools
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from child import environment
from tiny_experiments import make_experiment
from tiny_models import make_embedding, make_tokens

from textrnn.modeling import training
from textrnn.modeling.adversarial import adds_losses
from textrnn.modeling.backend import keras
from textrnn.modeling.batches import predict
from textrnn.modeling.checkpoint import Checkpoints, State
from textrnn.modeling.scores import accuracy, log_loss
from textrnn.modeling.training import SeedResult, Trainer
from textrnn.modeling.training_texts import Epoch
from textrnn.run_folder import HELD_OUT, HISTORY_COLUMNS

SPLITS = {
    "train": make_tokens([[2, 3, 4], [6], [3, 3], [5, 1, 2, 4], [4, 6, 2], [2, 2]], [0, 1, 1, 0, 1, 0]),
    "valid": make_tokens([[2], [3, 5, 4], [6, 2]], [0, 1, 1]),
    "test": make_tokens([[4, 4], [1]], [1, 0]),
    "unlabelled": make_tokens([[2, 6, 6, 3, 5], [4], [5, 2], [3, 2, 2]], []),
}
BAD_SEED = 5
RICH: dict[str, Any] = {
    "cell": "simple_rnn",
    "readout": "last",
    "embedding_dropout": 0.2,
    "recurrent_dropout": 0.3,
    "dropout": 0.4,
    "ema": 0.6,
    "early_stopping": 2,
    "batch_size": 4,
}
PACED: dict[str, Any] = {
    "cell": "simple_rnn",
    "readout": "last",
    "class_weights": "balanced",
    "train_examples": 5,
    "ema": 0.6,
    "optimizer": "adamw",
    "weight_decay": 0.3,
    "schedule": "slanted_triangular",
    "warm_up": 0.3,
    "layer_rate_decay": 0.5,
    "gradual_unfreezing": 1,
    "batch_size": 2,
    "epochs": 4,
}
"""Whose rates differ between steps, epochs and layers, and whose texts have weights."""

CONTINUED: dict[str, dict[str, Any]] = {
    "dropouts and averaged weights": RICH,
    "both directions, regularized": {
        "cell": "simple_rnn",
        "bidirectional": True,
        "readout": "max",
        "rare_word_dropout": 2.0,
        "spatial_dropout": 0.2,
        "l2": 0.01,
        "label_smoothing": 0.1,
        "gradient_clip": 0.5,
        "optimizer": "rmsprop",
        "batch_size": 4,
    },
    "rates and weights": PACED,
    "dropout of weights and between layers": {
        "cell": "lstm",
        "bidirectional": True,
        "layers": 2,
        "readout": "attention",
        "recurrent_weight_dropout": 0.4,
        "layer_dropout": 0.3,
        "temporal_activation_regularization": 0.1,
        "batch_size": 4,
    },
    "perturbed texts and unlabelled ones": {
        "cell": "simple_rnn",
        "rare_word_dropout": 1.0,
        "spatial_dropout": 0.2,
        "dropout": 0.3,
        "normalize_embedding": True,
        "perturbation": 2.0,
        "adversarial": 1.0,
        "virtual_adversarial": 1.0,
        "entropy_minimization": 0.5,
        "unlabelled_batch": 3,
        "batch_size": 4,
    },
    "stopped early": {"dropout": 0.2, "early_stopping": 2, "learning_rate": 0.2, "epochs": 20},
}


class EveryStep(Checkpoints):
    """Saves after every step, and keeps all that it saved: `<number>/<seed>.npz`."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder / "last", "abc", epoch_seconds=0, step_seconds=0)
        self.kept: list[Path] = []

    def save(self, seed: int, state: State) -> None:
        super().save(seed, state)
        self.kept.append(self._folder.parent / str(len(self.kept)))
        shutil.copytree(self._folder, self.kept[-1])


@pytest.fixture
def eager() -> Iterator[None]:
    """Without a graph: to trace one takes far longer than the few steps of a test."""
    if keras.config.backend() != "tensorflow":
        yield
        return
    import tensorflow as tf

    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


def draw(seed: int) -> np.ndarray:
    """An embedding of its own for each seed, that of the bad seed with a word at infinity."""
    matrix = make_embedding(seed)
    if seed == BAD_SEED:
        matrix[2] = np.inf
    return matrix


def make_trainer(**changes: Any) -> Trainer:
    """One batch per epoch, so that epochs are steps, unless `changes` say otherwise."""
    plain = {"cell": "feedforward", "readout": "mean"}
    return Trainer(make_experiment(**{**plain, **changes}), SPLITS, draw, 2)


@cache
def rich_trainer() -> Trainer:
    """One for several tests, without checkpoints at first."""
    return make_trainer(**RICH)


@cache
def plain_trainer() -> Trainer:
    """One for many tests: tracing its graph takes longer than they do."""
    return make_trainer()


def run_plain(epochs: int, early_stopping: int | None = None) -> tuple[SeedResult, list[list[np.ndarray]]]:
    trainer = plain_trainer()
    changes = {"epochs": epochs, "early_stopping": early_stopping}
    trainer.experiment = trainer.experiment.model_copy(update=changes)
    return run(trainer)


def run(trainer: Trainer, seed: int = 0) -> tuple[SeedResult, list[list[np.ndarray]]]:
    """Returns the result, and the raw weights after every epoch."""
    raw: list[list[np.ndarray]] = []
    return trainer.run(seed, lambda row: raw.append(trainer.network.get_weights())), raw


def script(losses: Sequence[float]) -> Callable[[np.ndarray, np.ndarray], float]:
    """A validation loss that goes as `losses` say."""
    values = iter(losses)
    return lambda labels, probabilities: next(values)


def mark(result: SeedResult) -> str:
    """SHA-256 of all that a seed leaves behind."""
    total = hashlib.sha256(repr(result.history).encode())
    for array in [*result.weights, *result.probabilities.values()]:
        total.update(array.tobytes())
    return total.hexdigest()


def assert_equal(weights: list[np.ndarray], expected: list[np.ndarray]) -> None:
    for one, other in zip(weights, expected, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_seed_gives_the_same_bytes_after_others_and_alone_in_another_process() -> None:
    trainer = rich_trainer()
    trainer.checkpoints = None
    first, failed, second = (trainer.run(seed) for seed in (0, BAD_SEED, 1))
    assert mark(first) != mark(second)
    assert first.failure is second.failure is None
    assert failed.failure == "the loss is no longer a finite number in epoch 1"
    assert (failed.history, failed.weights, failed.probabilities) == ([], [], {})

    code = f"from {__name__} import RICH, make_trainer, mark; print(mark(make_trainer(**RICH).run(1)), end='')"
    other = subprocess.run(
        [sys.executable, "-c", code],
        env=environment(PYTHONHASHSEED="77"),
        capture_output=True,
        text=True,
        check=True,
    )
    assert other.stdout == mark(second)


@pytest.mark.skipif(keras.config.backend() != "tensorflow", reason="it counts TensorFlow's traces")
@pytest.mark.parametrize("changes", [RICH, PACED], ids=["rich", "paced"])
def test_nothing_is_traced_twice(tmp_path: Path, changes: dict[str, Any]) -> None:
    """However many seeds there are, shapes their batches have, rates, and checkpoints they go on from."""
    trainer = rich_trainer() if changes is RICH else make_trainer(**changes)
    trainer.checkpoints = saved = EveryStep(tmp_path)
    for seed in (0, 1):
        trainer.run(seed)
    trainer.checkpoints = Checkpoints(saved.kept[0], "abc")
    trainer.run(0)
    traces = [function.experimental_get_tracing_count() for function in (trainer._step, trainer._logits)]
    assert traces == [1, 1]


@pytest.mark.usefixtures("eager")
def test_history_and_probabilities_are_those_of_the_last_weights() -> None:
    result, raw = run_plain(epochs=3)
    assert [set(row) for row in result.history] == [set(HISTORY_COLUMNS)] * 3
    assert [row["epoch"] for row in result.history] == [1, 2, 3]
    assert [row["learning_rate"] for row in result.history] == pytest.approx([0.01] * 3)
    assert all(row["gradient_norm"] > 0 for row in result.history)
    assert_equal(result.weights, raw[-1])

    model = plain_trainer().network
    model.set_weights(raw[-1])
    for split in ("valid", "test"):
        np.testing.assert_array_equal(result.probabilities[split], predict(model, SPLITS[split]))
    labels = SPLITS["valid"].labels
    assert result.history[-1]["val_loss"] == log_loss(labels, result.probabilities["valid"])
    assert result.history[-1]["val_accuracy"] == accuracy(labels, result.probabilities["valid"])


@pytest.mark.usefixtures("eager")
def test_the_history_has_the_rate_of_an_epochs_last_step_whichever_seeds_were_before() -> None:
    """Of four steps in two epochs: rates of 0.01, 0.0075, 0.005 and 0.0025."""
    trainer = make_trainer(schedule="linear", batch_size=4)
    results = [trainer.run(seed) for seed in (0, 1)]
    for result in results:
        assert [row["learning_rate"] for row in result.history] == pytest.approx([0.0075, 0.0025])
    assert mark(make_trainer(schedule="linear", batch_size=4).run(1)) == mark(results[1])
    constant = make_trainer(batch_size=4).run(0)
    assert not np.array_equal(constant.weights[0], results[0].weights[0])


@pytest.mark.usefixtures("eager")
def test_one_more_layer_is_trained_in_each_epoch() -> None:
    """First the logits, then the dense layer, then the embedding."""
    trainer = make_trainer(gradual_unfreezing=1, epochs=4)
    before = trainer.network.get_weights()
    result, raw = run(trainer)
    moved = [
        [not np.array_equal(old, new) for old, new in zip(*weights, strict=True)]
        for weights in itertools.pairwise([before, *raw])
    ]
    assert moved == [[False] * 3 + [True] * 2, [False] + [True] * 4, [True] * 5, [True] * 5]
    assert [row["learning_rate"] for row in result.history] == pytest.approx([0.01] * 4)


def with_texts(texts: list[list[int]], labels: list[int], **changes: Any) -> Trainer:
    """Trains on these texts, in one batch."""
    trainer = make_trainer(**changes)
    return Trainer(trainer.experiment, {**SPLITS, "train": make_tokens(texts, labels)}, draw, 2)


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_balanced_class_weights_train_as_if_the_small_class_had_as_many_texts(smoothing: float) -> None:
    """One text of class 0 and two of class 1 are as the first one twice and the others once."""
    changes = {"epochs": 3, "label_smoothing": smoothing}
    weighted = with_texts([[2, 3], [4], [5, 6, 2]], [0, 1, 1], class_weights="balanced", **changes).run(0)
    doubled = with_texts([[2, 3], [2, 3], [4], [5, 6, 2]], [0, 0, 1, 1], **changes).run(0)
    plain = with_texts([[2, 3], [4], [5, 6, 2]], [0, 1, 1], **changes).run(0)
    for one, other in zip(weighted.weights, doubled.weights, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)
    assert not np.allclose(weighted.weights[-1], plain.weights[-1], rtol=1e-4, atol=1e-6)
    for key in ("loss", "val_loss"):
        assert [row[key] for row in weighted.history] == pytest.approx([row[key] for row in doubled.history], rel=1e-5)


@pytest.mark.usefixtures("eager")
def test_a_part_of_the_train_split_is_held_out_and_measured() -> None:
    """Of six texts two; they are drawn for each seed, and alike for every experiment."""
    trainer = make_trainer(held_out=0.3, epochs=2)
    rows, held_out = trainer.texts.drawn(0)
    assert sorted([*rows, *held_out]) == list(range(6)) and len(held_out) == 2
    assert any(not np.array_equal(held_out, trainer.texts.drawn(seed)[1]) for seed in range(1, 9))
    few_rows, few_held_out = make_trainer(held_out=0.3, train_examples=3).texts.drawn(0)
    np.testing.assert_array_equal(few_held_out, held_out)
    assert len(few_rows) == 3 and set(few_rows) < set(rows)

    result, raw = run(trainer)
    unseen = SPLITS["train"].take(held_out)
    for row, weights in zip(result.history, raw, strict=True):
        trainer.network.set_weights(weights)
        assert row[HELD_OUT] == accuracy(unseen.labels, predict(trainer.network, unseen))
    alone = replace(make_trainer(epochs=2), splits={**SPLITS, "train": SPLITS["train"].take(rows)})
    assert_equal(alone.run(0).weights, result.weights)


@pytest.mark.usefixtures("eager")
def test_training_sees_as_many_examples_as_it_is_allowed() -> None:
    trainer = make_trainer(train_examples=2, epochs=2)
    rows, held_out = trainer.texts.drawn(1)
    assert (len(rows), len(held_out)) == (2, 0)
    result, _ = run(trainer, seed=1)
    unseen_words = set(range(1, 7)) - {word for row in rows for word in SPLITS["train"].padded(np.array([row]))[0]}
    assert unseen_words
    for word in unseen_words:
        np.testing.assert_array_equal(result.weights[0][word], draw(1)[word])
    assert HELD_OUT not in result.history[0]


@pytest.mark.usefixtures("eager")
def test_gradient_norm_is_the_mean_over_the_epochs_steps() -> None:
    """The first epoch of one batch: the norm of the first moment, which is 0.1 of the gradient."""
    result, _ = run_plain(epochs=1)
    variables = plain_trainer().network.optimizer.variables
    moments = [value.numpy() for value in variables if "momentum" in value.path]
    norm = 10 * np.sqrt(sum(np.square(moment).sum() for moment in moments))
    assert result.history[0]["gradient_norm"] == pytest.approx(norm, rel=1e-4)


@pytest.mark.usefixtures("eager")
def test_averaged_weights_are_evaluated_while_training_goes_on_with_the_raw_ones() -> None:
    _, plain = run_plain(epochs=3)
    trainer = make_trainer(epochs=3, ema=0.75)
    result, raw = run(trainer)
    for one, other in zip(raw, plain, strict=True):
        assert_equal(one, other)

    average = raw[0]  # the first step has nothing to average with
    replay = [average]
    for weights in raw[1:]:
        average = [0.75 * old + 0.25 * new for old, new in zip(average, weights, strict=True)]
        replay.append(average)
    for one, other in zip(result.weights, average, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-7)
    assert not np.array_equal(result.weights[0], raw[-1][0])
    for row, weights in zip(result.history, replay, strict=True):
        trainer.network.set_weights(weights)
        expected = log_loss(SPLITS["valid"].labels, predict(trainer.network, SPLITS["valid"]))
        assert row["val_loss"] == pytest.approx(expected, rel=1e-6)


@pytest.mark.usefixtures("eager")
def test_a_frozen_embedding_comes_back_with_the_averages() -> None:
    trainer = make_trainer(ema=0.75, trainable_embedding=False, epochs=1)
    np.testing.assert_array_equal(trainer.run(3).weights[0], draw(3))
    assert trainer.parameter_counts() == {"total": 21 + 8 + 6, "trainable": 8 + 6}


@pytest.mark.parametrize(
    ("losses", "patience", "epochs", "best"),
    [
        ([3, 2, 2.5, 1, 1.1, 1.0, 0.5], 2, 6, 4),  # 1.0 is no better than 1
        ([1, 2, 3, 4], 1, 2, 1),
        ([4, 3, 2, 1, 0.5, 0.4, 0.3], 3, 7, 7),
        ([1, 2, 3, 0.5, 0.7, 0.6, 9], 3, 7, 4),
    ],
)
@pytest.mark.usefixtures("eager")
def test_early_stopping_brings_the_best_epoch_back(
    monkeypatch: pytest.MonkeyPatch, losses: list[float], patience: int, epochs: int, best: int
) -> None:
    monkeypatch.setattr(training, "log_loss", script(losses))
    result, raw = run_plain(epochs=7, early_stopping=patience)
    assert len(result.history) == epochs
    assert_equal(result.weights, raw[best - 1])


@pytest.mark.usefixtures("eager")
def test_without_patience_the_last_epoch_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "log_loss", script([1, 2, 3]))
    result, raw = run_plain(epochs=3)
    assert_equal(result.weights, raw[2])


@pytest.mark.usefixtures("eager")
def test_a_training_that_diverges_says_in_which_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "log_loss", script([1, 2, np.nan]))
    result, _ = run_plain(epochs=4)
    assert result.failure == "the loss is no longer a finite number in epoch 3"
    assert [row["epoch"] for row in result.history] == [1, 2]
    assert (result.weights, result.probabilities) == ([], {})


@pytest.mark.usefixtures("eager")
def test_an_infinite_loss_is_a_failure() -> None:
    result = make_trainer(l2=1e38, gradient_clip=1.0, ema=0.9).run(0)
    assert result.failure == "the loss is no longer a finite number in epoch 1"


@pytest.mark.parametrize("changes", CONTINUED.values(), ids=CONTINUED)
def test_a_training_continues_from_any_step_to_the_same_bytes(tmp_path: Path, changes: dict[str, Any]) -> None:
    if adds_losses(make_experiment(**changes)) and keras.config.backend() != "tensorflow":
        pytest.skip("other backends refuse losses on perturbed texts")
    trainer = rich_trainer() if changes is RICH else make_trainer(**changes)
    trainer.checkpoints = None
    plain = trainer.run(1)
    trainer.checkpoints = saved = EveryStep(tmp_path)
    assert mark(trainer.run(1)) == mark(plain)
    batches = -(-len(trainer.texts.drawn(1)[0]) // trainer.experiment.batch_size)
    stopped = len(plain.history) < trainer.experiment.epochs
    assert stopped == (changes is CONTINUED["stopped early"])
    assert len(saved.kept) == batches * len(plain.history) - stopped  # where it stops, the result comes next

    other = make_trainer(**changes)
    for number, folder in enumerate(saved.kept, start=1):
        other.checkpoints = Checkpoints(folder, "abc")
        before: list[dict[str, Any]] = []
        after: list[dict[str, Any]] = []
        result = other.run(1, after.append, lambda history, before=before: before.extend(history))
        assert before == plain.history[: number // batches]
        assert after == plain.history[number // batches :]
        assert mark(result) == mark(plain)


@pytest.mark.usefixtures("eager")
def test_a_finished_seed_is_not_trained_again(tmp_path: Path) -> None:
    """Nor is one that diverged."""
    trainer = make_trainer()
    trainer.checkpoints = Checkpoints(tmp_path, "abc", epoch_seconds=0)
    results = [trainer.run(seed) for seed in (0, BAD_SEED)]
    other = make_trainer()
    other.checkpoints = Checkpoints(tmp_path, "abc")
    again = [other.run(result.seed) for result in results]
    assert other.model is None
    assert [mark(result) for result in again] == [mark(result) for result in results]
    assert [result.failure for result in again] == [None, "the loss is no longer a finite number in epoch 1"]
    assert [result.seconds for result in again] == [result.seconds for result in results]
    assert other.parameter_counts() == trainer.parameter_counts()


@pytest.mark.usefixtures("eager")
def test_seconds_are_those_of_all_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that ticks when it is read: at the start, at a checkpoint, at the end."""
    clock = itertools.count(100.0, 7.0)
    monkeypatch.setattr(training.time, "perf_counter", lambda: next(clock))
    trainer = make_trainer(epochs=3)
    trainer.checkpoints = saved = EveryStep(tmp_path)
    assert trainer.run(0).seconds == 4 * 7
    trainer.checkpoints = Checkpoints(saved.kept[1], "abc")
    assert trainer.run(0).seconds == 2 * 7 + 7


@pytest.mark.usefixtures("eager")
def test_parameter_counts() -> None:
    """Embedding 7 x 3, dense 3 x 2 + 2, logits 2 x 2 + 2."""
    run_plain(epochs=1)
    assert plain_trainer().parameter_counts() == {"total": 21 + 8 + 6, "trainable": 21 + 8 + 6}


def test_scores_by_hand() -> None:
    probabilities = np.array([[0.5, 0.25, 0.25], [0.2, 0.3, 0.5], [1, 0, 0]], np.float32)
    labels = np.array([0, 1, 0])
    assert accuracy(labels, probabilities) == pytest.approx(2 / 3)
    assert log_loss(labels, probabilities) == pytest.approx((0.693147 + 1.203973 + 0) / 3, rel=1e-5)
    assert log_loss(np.array([1]), probabilities[2:]) == pytest.approx(87.336545, rel=1e-6)  # -ln 2**-126
    assert np.isnan(log_loss(labels, probabilities * np.nan))


@pytest.mark.usefixtures("eager")
def test_rare_words_are_read_as_unknown_in_training_alone() -> None:
    """With a rate beyond all counts every word is, and training moves no other word's vector."""
    trainer = make_trainer(rare_word_dropout=1e12, epochs=1)
    result = trainer.run(0)
    moved = np.abs(result.weights[0] - draw(0)).sum(axis=1) > 0
    assert moved.tolist() == [False, True, *[False] * 5]
    assert len(np.unique(result.probabilities["valid"], axis=0)) > 1


def in_steps_of_two(monkeypatch: pytest.MonkeyPatch, **changes: Any) -> tuple[Trainer, list[np.ndarray]]:
    """A trainer of three steps and two epochs, and what each step reads."""
    seen: list[np.ndarray] = []
    batch = Epoch.batch
    monkeypatch.setattr(Epoch, "batch", lambda *given: seen.append(batch(*given)) or seen[-1])
    return make_trainer(batch_size=2, epochs=2, **changes), seen


@pytest.mark.usefixtures("eager")
def test_each_step_also_reads_unlabelled_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four of them, two for each of three steps, and two epochs: each is read three times, below those with a label."""
    changes = {"virtual_adversarial": 1.0, "perturbation": 1.0, "unlabelled_batch": 2}
    trainer, seen = in_steps_of_two(monkeypatch, **changes)
    result = trainer.run(0)
    assert [len(ids) for ids in seen] == [4] * 6
    texts = [[word for word in row if word] for ids in seen for row in ids[2:].tolist()]
    assert sorted(texts) == sorted([[2, 6, 6, 3, 5], [4], [5, 2], [3, 2, 2]] * 3)
    labelled = [[word for word in row if word] for ids in seen[:3] for row in ids[:2].tolist()]
    assert sorted(labelled) == sorted([[2, 3, 4], [6], [3, 3], [5, 1, 2, 4], [4, 6, 2], [2, 2]])
    assert trainer.tokens_read(result) == 2 * 15 + 3 * 11
    # A mean of vectors, a dense layer, and the logits: nothing per token, 12 + 8 per text, eight passes for each.
    assert trainer.training_flops([result]) == 8 * (2 * 6 + 2 * 6) * (12 + 8)


@pytest.mark.usefixtures("eager")
def test_without_a_loss_that_reads_them_no_unlabelled_text_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    trainer, seen = in_steps_of_two(monkeypatch, unlabelled_batch=2)
    result = trainer.run(0)
    assert [len(ids) for ids in seen] == [2] * 6
    assert (trainer.tokens_read(result), trainer.training_flops([result])) == (2 * 15, 3 * 2 * 6 * (12 + 8))


@pytest.mark.usefixtures("eager")
def test_an_embedding_is_normalized_over_the_words_that_training_reads() -> None:
    """Also those of unlabelled texts: the variance of each dimension over all places is 1 at the start."""
    for names in (["train"], ["train", "unlabelled"]):
        more = {"entropy_minimization": 1.0, "unlabelled_batch": 1} if "unlabelled" in names else {}
        trainer, parts = make_trainer(normalize_embedding=True, **more), [SPLITS[name] for name in names]
        words = [word for part in parts for row in range(len(part)) for word in part.padded(np.array([row]))[0]]
        vectors = keras.ops.convert_to_numpy(trainer.network.get_layer("embedding")(np.array([words], np.int32)))[0]
        np.testing.assert_allclose(vectors.mean(axis=0), 0, atol=1e-6)
        np.testing.assert_allclose(vectors.var(axis=0), 1, rtol=1e-5)


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("rates", [{}, {"schedule": "cosine", "warm_up": 0.2, "gradual_unfreezing": 2}])
def test_a_training_that_stops_on_the_way_goes_on_to_the_same_bytes_and_reads_no_test_text(
    tmp_path: Path, rates: dict[str, Any]
) -> None:
    changes = {"cell": "simple_rnn", "dropout": 0.2, "batch_size": 4, "epochs": 5, "early_stopping": 2, **rates}
    whole = make_trainer(**changes).run(0)
    trainer = make_trainer(**changes)
    trainer.splits = {split: SPLITS[split] for split in ("train", "valid")}
    trainer.checkpoints = Checkpoints(tmp_path, "abc")

    for until in (1, 1, 3):
        result = trainer.run(0, until=until)
        assert (len(result.history), result.is_over) == (until, False)
    trainer = make_trainer(**changes)  # as in another process
    trainer.checkpoints = Checkpoints(tmp_path, "abc")
    trainer.splits = {split: SPLITS[split] for split in ("train", "valid")}
    result = trainer.run(0, until=5)

    assert result.is_over
    assert result.history == whole.history
    assert_equal(result.weights, whole.weights)
    assert result.probabilities.keys() == {"valid"}


@pytest.mark.usefixtures("eager")
def test_a_training_that_stops_early_at_the_end_of_a_rung_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "log_loss", script([0.5, 0.6, 0.7]))
    result = make_trainer(early_stopping=2, epochs=9).run(0, until=3)
    assert (len(result.history), result.is_over) == (3, True)


@pytest.mark.usefixtures("eager")
def test_a_shorter_rung_than_what_is_done_changes_no_checkpoint(tmp_path: Path) -> None:
    """Such as after a kill within an epoch, and a change of the search."""
    trainer = make_trainer(cell="simple_rnn", batch_size=4, epochs=5)
    trainer.checkpoints = EveryStep(tmp_path)
    whole = trainer.run(0)
    within_the_second_epoch = trainer.checkpoints.kept[2]
    trainer.checkpoints = Checkpoints(within_the_second_epoch, "abc")
    before = (within_the_second_epoch / "0.npz").read_bytes()
    assert len(trainer.run(0, until=1).history) == 1
    assert (within_the_second_epoch / "0.npz").read_bytes() == before
    assert trainer.run(0).history == whole.history
