"""What a language model reads and learns, that it repeats, and that a classifier starts from exactly its weights."""

from __future__ import annotations

import itertools
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from covering import covering
from tiny_experiments import make_experiment
from tiny_models import make_embedding

from textrnn.config.pretraining import Pretraining
from textrnn.errors import TextrnnError
from textrnn.modeling import pretraining
from textrnn.modeling.backend import keras
from textrnn.modeling.checkpoint import Checkpoints, State
from textrnn.modeling.classifier import build_classifier
from textrnn.modeling.pretraining import Pretrainer, exercise, load_texts

TRAIN = [[2, 3, 4, 5, 6], [6, 2], [3, 3, 4], [5, 1, 2], [4], [2, 3, 4, 5]]
VALID = [[2, 3, 4], [6, 2, 3, 4]]
RICH: dict[str, Any] = {
    "spatial_dropout": 0.2,
    "dropout": 0.3,
    "recurrent_weight_dropout": 0.3,
    "samples": 3,
    "window": 2,
    "layers": 2,
}


def make_settings(**changes: Any) -> Pretraining:
    plain = {"embedding": "tiny", "cell": "gru", "units": 2, "batch_size": 2, "epochs": 2, "samples": 0}
    return Pretraining(**{**plain, **changes})


def write_tokens(folder: Path, **splits: list[list[int]]) -> Path:
    folder.mkdir(exist_ok=True)
    for split, texts in splits.items():
        pl.DataFrame({"ids": texts}, schema={"ids": pl.List(pl.Int32)}).write_parquet(folder / f"{split}.parquet")
    return folder


def make_trainer(folder: Path, checkpoints: Checkpoints | None = None, **changes: Any) -> Pretrainer:
    settings = make_settings(**changes)
    tokens = write_tokens(folder / "tokens", train=TRAIN, valid=VALID)
    train, valid = load_texts(tokens, settings, "train", "unlabelled"), load_texts(tokens, settings, "valid")
    return Pretrainer(settings, train, valid, make_embedding(), checkpoints)


def learned(trainer: Pretrainer) -> list[Any]:
    """Everything that a stage writes, clock times left out."""
    return [trainer.history, trainer.matrix().tolist(), *(each.tolist() for each in trainer.model.layer_weights())]


@pytest.fixture
def eager() -> Any:
    """Without a graph: to trace one takes longer than the few steps of a test."""
    import tensorflow as tf

    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


def test_next_word_and_autoencoder_set_other_exercises() -> None:
    texts, lengths = np.array([[2, 3, 4], [5, 6, 0]], np.int32), np.array([3, 2])
    read, said = exercise(texts, lengths, make_settings())
    assert (read.tolist(), said.tolist()) == ([[2, 3], [5, 6]], [[3, 4], [6, 0]])
    read, said = exercise(texts, lengths, make_settings(target="autoencoder"))
    assert read.tolist() == [[2, 3, 4, 0, 2, 3], [5, 6, 0, 5, 6, 0]]
    assert said.tolist() == [[0, 0, 0, 2, 3, 4], [0, 0, 5, 6, 0, 0]]


def test_train_and_unlabelled_texts_are_read_and_no_others(tmp_path: Path) -> None:
    tokens = write_tokens(tmp_path, train=[[2, 3], [4]], unlabelled=[[3, 4, 5]], valid=[[9, 9]], test=[[8, 8]])
    forward, backward = load_texts(tokens, make_settings(bidirectional=True), "train", "unlabelled")
    assert forward.padded(np.arange(2)).tolist() == [[2, 3, 0], [3, 4, 5]]
    assert backward.padded(np.arange(2)).tolist() == [[3, 2, 0], [5, 4, 3]]
    backward, forward = load_texts(tokens, make_settings(reverse=True, bidirectional=True), "train", "unlabelled")
    assert backward.padded(np.arange(2)).tolist() == [[3, 2, 0], [5, 4, 3]]
    (cut,) = load_texts(tokens, make_settings(target="autoencoder", window=2), "train", "unlabelled")
    assert cut.padded(np.arange(3)).tolist() == [[2, 3], [4, 0], [3, 4]]
    assert cut.truncated == {"texts": 1, "tokens": 1}


