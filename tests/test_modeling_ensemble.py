"""Weights by hand, and one model made of several."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from fake_runs import make_run
from tiny_experiments import make_experiment
from tiny_models import make_embedding, scramble

from textrnn.config.sections import BaselineParams
from textrnn.errors import TextrnnError
from textrnn.modeling.baseline import fit_baseline
from textrnn.modeling.classifier import build_classifier
from textrnn.modeling.ensemble import fit_weights, mean_probabilities, save_ensemble
from textrnn.modeling.model_files import Member, read_ensemble
from textrnn.modeling.predictor import Predictor
from textrnn.modeling.saved_model import save_model
from textrnn.run_folder import RunFolder
from textrnn.text.encoder import TextEncoder
from textrnn.text.vocabulary import Vocabulary

CLASSES = ("rotten", "fresh")
TEXTS = pl.Series(["a good film", "bad bad plot", "", "noir", "good plot , bad film a good film"])


def test_fitted_weights_by_hand() -> None:
    """Of the label the first says 0.9, 0.9, 0.1, the second 0.1, 0.1, 0.9, and the third always 0.05.

    2 ln(0.1 + 0.8 w) + ln(0.9 - 0.8 w) is largest at w = 17 / 24; the third only harms.
    """
    labels = np.array([0, 1, 1])
    chances = np.array([[0.9, 0.9, 0.1], [0.1, 0.1, 0.9], [0.05, 0.05, 0.05]])
    probabilities = np.where(labels[:, None] == [0, 1], chances[:, :, None], 1 - chances[:, :, None])
    assert fit_weights(labels, probabilities) == [0.7083, 0.2917, 0.0]


def test_a_member_that_is_never_wrong_has_all_the_weight_even_if_another_is_sure_and_wrong() -> None:
    probabilities = np.array([[[1.0, 0.0], [0.0, 1.0]], [[0.0, 1.0], [0.0, 1.0]]], np.float32)
    assert fit_weights(np.array([0, 1]), probabilities) == [1.0, 0.0]


def test_weights_need_as_many_texts_as_members() -> None:
    with pytest.raises(TextrnnError, match="2 validation texts cannot say how much each of 3 members counts: set weig"):
        fit_weights(np.array([0, 1]), np.full((3, 2, 2), 0.5))


@pytest.fixture
def runs(tmp_path: Path) -> list[RunFolder]:
    """An experiment of two seeds, which reads two words, and a linear model."""
    network = make_run(tmp_path / "runs", "gru", seeds=[3, 5])
    encoder = TextEncoder(Vocabulary(("<pad>", "<unk>", "good", "bad", "film", "a", "plot")), CLASSES)
    for seed in network.seeds:
        experiment = make_experiment(cell="gru", max_tokens=2)
        model = build_classifier(experiment, make_embedding(seed), 2, seed)
        scramble(model)
        weights = [make_embedding(seed), *model.get_weights()[1:]]
        save_model(network.path / "model" / str(seed), experiment, encoder, model, weights)
    linear = make_run(tmp_path / "runs", "nb-svm", kind="baseline")
    params = BaselineParams(kind="nb_svm", ngrams=2, min_count=1, inverse_regularization=1.0)
    fitted = fit_baseline(params, pl.Series(["good film", "bad film", "noir plot"]), np.array([1, 0, 0]), 2)
    fitted.saved(CLASSES).save(linear.path / "model" / "0")
    return [network, linear]


def test_one_model_answers_as_the_weighted_mean_of_its_members_and_needs_no_other_folder(
    runs: list[RunFolder], tmp_path: Path
) -> None:
    first, second, linear = (
        Predictor(run.path / "model" / str(seed)) for run, seed in ((runs[0], 3), (runs[0], 5), (runs[1], 0))
    )
    expected = 0.375 * first.probabilities(TEXTS) + 0.375 * second.probabilities(TEXTS)
    expected += 0.25 * linear.probabilities(TEXTS)
    members = [Member("gru", 0.75, [3, 5]), Member("nb-svm", 0.25, [0])]
    save_ensemble(tmp_path / "vote", members, runs)
    assert read_ensemble(tmp_path / "vote") == members
    for run in runs:
        shutil.rmtree(run.path)

    ensemble = Predictor(tmp_path / "vote", threads=2)
    assert ensemble.classes == CLASSES
    table = ensemble.table(TEXTS)
    np.testing.assert_allclose(table["probability_fresh"], expected[:, 1], atol=1e-6)
    np.testing.assert_allclose(ensemble.probabilities(TEXTS), expected, atol=1e-6)
    assert ensemble.probabilities(TEXTS.head(0)).shape == (0, 2)
    # `a` only the network knows, and `noir` only the linear model.
    assert table["words"].to_list() == [3, 3, 0, 1, 8]
    assert table["known_words"].to_list() == [3, 3, 0, 1, 7]
    assert ensemble.unfamiliar == 1
    assert ensemble.cut_short == 2 * 3  # three texts, each time


def test_an_ensemble_of_ensembles_and_a_member_without_weight(runs: list[RunFolder], tmp_path: Path) -> None:
    inner = make_run(tmp_path / "runs", "inner", kind="ensemble", params={"of": ["gru"], "weights": "equal"})
    save_ensemble(inner.path / "model" / "0", [Member("gru", 1.0, [3, 5])], runs[:1])
    save_ensemble(tmp_path / "outer", [Member("inner", 1.0, [0]), Member("nb-svm", 0.0, [0])], [inner, runs[1]])
    assert sorted(path.name for path in (tmp_path / "outer" / "members").iterdir()) == ["inner"]
    alone = Predictor(inner.path / "model" / "0").probabilities(TEXTS)
    np.testing.assert_array_equal(Predictor(tmp_path / "outer").probabilities(TEXTS), alone)


def test_mean_over_the_seeds_that_finished(tmp_path: Path) -> None:
    each = {"valid": (["a"], [0], [[0.8, 0.2]]), "test": (["b"], [1], [[0.25, 0.75]])}
    run = make_run(tmp_path, "lstm", seeds=[0, 1, 2], failures={"1": "NaN"}, predictions=each)
    np.testing.assert_allclose(mean_probabilities(run, "test"), [[0.25, 0.75]])
