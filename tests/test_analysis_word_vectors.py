"""Neighbours, analogies and the map of words, in spaces small enough to see through."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from fake_runs import make_run
from scipy.spatial.distance import pdist

from textrnn.analysis import word_vectors
from textrnn.analysis.word_vectors import (
    analogies,
    class_words,
    nearest,
    neighbours,
    trained_embedding,
    word_map,
)
from textrnn.embeddings.matrix import Embedding
from textrnn.run_folder import RunFolder
from textrnn.text.vocabulary import Vocabulary

# Words 2 and 4 speak for class 0, the other way round in strength; 3 and 6 for class 1; 5 for none.
RATIOS = np.array([[0, 0, 1, -1, 2, 0, -3], [0, 0, -1, 1, -2, 0, 3]], dtype=np.float64)
WORDS = Vocabulary(("<pad>", "<unk>", "dull", "warm", "awful", "the", "superb"))


def embedding_of(vocabulary: Vocabulary, vectors: dict[str, list[float]]) -> Embedding:
    index = np.array([vocabulary.words.index(word) for word in vectors], dtype=np.int64)
    rows = np.array(list(vectors.values()), np.float32).reshape(len(vectors), -1 if vectors else 2)
    return Embedding.build(vocabulary, rows, index)


def trained_run(folder: Path, matrix: np.ndarray, **settings: object) -> RunFolder:
    run = make_run(folder, "lstm", **settings)
    for seed in run.finished_seeds[:1]:
        (run.path / "model" / str(seed)).mkdir(parents=True)
        np.savez(run.path / "model" / str(seed) / "weights.npz", **{"00-embeddings": matrix})
    return run


def test_every_class_has_its_words() -> None:
    assert class_words(RATIOS, 4) == [(4, 0), (2, 0), (6, 1), (3, 1)]
    assert class_words(RATIOS, 2) == [(4, 0), (6, 1)]
    assert class_words(RATIOS, 100) == [(4, 0), (2, 0), (6, 1), (3, 1)]  # 5 speaks for no class


def test_a_word_is_listed_for_one_class_only() -> None:
    ratios = np.array([[0, 0, 2, 0.1], [0, 0, 1, -1], [0, 0, -3, 0.2]])
    assert class_words(ratios, 3) == [(2, 0), (3, 2)]


def test_rare_words_are_not_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(word_vectors, "FREQUENT", 3)
    assert class_words(RATIOS, 4) == [(4, 0), (2, 0), (3, 1)]


def test_the_nearest_have_the_same_direction_whatever_their_length() -> None:
    matrix = np.array([[1, 0], [90, 1], [0, 1], [1, 1], [-5, 0], [0, 0], [2, 2]], np.float32)
    found = nearest(matrix, matrix[[0, 2]], np.array([[0], [2]]), 4)
    assert found.tolist() == [[1, 3, 6, 2], [3, 6, 1, 0]]  # equal ones (3 and 6; 2 and 5) in their order
    # All but the excluded, where fewer are left than asked for.
    assert nearest(matrix[:3], matrix[:1], np.array([[0, 1]]), 4).tolist() == [[2]]


def test_neighbours_are_covered_words() -> None:
    embedding = embedding_of(
        WORDS, {"dull": [1, 0.2], "warm": [0, 1], "awful": [1, 0], "the": [1, 1]}
    )  # and superb has no vector
    table = neighbours({"glove": embedding, "random": embedding_of(WORDS, {})}, WORDS, RATIOS)
    assert table.to_numpy().tolist() == [
        ["glove", "awful", "dull, the, warm"],
        ["glove", "dull", "awful, the, warm"],
        ["glove", "warm", "the, dull, awful"],
    ]


def test_after_training_every_word_but_padding_and_unknown_has_neighbours(tmp_path: Path) -> None:
    matrix = np.array([[1, 0], [1, 0], [1, 0.2], [0, 1], [1, 0], [1, 1], [0.1, 1]], np.float32)
    trained = trained_embedding(trained_run(tmp_path, np.concatenate([matrix, matrix])), 0, WORDS)
    table = neighbours({"lstm": trained}, WORDS, RATIOS)
    assert dict(zip(table["word"], table["nearest"], strict=True)) == {
        "awful": "dull, the, superb, warm",
        "dull": "awful, the, superb, warm",
        "superb": "warm, the, dull, awful",
        "warm": "superb, the, dull, awful",
    }


def test_analogies_are_answered_by_another_word() -> None:
    vocabulary = Vocabulary(("<pad>", "<unk>", "man", "woman", "king", "queen", "daughter", "son", "prince"))
    vectors = {
        "man": [1, 0, 0],
        "woman": [0, 1, 0],
        "king": [1, 0, 1],
        "prince": [1, 0, 0.9],
        "queen": [0, 1, 1],
        "daughter": [0, 1, 0.2],
    }
    swapped = {**vectors, "queen": vectors["daughter"], "daughter": vectors["queen"]}
    # A king so strong that the sum stays nearest to himself, who is no answer.
    kings = {"man": [0.1, 0, 1], "woman": [0, 0.2, 1], "king": [3, 0, 1], "prince": [0, -1, 0], "queen": [2, 3, 1]}
    strong = {**vectors, **kings}
    spaces = {name: embedding_of(vocabulary, each) for name, each in (("a", vectors), ("b", swapped), ("c", strong))}

    table = analogies({**spaces, "random": embedding_of(vocabulary, {})}, vocabulary)

    assert set(table["embedding"]) == {"a", "b", "c"}
    asked = table[table["right"].notna()]
    assert asked.to_numpy().tolist() == [
        ["a", "king - man + woman", "queen", "queen, daughter, prince", True],
        ["b", "king - man + woman", "queen", "daughter, queen, prince", False],
        ["c", "king - man + woman", "queen", "queen, daughter, prince", True],
    ]
    not_asked = table[table["right"].isna()]
    assert len(not_asked) == 3 * (len(word_vectors.ANALOGIES) - 1)
    assert not_asked["answers"].isna().all()
    assert "son - man + woman" in set(not_asked["question"])


def test_the_map_by_hand(tmp_path: Path) -> None:
    """All words are on one line: words that training separated are separate on the map, to scale."""
    before = embedding_of(WORDS, {"awful": [0, 5], "superb": [0, 7]})
    after = np.zeros((7, 2), np.float32)
    after[[4, 6], 1] = [2, 10]
    table = word_map(trained_run(tmp_path, after), before, WORDS, RATIOS[:, [0, 1, 5, 5, 4, 5, 6]])
    assert table.columns.tolist() == ["experiment", "word", "klass", "x_before", "y_before", "x_after", "y_after"]
    # Around the mean of 5, 7, 2 and 10; the farthest, 2 and 10, are as far, and the first of them is positive.
    assert table.to_numpy().tolist() == [
        ["lstm", "awful", "rotten", 1, 0, 4, 0],
        ["lstm", "superb", "fresh", -1, 0, -4, 0],
    ]
    assert not np.signbit(table[["y_before", "y_after"]].to_numpy()).any()  # no -0.0 in a csv


def test_vectors_of_one_dimension_have_a_map(tmp_path: Path) -> None:
    before = embedding_of(WORDS, {"awful": [5], "superb": [7]})
    after = np.array([[0], [0], [0], [0], [2], [0], [10]], np.float32)
    table = word_map(trained_run(tmp_path, after), before, WORDS, RATIOS[:, [0, 1, 5, 5, 4, 5, 6]])
    assert table.iloc[:, 3:].to_numpy().tolist() == [[1, 0, 4, 0], [-1, 0, -4, 0]]


def test_a_map_of_the_plane_keeps_every_distance(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    after = draw.normal(size=(7, 2)).astype(np.float32)
    before = embedding_of(WORDS, {"dull": [1, 0.2], "warm": [0, 1], "awful": [1, 0]})  # superb is drawn for the seed
    run = trained_run(tmp_path, after, seeds=[3, 4], failures={"3": "the loss is not a number"})

    table = word_map(run, before, WORDS, RATIOS)

    assert table["word"].tolist() == ["awful", "dull", "superb", "warm"]
    chosen = [4, 2, 6, 3]
    points = np.concatenate([before.draw(4)[chosen], after[chosen]])
    placed = np.concatenate([table[["x_before", "y_before"]].to_numpy(), table[["x_after", "y_after"]].to_numpy()])
    np.testing.assert_allclose(pdist(placed), pdist(points), atol=1e-5)
    assert placed[:, 0].var() > placed[:, 1].var()
    farthest = np.abs(placed).argmax(axis=0)
    assert (placed[farthest, [0, 1]] > 0).all()
