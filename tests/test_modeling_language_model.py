"""A language model against values computed by hand: its loss, the words drawn, the state that it carries on."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from textrnn.config.pretraining import Pretraining
from textrnn.modeling.backend import keras
from textrnn.modeling.language_model import LanguageModel, draw_words, inclusion_chances

CELLS = ("simple_rnn", "lstm", "gru")
EVENLY = np.array([0, 5, 5, 5])
NONE = np.zeros(0, np.int32)


def make_model(vectors: Any, counts: np.ndarray = EVENLY, **settings: Any) -> LanguageModel:
    """A model of two units."""
    plain = {"embedding": "tiny", "cell": "simple_rnn", "units": 2, "batch_size": 4, **settings}
    return LanguageModel(Pretraining(**plain), np.array(vectors, np.float32), counts, steps=10, words=1.0)


def half_model(**settings: Any) -> LanguageModel:
    """Its state is 0.5, 0 after any word, so the scores of the words 1, 2, 3 are 1, 0, -1."""
    model = make_model([[0, 0], [2, 9], [0, 9], [-2, 9]], **settings)
    cell = model.directions[0][0].cell
    cell.kernel.assign(np.zeros((2, 2)))
    cell.recurrent_kernel.assign(np.zeros((2, 2)))
    cell.bias.assign(np.arctanh([0.5, 0]))
    model.bias.assign(np.zeros(4))
    return model


def scrambled(cell: str, **settings: Any) -> LanguageModel:
    """A model of seven words and three numbers each, with a projection, whose weights are all different."""
    draw = np.random.default_rng(3)
    vectors = draw.normal(0, 0.7, (7, 3))
    model = make_model(vectors, np.array([0, 9, 5, 4, 3, 2, 1]), cell=cell, **settings)
    for weight in model.trainable_weights:
        weight.assign(draw.normal(0, 0.7, weight.shape))
    return model


def nats(model: LanguageModel, ids: Any, targets: Any, drawn: Any = NONE, training: bool = False) -> float:
    """The loss of one step, from where the last one ended; `ids` are of both parts."""
    x, y = (np.array(ids, np.int32), np.array(drawn, np.int32)), np.array(targets, np.int32)
    loss = model.compute_loss(x, y, model(x, training=training), training=training)
    return float(keras.ops.convert_to_numpy(loss))


# The logarithm of e + 1 + 1/e is 1.407606.
@pytest.mark.parametrize(("word", "expected"), [(1, 0.407606), (2, 1.407606), (3, 2.407606)])
def test_loss_with_the_scores_of_all_words(word: int, expected: float) -> None:
    for settings in ({"samples": 0}, {"samples": 3}):
        assert nats(half_model(**settings), [[[1]], [[0]]], [[[word]], [[0]]], training=True) == pytest.approx(
            expected, abs=1e-5
        )


@pytest.mark.parametrize(
    ("word", "drawn", "expected"),
    [
        (1, [2], np.log(np.e + 3 * 1) - 1),  # drawn with probability 1/3
        (3, [1], np.log(1 / np.e + 3 * np.e) + 1),
        (2, [2], 0.0),  # the right one counts once
    ],
)
def test_loss_with_drawn_words(word: int, drawn: list[int], expected: float) -> None:
    model = half_model(samples=1)
    assert nats(model, [[[1]], [[0]]], [[[word]], [[0]]], drawn, training=True) == pytest.approx(expected, abs=1e-5)
    # Measured is the loss with the scores of all words.
    assert nats(model, [[[1]], [[0]]], [[[word]], [[0]]]) == pytest.approx(0.407606 + word - 1, abs=1e-5)


def test_words_are_drawn_by_frequency_some_always_and_none_twice() -> None:
    # To the power 3/4 the counts are 8, 1, 1, 1: the first would have more than 1.
    chances = inclusion_chances(np.array([0, 16, 1, 1, 1]), 2)
    np.testing.assert_allclose(chances, [0, 1, 1 / 3, 1 / 3, 1 / 3])
    drawn = [draw_words(chances, at) for at in (np.arange(300) + 0.5) / 300]
    assert [words.tolist() for words in (drawn[0], drawn[150], drawn[299])] == [[1, 2], [1, 3], [1, 4]]
    np.testing.assert_allclose(np.bincount(np.concatenate(drawn), minlength=5) / 300, chances, atol=0.01)

    counts = np.random.default_rng(0).zipf(1.3, 1000)
    counts[0] = 0
    chances = inclusion_chances(counts, 50)
    assert chances.sum() == pytest.approx(50) and chances.max() == 1
    for at in (0.0, 0.3, 1 - 1e-9):
        words = draw_words(chances, at)
        assert len(set(words.tolist())) == 50 and words.min() > 0


def test_the_sum_over_drawn_words_is_that_over_all_on_average() -> None:
    model = scrambled("simple_rnn", samples=2)
    x, y = (np.array([[[2]], [[0]]], np.int32), NONE), np.array([[[4]], [[0]]], np.int32)
    states = model(x)
    score = float(np.array(states[0])[0, 0] @ np.array(model.vectors)[4] + np.array(model.bias)[4])
    everything = float(model.compute_loss(x, y, states, training=False)) + score
    draws = [tuple(draw_words(model.chances, at)) for at in (np.arange(2000) + 0.5) / 2000]
    estimates = {
        drawn: np.exp(float(model.compute_loss((x[0], np.array(drawn, np.int32)), y, states)) + score)
        for drawn in set(draws)
    }
    assert len(estimates) > 3
    assert np.log(np.mean([estimates[drawn] for drawn in draws])) == pytest.approx(everything, abs=0.002)


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("cell", CELLS)
def test_windows_give_what_the_whole_text_gives(cell: str, layers: int) -> None:
    """The second window has the first of two texts alone, and the third starts a new one."""
    model = scrambled(cell, layers=layers)
    texts, targets = np.array([[[2, 3, 4, 5, 6]], [[6, 2, 0, 0, 0]]]), np.array([[[3, 4, 5, 6, 2]], [[2, 4, 0, 0, 0]]])
    whole = nats(model, texts, targets)
    model.reset()
    parts = [nats(model, texts[..., at : at + 2], targets[..., at : at + 2]) for at in (0, 2, 4)]
    assert sum(parts) == pytest.approx(whole, rel=1e-5)
    model.reset()
    assert nats(model, texts, targets) == pytest.approx(whole, rel=1e-6)
    assert nats(model, texts, targets) != pytest.approx(whole, rel=1e-3)


@pytest.mark.parametrize("settings", [{}, {"bidirectional": True}])
@pytest.mark.parametrize("cell", CELLS)
def test_a_text_alone_has_the_loss_that_it_has_among_longer_ones(cell: str, settings: dict[str, Any]) -> None:
    model = scrambled(cell, **settings)
    texts = np.array([[[2, 3, 4], [5, 6, 0]], [[6, 0, 0], [3, 3, 0]]])
    targets = np.array([[[3, 4, 5], [6, 2, 0]], [[2, 0, 0], [4, 1, 0]]])
    together = nats(model, texts, targets)
    alone = 0.0
    for part in (0, 1):
        for row in (0, 1):
            length = int((targets[part, row] != 0).sum())
            ids, words = np.zeros((2, 1, length)), np.zeros((2, 1, length))
            ids[part, 0], words[part, 0] = texts[part, row, :length], targets[part, row, :length]
            model.reset()
            alone += nats(model, ids, words)
    assert alone == pytest.approx(together, rel=1e-5)


def test_each_direction_has_layers_of_its_own_and_one_embedding() -> None:
    model = scrambled("lstm", bidirectional=True)
    kernels = [weight for weight in model.trainable_weights if "kernel" in weight.name]
    assert [weight.shape for weight in kernels] == [(3, 8), (2, 8), (3, 8), (2, 8), (2, 3), (2, 3)]
    assert [weight.shape for weight in model.layer_weights()] == [(3, 8), (2, 8), (8,)] * 2
    assert not np.array_equal(*model.layer_weights()[::3])
    one = scrambled("lstm")
    # A word that is read passes one direction: 3 x 8, 2 x 8 and 2 x 3, and 7 words are scored, 3 numbers each.
    assert model.flops == one.flops == 2 * (24 + 16 + 6 + 7 * 3)
    assert scrambled("lstm", samples=4).flops == 2 * (24 + 16 + 6 + 5 * 3)


def test_dropout_acts_in_training_alone() -> None:
    for knob in ("spatial_dropout", "dropout", "recurrent_weight_dropout"):
        model = scrambled("gru", **{knob: 0.5})
        ids, targets = [[[2, 3, 4]], [[5, 6, 2]]], [[[3, 4, 5]], [[6, 2, 1]]]

        def loss(training: bool, model: LanguageModel = model, ids: Any = ids, targets: Any = targets) -> float:
            model.reset()
            return nats(model, ids, targets, training=training)

        assert loss(False) == loss(False)
        assert len({loss(True) for _ in range(8)}) > 1