def test_texts_of_one_word_teach_nothing(tmp_path: Path) -> None:
    tokens = write_tokens(tmp_path, train=[[2], [3]])
    with pytest.raises(TextrnnError, match=r"train\.parquet: no text of at least two words"):
        load_texts(tokens, make_settings(), "train", "unlabelled")


def test_the_steps_of_an_epoch_read_every_word_once(tmp_path: Path) -> None:
    """Five texts in batches of three, in windows of two words, longer texts first, dealt to two parts."""
    trainer = make_trainer(tmp_path, batch_size=3, window=2)
    pairs = []
    for rows, at in trainer._steps(1):
        ids, targets = trainer._window(trainer.train, rows, at, 2)
        assert ids.shape == targets.shape and ids.shape[0] == 2 and ids.shape[2] <= 2
        pairs += [pair for pair in zip(ids.flat, targets.flat, strict=True) if pair[1]]
    expected = [pair for text in TRAIN for pair in itertools.pairwise(text)]
    assert sorted(pairs) == sorted(expected)
    assert trainer.words_per_epoch == len(expected) == 12
    assert (trainer.valid_predicted, len(trainer.train[0])) == (5, 5)


@pytest.mark.parametrize("cell", ["simple_rnn", "lstm", "gru"])
def test_the_perplexity_is_that_of_a_network_computed_in_numpy(tmp_path: Path, cell: str, eager: None) -> None:
    trainer = make_trainer(tmp_path, cell=cell, layers=2)
    trainer.run()
    model = trainer.model
    layers = model.directions[0]
    nats = []
    for text in VALID:
        states = np.array(model.vectors)[None, text[:-1]]
        for layer in layers:
            plain = getattr(keras.layers, type(layer).__name__)(2, return_sequences=True)
            plain.build(states.shape)
            plain.set_weights(layer.get_weights())
            states = keras.ops.convert_to_numpy(plain(states))
        scores = states[0] @ np.array(trainer.model.projections[0].kernel) @ trainer.matrix()[1:].T
        scores += np.array(model.bias)[1:]
        scores -= np.log(np.exp(scores).sum(axis=1, keepdims=True))
        nats += [-scores[place, word - 1] for place, word in enumerate(text[1:])]
    assert len(nats) == 5
    assert trainer.history[-1]["val_loss"] == pytest.approx(np.mean(nats), rel=1e-5)
    assert trainer.history[-1]["perplexity"] == pytest.approx(np.exp(np.mean(nats)), rel=1e-5)


@pytest.mark.parametrize(
    "changes", [{}, {"samples": 3, "window": 2}, {"bidirectional": True}, {"target": "autoencoder"}]
)
def test_it_learns(tmp_path: Path, changes: dict[str, Any]) -> None:
    trainer = make_trainer(tmp_path, cell="lstm", units=8, epochs=40, learning_rate=0.05, batch_size=6, **changes)
    before = trainer.matrix()
    trainer.run()
    losses = [row["loss"] for row in trainer.history]
    assert losses[-1] < 0.6 * losses[0]
    assert np.array_equal(before[1:] == trainer.matrix()[1:], np.zeros((6, 3), bool))  # all words were trained
    rates = [row["learning_rate"] for row in trainer.history]
    assert rates[-1] == pytest.approx(0.005, rel=1e-3)
    assert all(after < before for before, after in itertools.pairwise(rates))


