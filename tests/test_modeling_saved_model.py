"""A saved model predicts as before, holds no date, and notices when its files do not belong together."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from tiny_experiments import make_experiment
from tiny_models import make_embedding, make_tokens, scramble

from textrnn.errors import TextrnnError
from textrnn.modeling.backend import keras
from textrnn.modeling.batches import predict
from textrnn.modeling.classifier import build_classifier
from textrnn.modeling.predictor import Predictor
from textrnn.modeling.saved_model import TextEncoder, load_model, save_model
from textrnn.text.vocabulary import Vocabulary

WORDS = ("<pad>", "<unk>", "good", "bad", "film", "a", "plot")
ENCODER = TextEncoder(Vocabulary(WORDS), ("rotten", "fresh", "stale"))
RICH: dict[str, Any] = {"cell": "gru", "bidirectional": True, "readout": "max", "dropout": 0.5, "ema": 0.9}


LOADING = pytest.mark.parametrize("load", [load_model, Predictor])


@pytest.fixture(scope="module")
def model() -> keras.Model:
    model = build_classifier(make_experiment(**RICH), make_embedding(), 3, seed=1)
    scramble(model)
    return model


@pytest.fixture
def saved(tmp_path: Path, model: keras.Model) -> Path:
    save_model(tmp_path / "model" / "7", make_experiment(**RICH), ENCODER, model, model.get_weights())
    return tmp_path / "model" / "7"


def test_a_loaded_model_predicts_as_the_one_saved(saved: Path, model: keras.Model) -> None:
    loaded, encoder, _ = load_model(saved)
    assert encoder == ENCODER
    tokens = make_tokens(encoder.encode(pl.Series(["A good film", "bad", "plot?"])).to_list(), [0, 0, 0])
    np.testing.assert_array_equal(predict(loaded, tokens), predict(model, tokens))


def test_raw_texts_are_read_as_in_training(tmp_path: Path) -> None:
    """Cut at the start, turned around and filled up in front: all of that comes from the folder."""
    experiment = make_experiment(max_tokens=3, keep="start", reverse=True, padding="left", readout="flatten")
    model = build_classifier(experiment, make_embedding(), 3, seed=1)
    scramble(model)
    save_model(tmp_path / "0", experiment, ENCODER, model, model.get_weights())
    predicted = Predictor(tmp_path / "0").probabilities(pl.Series(["a good film plot", "bad"]))
    expected = predict(model, make_tokens([[4, 2, 5], [0, 0, 3]], [0, 0]))
    np.testing.assert_allclose(predicted, expected, rtol=0, atol=1e-6)


def test_what_is_saved_has_the_same_bytes_every_time_and_holds_no_date(
    saved: Path, tmp_path: Path, model: keras.Model
) -> None:
    again = tmp_path / "again"
    build_classifier(make_experiment(), make_embedding(), 2, seed=0)  # Keras counts the layers of a process
    loaded, encoder, _ = load_model(saved)
    save_model(again, make_experiment(**RICH), encoder, loaded, loaded.get_weights())
    names = sorted(path.name for path in saved.iterdir())
    assert names == ["encoder.json", "experiment.json", "vocabulary.txt", "weights.npz"]
    for name in names:
        assert (again / name).read_bytes() == (saved / name).read_bytes(), name
    with zipfile.ZipFile(saved / "weights.npz") as archive:
        assert {item.date_time[0] for item in archive.infolist()} == {1980}


def test_rows_that_training_did_not_change_are_saved_behind_the_others(tmp_path: Path) -> None:
    experiment = make_experiment(cell="gru")
    model = build_classifier(experiment, make_embedding(), 3, seed=1, fixed_rows=3)
    save_model(tmp_path / "0", experiment, ENCODER, model, model.get_weights())
    loaded, _, _ = load_model(tmp_path / "0")
    np.testing.assert_array_equal(loaded.get_weights()[0], make_embedding())
    tokens = make_tokens([[2, 5, 6, 4]], [0])
    np.testing.assert_array_equal(predict(loaded, tokens), predict(model, tokens))


def test_how_many_words_of_a_text_are_known_is_in_the_table(saved: Path) -> None:
    predictor = Predictor(saved)
    table = predictor.table(pl.Series(["a good film, noir", "재밌어요 정말", "", "plot"]))
    assert table.columns[4:] == ["words", "known_words", "warning"]
    assert table["words"].to_list() == [5, 2, 0, 1]
    assert table["known_words"].to_list() == [3, 0, 0, 1]
    assert [bool(warning) for warning in table["warning"]] == [False, True, True, False]
    assert set(table["warning"]) == {"", "it has no word that the model knows"}
    assert predictor.unfamiliar == 2


def test_the_weights_given_are_saved_not_those_of_the_model(tmp_path: Path, model: keras.Model) -> None:
    averages = [weight + 1 for weight in model.get_weights()]
    save_model(tmp_path / "0", make_experiment(**RICH), ENCODER, model, averages)
    for one, other in zip(load_model(tmp_path / "0")[0].get_weights(), averages, strict=True):
        np.testing.assert_array_equal(one, other)


@LOADING
@pytest.mark.parametrize("name", ["experiment.json", "weights.npz", "vocabulary.txt", "encoder.json"])
def test_a_missing_file_is_named(load: Callable[[Path], object], saved: Path, name: str) -> None:
    (saved / name).unlink()
    with pytest.raises(TextrnnError, match=rf"{name}.*[Rr]un `dvc repro`"):
        load(saved)


@LOADING
@pytest.mark.parametrize("changes", [{"units": 3}, {"layers": 2}, {"cell": "lstm"}])
def test_weights_of_another_architecture_are_refused(
    load: Callable[[Path], object], saved: Path, changes: dict[str, Any]
) -> None:
    file = saved / "experiment.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))
    with pytest.raises(TextrnnError, match=r"weights\.npz was not saved from experiment\.json\. Run `dvc repro`"):
        load(saved)


@LOADING
def test_another_vocabulary_is_refused(load: Callable[[Path], object], saved: Path) -> None:
    (saved / "vocabulary.txt").write_text("<pad>\n<unk>\ngood\n", encoding="utf-8")
    with pytest.raises(TextrnnError, match=r"has 7 embedding rows and vocabulary\.txt 3 words.*Run `dvc repro`"):
        load(saved)


@LOADING
def test_other_classes_are_refused(load: Callable[[Path], object], saved: Path) -> None:
    file = saved / "encoder.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "classes": ["rotten", "fresh"]}))
    with pytest.raises(TextrnnError, match=r"was not saved from experiment\.json"):
        load(saved)


def test_a_normalized_embedding_is_saved_as_it_is_read(tmp_path: Path) -> None:
    """Rows that training did not change, too. Both ways to predict from the folder agree with the model."""
    experiment = make_experiment(cell="gru", normalize_embedding=True)
    model = build_classifier(experiment, make_embedding(), 3, 1, fixed_rows=2, counts=np.array([0, 2, 9, 4, 1]))
    scramble(model)
    save_model(tmp_path / "0", experiment, ENCODER, model, model.get_weights())
    loaded, _, _ = load_model(tmp_path / "0")
    tokens = make_tokens([[2, 5, 6, 4], [3]], [0, 0])
    expected = predict(model, tokens)
    np.testing.assert_allclose(predict(loaded, tokens), expected, rtol=0, atol=1e-6)
    predicted = Predictor(tmp_path / "0").probabilities(pl.Series(["good a plot film", "bad"]))
    np.testing.assert_allclose(predicted, expected, rtol=0, atol=1e-6)
    assert not np.allclose(loaded.get_weights()[0], model.get_weights()[0][:1])
