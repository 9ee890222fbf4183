"""Attributions against values computed by hand, and against the forward pass in NumPy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from covering import covering
from fake_runs import make_run
from tiny_experiments import CELLS, make_experiment
from tiny_models import make_embedding, scramble

from textrnn.config.sections import BaselineParams
from textrnn.modeling import explanation
from textrnn.modeling.attributions import EXACT, Explanation
from textrnn.modeling.baseline import NBSVM
from textrnn.modeling.batches import Tokens
from textrnn.modeling.classifier import build_classifier
from textrnn.modeling.ensemble import save_ensemble
from textrnn.modeling.explanation import Explainer
from textrnn.modeling.forward import Network
from textrnn.modeling.model_files import Member, read_model
from textrnn.modeling.saved_model import save_model
from textrnn.text.encoder import TextEncoder
from textrnn.text.tokenizer import tokenize
from textrnn.text.vocabulary import Vocabulary

CLASSES = ("rotten", "fresh", "stale")
WORDS = ("<pad>", "<unk>", "good", "bad", "film", "a", "plot")
NETWORKS = covering(
    cell=CELLS,
    layers=range(2),
    bidirectional=(False, True),
    readout=("last", "mean", "attention", "flatten"),  # `max` is below: its kinks take many steps
    padding=("right", "left"),
)
TEXT = "Good plot, bad film"  # one word is unknown
POINTS, STEP = 200, 0.02


def save_network(folder: Path, classes: tuple[str, ...] = CLASSES, **changes: Any) -> Path:
    """Saves a network of random weights, biases too; its padding has a vector, which counts if it is in front."""
    experiment = make_experiment(**changes)
    model = build_classifier(experiment, make_embedding(), len(classes), seed=0)
    scramble(model)
    weights = model.get_weights()
    weights[0][0] = 0.3
    save_model(folder, experiment, TextEncoder(Vocabulary(WORDS), classes), model, weights)
    return folder


def save_nb_svm(folder: Path, classes: tuple[str, ...]) -> NBSVM:
    texts = pl.Series(
        ["good film good plot", "a bad film", "bad plot", "a good plot", "stale film", "stale bad a film"]
    )
    params = BaselineParams(kind="nb_svm", ngrams=2, min_count=1, inverse_regularization=2.0)
    labels = np.array([1, 0, 0, 1, 2, 2]) % len(classes)
    fitted = NBSVM(params, texts, labels, len(classes))
    fitted.saved(classes).save(folder)
    return fitted


def in_numpy(folder: Path, text: str, label: int, shares: np.ndarray) -> np.ndarray:
    """The log-odds of a class of `text` with its words there to `shares`, [variants, words]; independent of Keras."""
    weights, encoder, experiment = read_model(folder)
    rows, *others = weights.values()
    ids = encoder.lookup(pl.Series([text]))[0].to_numpy()
    scaled = (shares[:, :, None] * rows[ids]).reshape(-1, rows.shape[1]).astype(np.float32)
    twins = len(rows) + np.arange(shares.size, dtype=np.int32).reshape(shares.shape)  # each word of each variant
    tokens = Tokens([pl.Series(twins.tolist(), dtype=pl.List(pl.Int32))], experiment).padded(np.arange(len(shares)))
    network = Network(experiment, [np.concatenate([rows, scaled]), *others], len(encoder.classes))
    logits = network.logits(tokens).astype(np.float64)
    rest = np.delete(logits, label, axis=1)
    return logits[:, label] - np.log(np.exp(rest).sum(axis=1))


def nudged(words: int) -> np.ndarray:
    """Shares [words x points x 2, words]: at each point of the way, those of one word a step higher and lower."""
    points = np.repeat((np.arange(POINTS) + 0.5) / POINTS, 2)[:, None] + np.zeros(words)
    steps = np.tile([STEP, -STEP], POINTS)
    return np.concatenate([points + steps[:, None] * (np.arange(words) == word) for word in range(words)])


def integrals(values: np.ndarray) -> np.ndarray:
    """The integral of each word's finite differences, from a function's values at `nudged`; float [words]."""
    return (values.reshape(-1, POINTS, 2) @ [1, -1]).mean(axis=1) / (2 * STEP)


def attributions(found: Explanation) -> list[float | None]:
    return [word.attribution for word in found.words]


def total(found: Explanation) -> float:
    return sum(value for value in attributions(found) if value is not None)


@pytest.mark.parametrize("changes", NETWORKS, ids=lambda changes: "-".join(map(str, changes.values())))
def test_attributions_of_any_network_add_up_to_what_numpy_says(changes: dict[str, Any], tmp_path: Path) -> None:
    folder = save_network(tmp_path / "model", **changes)
    explainer = Explainer(folder)
    texts = pl.Series([TEXT, "bad bad bad bad film a plot good a film plot"])  # the second is cut short
    for text, found in zip(texts, explainer.explain(texts), strict=True):
        label = CLASSES.index(found.label)
        with_words, without = in_numpy(folder, text, label, np.ones((2, len(found.words))) * [[1], [0]])
        np.testing.assert_allclose([found.log_odds, found.without_words], [with_words, without], atol=1e-4)
        np.testing.assert_allclose(found.probability, 1 / (1 + np.exp(-with_words)), atol=1e-4)
        assert abs(total(found) - (with_words - without)) <= max(EXACT * abs(with_words - without), 0.0011)
        assert found.is_exact


@pytest.mark.parametrize(
    "changes",
    [
        {"cell": "gru", "bidirectional": True, "layers": 2, "readout": "max"},
        {"cell": "lstm", "readout": "attention"},
        {"cell": "simple_rnn", "padding": "left", "reverse": True},
        {"cell": "feedforward", "readout": "mean", "padding": "left", "units": 4},
        {"cell": "conv1d", "readout": "concat"},
    ],
    ids=lambda changes: changes["cell"],
)
def test_each_word_has_its_integral_of_finite_differences(changes: dict[str, Any], tmp_path: Path) -> None:
    folder = save_network(tmp_path / "model", **changes)
    (found,) = Explainer(folder).explain(pl.Series([TEXT]))
    label = CLASSES.index(found.label)
    expected = integrals(in_numpy(folder, TEXT, label, nudged(5)))
    # Where a maximum or a ReLU changes over, single words are less exact than their sum.
    np.testing.assert_allclose(attributions(found), expected, atol=0.03 * np.abs(expected).max())
    assert np.abs(expected).max() > 0.01


def save_mean(folder: Path, values: dict[str, float], bias: float, **changes: Any) -> Path:
    """A linear network: two classes, vectors of one number, their mean, and a dense layer that takes it as it is."""
    experiment = make_experiment(cell="feedforward", readout="mean", layers=0, bidirectional=False, **changes)
    rows = np.array([[values.get(word, 0.0)] for word in WORDS], np.float32)
    model = build_classifier(experiment, rows, 2, seed=0)
    weights = [rows, np.array([[0.0, 1.0]], np.float32), np.array([0.0, bias], np.float32)]
    save_model(folder, experiment, TextEncoder(Vocabulary(WORDS), CLASSES[:2]), model, weights)
    return folder


VALUES = {"good": 4.0, "bad": -2.0, "film": 1.0, "<unk>": 0.5}


def test_a_linear_network_by_hand(tmp_path: Path) -> None:
    """Of n words each adds its value / n to the log-odds of class 1, and takes it from those of class 0."""
    explainer = Explainer(save_mean(tmp_path / "model", VALUES, bias=0.25))
    fresh, rotten = explainer.explain(pl.Series(["Good film, bad", "bad bad"]))
    assert (fresh.label, rotten.label) == ("fresh", "rotten")
    np.testing.assert_allclose(attributions(fresh), [1.0, 0.25, 0.125, -0.5], atol=1e-6)
    np.testing.assert_allclose([fresh.log_odds, fresh.without_words], [0.25 + 3.5 / 4, 0.25], atol=1e-6)
    np.testing.assert_allclose(attributions(rotten), [1.0, 1.0], atol=1e-6)
    np.testing.assert_allclose([rotten.log_odds, rotten.without_words], [1.75, -0.25], atol=1e-6)
    assert [(word.word, word.token, word.apart, word.known) for word in fresh.words] == [
        ("Good", "good", False, True),
        ("film", "film", True, True),
        (",", ",", False, False),
        ("bad", "bad", True, True),
    ]
    assert fresh.warning == ""


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"keep": "both"}, [4 / 3, -2 / 3, None, None, 1 / 3]),
        ({"keep": "start"}, [4 / 3, -2 / 3, 4 / 3, None, None]),
        ({"keep": "end", "reverse": True}, [None, None, 4 / 3, 0.5 / 3, 1 / 3]),
    ],
    ids=["both", "start", "end"],
)
def test_words_beyond_what_is_read_have_none(
    changes: dict[str, Any], expected: list[float | None], tmp_path: Path
) -> None:
    explainer = Explainer(save_mean(tmp_path / "model", VALUES, bias=0.0, max_tokens=3, **changes))
    (found,) = explainer.explain(pl.Series(["good bad good why film"]))
    assert [value is None for value in attributions(found)] == [value is None for value in expected]
    np.testing.assert_allclose([v for v in attributions(found) if v], [v for v in expected if v], atol=1e-6)
    assert explainer.predictor.cut_short == 1


def test_padding_in_front_stays_and_has_none(tmp_path: Path) -> None:
    """Two of four positions are padding, of value 8: it is in the log-odds before any word is."""
    values = {**VALUES, "<pad>": 8.0}
    explainer = Explainer(save_mean(tmp_path / "model", values, bias=0.0, max_tokens=4, padding="left"))
    (found,) = explainer.explain(pl.Series(["good bad"]))
    np.testing.assert_allclose(attributions(found), [1.0, -0.5], atol=1e-6)
    np.testing.assert_allclose([found.log_odds, found.without_words], [4.5, 4.0], atol=1e-6)


def test_a_text_without_words_and_one_without_known_words(tmp_path: Path) -> None:
    explainer = Explainer(save_mean(tmp_path / "model", VALUES, bias=-1.0))
    empty, unknown, known = explainer.explain(pl.Series([" ", "Why?", "film"]))
    assert (empty.words, empty.error, empty.without_words) == ([], 0.0, empty.log_odds)
    assert [word.known for word in unknown.words] == [False, False]
    np.testing.assert_allclose(attributions(unknown), [-0.25, -0.25], atol=1e-6)
    assert empty.warning == unknown.warning == "it has no word that the model knows"
    assert known.warning == ""
    assert explainer.explain(pl.Series([], dtype=pl.String)) == []


@pytest.mark.parametrize("classes", [CLASSES[:2], CLASSES], ids=len)
def test_nb_svm_adds_up_to_its_decision_minus_its_intercept(classes: tuple[str, ...], tmp_path: Path) -> None:
    fitted = save_nb_svm(tmp_path / "model", classes)
    texts = pl.Series(["a good film , good plot", "bad", "stale bad a film", "unheard of"])
    counts = fitted._vectorizer.transform(tokenize(texts).list.join(" ").to_list())
    for row, found in enumerate(Explainer(tmp_path / "model").explain(texts)):
        label = classes.index(found.label)
        ratios, model = fitted._models[0 if len(classes) == 2 else label]
        sign = -1 if len(classes) == 2 and label == 0 else 1
        decision = sign * model.decision_function(counts[[row]].multiply(ratios).tocsr())[0]
        intercept = sign * model.intercept_[0]
        np.testing.assert_allclose(total(found), decision - intercept, atol=1e-9)
        np.testing.assert_allclose([found.log_odds, found.without_words], [decision, intercept], atol=1e-9)
        assert found.error < 1e-9


def test_an_ngram_is_divided_among_its_words_wherever_it_occurs(tmp_path: Path) -> None:
    """The text has `good` twice and `good film` once; n-grams count once."""
    fitted = save_nb_svm(tmp_path / "model", CLASSES[:2])
    saved = fitted.saved(CLASSES[:2])
    weight = dict(zip(saved.ngrams, saved.weights[0], strict=True))
    (found,) = Explainer(tmp_path / "model").explain(pl.Series(["good film good"]))
    sign = 1 if found.label == "fresh" else -1
    pair, again = weight["good film"] / 2, weight["film good"] / 2
    expected = [weight["good"] / 2 + pair, weight["film"] + pair + again, weight["good"] / 2 + again]
    np.testing.assert_allclose(attributions(found), sign * np.array(expected), atol=1e-12)


@pytest.mark.parametrize("classes", [CLASSES[:2], CLASSES], ids=len)
def test_an_ensemble_of_networks_and_nb_svm_is_explained_as_one(classes: tuple[str, ...], tmp_path: Path) -> None:
    """Attributions add up to the log-odds of the average, and are those of finite differences of it."""
    runs = [make_run(tmp_path / "runs", "gru", seeds=[3, 5]), make_run(tmp_path / "runs", "nb-svm", kind="baseline")]
    networks = [runs[0].path / "model" / "3", runs[0].path / "model" / "5"]
    save_network(networks[0], classes, cell="gru")
    save_network(networks[1], classes, cell="feedforward", layers=0, readout="mean", max_tokens=2, keep="end")
    linear = save_nb_svm(runs[1].path / "model" / "0", classes).saved(classes)
    save_ensemble(tmp_path / "vote", [Member("gru", 0.7, [3, 5]), Member("nb-svm", 0.3, [0])], runs)

    text = "good plot film"
    explainer = Explainer(tmp_path / "vote")
    (found,) = explainer.explain(pl.Series([text]))
    label = classes.index(found.label)

    def odds(shares: np.ndarray) -> np.ndarray:
        """The average's log-odds; an n-gram is there to the mean share of its words."""
        chances = [1 / (1 + np.exp(-in_numpy(each, text, label, shares))) for each in networks]
        decisions = np.tile(linear.bias, (len(shares), 1))
        for gram, places in GRAMS.items():
            if gram in linear.ngrams:
                decisions += (
                    shares[:, places].mean(axis=1, keepdims=True) * linear.weights[:, linear.ngrams.index(gram)]
                )
        positive = 1 / (1 + np.exp(-decisions))
        of_class = np.hstack([1 - positive, positive]) if len(linear.bias) == 1 else positive
        of_class /= of_class.sum(axis=1, keepdims=True)
        average = 0.35 * chances[0] + 0.35 * chances[1] + 0.3 * of_class[:, label]
        return np.log(average) - np.log(1 - average)

    with_words, without = odds(np.array([[1.0] * 3, [0.0] * 3]))
    np.testing.assert_allclose([found.log_odds, found.without_words], [with_words, without], atol=1e-5)
    np.testing.assert_allclose(found.probability, explainer.predictor.probabilities(pl.Series([text]))[0, label])
    assert found.is_exact
    expected = integrals(odds(nudged(3)))
    np.testing.assert_allclose(attributions(found), expected, atol=0.01 * np.abs(expected).max())


