"""The majority class, and NB-SVM's log-count ratios by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from scipy import sparse

from textrnn.config.sections import BaselineParams
from textrnn.errors import TextrnnError
from textrnn.modeling.baseline import NBSVM, _log_count_ratios, fit_baseline
from textrnn.modeling.linear import LinearModel
from textrnn.text.tokenizer import tokenize

TEXTS = pl.Series(["good film", "Good!", "bad film", "bad bad plot", "good plot", "bad"])
LABELS = np.array([1, 1, 0, 0, 1, 0], np.int32)


def make_params(**changes: Any) -> BaselineParams:
    plain = {"kind": "nb_svm", "ngrams": 1, "min_count": 1, "inverse_regularization": 1.0}
    return BaselineParams.model_validate({**plain, **changes})


def test_majority_answers_with_the_training_shares() -> None:
    majority = fit_baseline(BaselineParams(kind="majority"), TEXTS, np.array([2, 0, 2, 1, 2, 2]), 4)
    probabilities = majority.probabilities(pl.Series(["good", "bad"]))
    assert probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities, [[1 / 6, 1 / 6, 4 / 6, 0]] * 2, rtol=1e-6)
    assert majority.training_flops == majority.prediction_flops(TEXTS) == 0


def test_log_count_ratios_by_hand() -> None:
    """Words `bad film good`; one is added to every count.

    positive: "good film", "good" -> 1 2 3 of 6; negative: "bad film" -> 2 2 1 of 5
    """
    counts = sparse.csr_matrix([[0.0, 1, 1], [0, 0, 1], [1, 1, 0]])
    ratios = _log_count_ratios(counts, np.array([True, True, False]))
    expected = np.log([(1 / 6) / (2 / 5), (2 / 6) / (2 / 5), (3 / 6) / (1 / 5)])
    np.testing.assert_allclose(ratios, expected, rtol=1e-12)


def test_nb_svm_ratios_of_texts() -> None:
    """`bad bad plot` counts `bad` once. Positive: ! 1, film 1, good 3, plot 1; negative: bad 3, film 1, plot 1."""
    model = fit_baseline(make_params(), TEXTS, LABELS, 2)
    assert isinstance(model, NBSVM)
    assert model._vectorizer.get_feature_names_out().tolist() == ["!", "bad", "film", "good", "plot"]
    expected = np.log(np.array([2, 1, 2, 4, 2]) / 11) - np.log(np.array([1, 4, 2, 1, 2]) / 10)
    np.testing.assert_allclose(model._models[0][0], expected, rtol=1e-12)
    assert model.parameters == 5 + 1
    assert model.training_flops > 0
    # n-grams that it knows: 2, 2 (good and !), 2, 2 (bad once), 2 and 1, each a product and a sum
    assert model.prediction_flops(TEXTS) == pytest.approx(2 * (2 + 2 + 2 + 2 + 2 + 1) / 6)


def test_nb_svm_separates_two_classes() -> None:
    probabilities = fit_baseline(make_params(), TEXTS, LABELS, 2).probabilities(TEXTS)
    assert probabilities.dtype == np.float32
    assert probabilities.argmax(axis=1).tolist() == LABELS.tolist()
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-6)


def test_nb_svm_of_three_classes_has_a_model_for_each() -> None:
    texts = pl.Series(["red apple", "red cherry", "green pear", "green lime", "blue plum", "blue fig"])
    labels = np.array([2, 2, 0, 0, 1, 1])
    model = fit_baseline(make_params(), texts, labels, 3)
    probabilities = model.probabilities(pl.Series(["red", "green fig pear", "a blue one"]))
    assert probabilities.argmax(axis=1).tolist() == [2, 0, 1]
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-6)
    assert model.parameters == 3 * (9 + 1)


def test_nb_svm_ngrams_and_min_count_choose_the_features() -> None:
    model = fit_baseline(make_params(ngrams=2, min_count=1), TEXTS, LABELS, 2)
    assert isinstance(model, NBSVM)
    assert {"good film", "bad bad", "bad plot", "good !"} < set(model._vectorizer.get_feature_names_out())
    model = fit_baseline(make_params(ngrams=2, min_count=3), TEXTS, LABELS, 2)
    assert isinstance(model, NBSVM)
    assert model._vectorizer.get_feature_names_out().tolist() == ["bad", "good"]


def test_nb_svm_gives_a_text_of_unknown_words_finite_probabilities() -> None:
    assert np.isfinite(fit_baseline(make_params(), TEXTS, LABELS, 2).probabilities(pl.Series(["zzz", ""]))).all()


def test_nb_svm_without_any_feature_says_what_to_do() -> None:
    with pytest.raises(TextrnnError, match=r"no word n-gram occurs in 9 training texts\. Lower min_count"):
        fit_baseline(make_params(min_count=9), TEXTS, LABELS, 2)


@pytest.mark.parametrize("settings", [{"kind": "majority"}, {}, {"ngrams": 3, "min_count": 2}], ids=str)
@pytest.mark.parametrize("labels", [LABELS, np.array([0, 1, 2, 2, 1, 2]), np.array([0, 0, 2, 2, 2, 2])], ids=str)
def test_what_is_saved_predicts_the_same_from_raw_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any], labels: np.ndarray
) -> None:
    """In slices of any size; also where a class never occurs."""
    if settings.get("kind") != "majority" and 1 not in labels:
        return  # a linear model needs an example of every class
    classes = ("rotten", "fresh", "stale")[: labels.max() + 1]
    params = BaselineParams(**settings) if "kind" in settings else make_params(**settings)
    model = fit_baseline(params, TEXTS, labels, len(classes))
    model.saved(classes).save(tmp_path / "0")
    texts = pl.Series([*TEXTS, "", "zzz", "Good film good film, bad plot", "film"])
    for size in (1, 3, 100):
        monkeypatch.setattr("textrnn.modeling.linear.SLICE", size)
        saved = LinearModel.load(tmp_path / "0")
        probabilities = saved.probabilities(tokenize(texts))
        assert probabilities.dtype == np.float32
        np.testing.assert_allclose(probabilities, model.probabilities(texts), atol=1e-6)
        assert saved.probabilities(tokenize(texts.head(0))).shape == (0, len(classes))
    assert saved.classes == classes


def test_how_many_words_a_saved_model_knows() -> None:
    saved = fit_baseline(make_params(ngrams=2), TEXTS, LABELS, 2).saved(("rotten", "fresh"))
    assert saved.known(tokenize(pl.Series(["good good noir", "", "film!"]))).tolist() == [2, 0, 2]
    assert saved.ngrams[:3] == ["!", "bad", "bad bad"]