class EveryStep(Checkpoints):
    """Saves after every step, and keeps all that it saved: `<number>/<seed>.npz`."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder / "last", "abc", epoch_seconds=0, step_seconds=0)
        self.kept: list[Path] = []

    def save(self, seed: int, state: State) -> None:
        super().save(seed, state)
        self.kept.append(self._folder.parent / str(len(self.kept)))
        shutil.copytree(self._folder, self.kept[-1])


@pytest.mark.parametrize("changes", [{"cell": "lstm"}, {"bidirectional": True, "layers": 1}])
def test_the_same_bytes_twice_and_from_every_checkpoint(tmp_path: Path, changes: dict[str, Any], eager: None) -> None:
    changes = {**RICH, **changes}
    saved = EveryStep(tmp_path)
    whole = make_trainer(tmp_path, saved, **changes)
    whole.run()
    again = make_trainer(tmp_path, **changes)
    again.run()
    assert learned(again) == learned(whole)
    assert len(saved.kept) == sum(len(whole._steps(epoch)) for epoch in (1, 2))
    for folder in saved.kept:
        rows: list[Any] = []
        continued = make_trainer(tmp_path, Checkpoints(folder, "abc"), **changes)
        continued.run(rows.append)
        assert learned(continued) == learned(whole)
        assert len(rows) < 3


def test_another_seed_is_another_model(tmp_path: Path, eager: None) -> None:
    one, other = (make_trainer(tmp_path, seed=seed, epochs=1) for seed in (0, 1))
    for trainer in (one, other):
        trainer.run()
    assert learned(one) != learned(other)


def test_a_loss_that_is_no_number_is_refused(tmp_path: Path, eager: None) -> None:
    trainer = make_trainer(tmp_path, learning_rate=1.0)
    trainer.model.bias.assign(np.full(7, np.nan))
    with pytest.raises(TextrnnError, match=r"no longer a finite number in epoch 1\. Lower its learning_rate"):
        trainer.run()


@pytest.mark.parametrize(
    "changes",
    covering(cell=["simple_rnn", "lstm", "gru"], layers=[1, 2], bidirectional=[False, True], readout=["last", "max"]),
)
def test_a_classifier_starts_from_exactly_its_layers(tmp_path: Path, changes: dict[str, Any]) -> None:
    """Compared by what they compute, too: the states that the language model has after the same words."""
    experiment = make_experiment(**changes)
    shape = {key: changes[key] for key in ("cell", "layers", "bidirectional")}
    if experiment.bidirectional and experiment.layers > 1:
        pytest.skip("no language model has both")
    trainer = make_trainer(tmp_path, **shape)
    draw = np.random.default_rng(5)
    for weight in trainer.model.trainable_weights:
        weight.assign(draw.normal(0, 0.7, weight.shape))
    layers = trainer.model.layer_weights()
    model = build_classifier(experiment, trainer.matrix(), 2, 0, layers=layers)
    recurrent = [layer for layer in model.layers if isinstance(layer, keras.layers.RNN)]
    for weight, value in zip([each for layer in recurrent for each in layer.weights], layers, strict=True):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(weight), value)

    text = np.array([[2, 3, 4, 5, 6]], np.int32)
    features = keras.Model(model.input, model.get_layer("logits").input)(text)
    states = []
    for direction in trainer.model.directions:
        sequence = trainer.matrix()[text if not states else text[:, ::-1]]
        for layer in direction:
            sequence = layer(sequence, initial_state=layer.get_initial_state(1))[0]
        sequence = keras.ops.convert_to_numpy(sequence)
        states.append(sequence[:, -1] if experiment.readout == "last" else sequence.max(axis=1))
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(features), np.concatenate(states, axis=1), rtol=1e-5, atol=1e-6
    )


def test_measuring_in_small_pieces_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, eager: None
) -> None:
    trainer = make_trainer(tmp_path)
    whole = trainer._evaluate()
    monkeypatch.setattr(pretraining, "SCORES", 1)
    assert trainer._evaluate()["val_loss"] == pytest.approx(whole["val_loss"], rel=1e-6)