GRAMS = {"good": [0], "plot": [1], "film": [2], "good plot": [0, 1], "plot film": [1, 2]}


def test_a_member_that_is_an_ensemble_counts_as_its_members(tmp_path: Path) -> None:
    runs = [make_run(tmp_path / "runs", "mean"), make_run(tmp_path / "runs", "nb-svm", kind="baseline")]
    save_mean(runs[0].path / "model" / "0", VALUES, bias=0.0)
    save_nb_svm(runs[1].path / "model" / "0", CLASSES[:2])
    inner = make_run(tmp_path / "runs", "inner", kind="ensemble", params={"of": ["mean"], "weights": "equal"})
    save_ensemble(inner.path / "model" / "0", [Member("mean", 1.0, [0])], runs[:1])
    save_ensemble(tmp_path / "outer", [Member("inner", 0.5, [0]), Member("nb-svm", 0.5, [0])], [inner, runs[1]])
    save_ensemble(tmp_path / "flat", [Member("mean", 0.5, [0]), Member("nb-svm", 0.5, [0])], runs)
    texts = pl.Series([TEXT])
    assert Explainer(tmp_path / "outer").explain(texts) == Explainer(tmp_path / "flat").explain(texts)


def test_steps_double_until_it_is_exact_and_what_is_not_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = save_network(tmp_path / "model", cell="conv1d", readout="max", layers=2)
    texts = pl.Series([TEXT, "a film bad good plot a"])
    monkeypatch.setattr(explanation, "STEPS", 1)
    coarse = dict(zip(texts, Explainer(folder).explain(texts), strict=True))
    assert all(found.is_exact for found in coarse.values())
    monkeypatch.setattr(explanation, "MOST_STEPS", 1)
    inexact = Explainer(folder).explain(texts)
    assert not all(found.is_exact for found in inexact)
    for found in inexact:
        difference = found.log_odds - found.without_words
        np.testing.assert_allclose(found.error, abs(total(found) - difference) / max(abs(difference), 0.1), rtol=1e-6)


def test_a_text_has_what_it_has_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    explainer = Explainer(save_network(tmp_path / "model", cell="lstm", bidirectional=True))
    texts = pl.Series(["plot", TEXT, "a bad film a good film", ""])
    together = explainer.explain(texts)
    monkeypatch.setattr(explanation, "BATCH", 1)
    for one, other in zip(explainer.explain(texts), together, strict=True):
        assert [word.word for word in one.words] == [word.word for word in other.words]
        np.testing.assert_allclose(np.array(attributions(one), float), np.array(attributions(other), float), atol=1e-5)


def test_a_record_holds_it_all(tmp_path: Path) -> None:
    (found,) = Explainer(save_mean(tmp_path / "model", VALUES, bias=0.25, max_tokens=1)).explain(
        pl.Series(["good film"])
    )
    again = Explanation.of_record(found.record())
    assert again.record() == found.record()
    assert [word.attribution for word in again.words] == [4.0, None]
