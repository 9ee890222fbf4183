"""What word vectors have learned: nearest neighbours, analogies, and a map of words before and after training."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from textrnn.analysis.run_tables import DIGITS
from textrnn.arrays import read_arrays
from textrnn.embeddings.matrix import Embedding
from textrnn.errors import readable
from textrnn.modeling.model_files import EMBEDDING
from textrnn.run_folder import RunFolder
from textrnn.text.vocabulary import UNKNOWN, Vocabulary

FREQUENT = 1000  # words are chosen from so many of the most frequent ones

MAP_COLUMNS = ("experiment", "word", "klass", "x_before", "y_before", "x_after", "y_after")
PROBES, NEIGHBOURS, ANSWERS, MAPPED = 12, 8, 3, 40

_QUESTIONS = """
king man woman queen; son man woman daughter; actor man woman actress;
uncle man woman aunt; walked walk see saw; went go take took;
making make watch watching; bigger big small smaller; better good bad worse;
best good bad worst; paris france england london; french france japan japanese;
tokyo japan germany berlin; films film movie movies; men man child children;
unfunny funny interesting uninteresting; impossible possible likely unlikely
"""
ANALOGIES = tuple(tuple(each.split()) for each in _QUESTIONS.split(";"))
"""`a - b + c` and its answer, such as "king - man + woman" and "queen": family, tense, comparative and superlative,
country, plural and opposite (Mikolov et al., "Efficient Estimation of Word Representations in Vector Space", 2013)."""


def class_words(ratios: np.ndarray, count: int) -> list[tuple[int, int]]:
    """Returns the frequent words that indicate a class most strongly, as (index, class): equally many for each class.

    A word is listed for the class that it indicates most strongly, class after class. `ratios` are
    `slices.log_count_ratios(…)`, float64 [classes, words]; `count` is over all classes, of which each has at least one.
    """
    frequent = ratios[:, UNKNOWN + 1 : UNKNOWN + 1 + FREQUENT]
    indicates, chosen = frequent.argmax(axis=0), []
    for own, strength in enumerate(frequent):
        strongest = np.argsort(-strength, kind="stable")
        words = [word for word in strongest if indicates[word] == own and strength[word] > 0]
        chosen += [(int(word) + UNKNOWN + 1, own) for word in words[: max(count // len(ratios), 1)]]
    return chosen


def nearest(matrix: np.ndarray, queries: np.ndarray, exclude: np.ndarray, count: int) -> np.ndarray:
    """Returns the rows of `matrix` with the highest cosine to each query, the highest first.

    Equal cosines (to six digits, on which all processors agree) are listed in the order of the rows. `matrix` is float
    [rows, dimension], `queries` float [queries, dimension], and `exclude` int [queries, k] has rows that are no answer.
    The result is int [queries, count], narrower where fewer rows are left.
    """
    cosine = (_unit(queries) @ _unit(matrix).T).round(DIGITS)
    np.put_along_axis(cosine, exclude, -np.inf, axis=1)
    order: np.ndarray = np.argsort(-cosine, axis=1, kind="stable")[:, : len(matrix) - exclude.shape[1]]
    return order[:, :count]


def neighbours(embeddings: Mapping[str, Embedding], vocabulary: Vocabulary, ratios: np.ndarray) -> pd.DataFrame:
    """Returns the nearest words of the `class_words` in every embedding.

    Columns: `embedding`, `word`, `nearest` (the `NEIGHBOURS` nearest by cosine, joined by commas). Only words with a
    vector count, so vectors drawn at random have no row.
    """
    rows = []
    for name, embedding in embeddings.items():
        words = np.flatnonzero(embedding.has_vector)
        place = {int(word): row for row, word in enumerate(words)}
        probes = np.array([place[word] for word, _ in class_words(ratios, PROBES) if word in place], dtype=np.int64)
        if len(probes):
            matrix = embedding.matrix[words]
            found = nearest(matrix, matrix[probes], probes[:, None], NEIGHBOURS)
            for probe, near in zip(words[probes], words[found], strict=True):
                rows.append((name, vocabulary.words[probe], ", ".join(vocabulary.words[word] for word in near)))
    return pd.DataFrame(rows, columns=["embedding", "word", "nearest"])


def analogies(embeddings: Mapping[str, Embedding], vocabulary: Vocabulary) -> pd.DataFrame:
    """Returns how every embedding that a network can start from answers `ANALOGIES`.

    The answer is the word of highest cosine to `a - b + c`, all of length 1, among the other words with a vector
    (Mikolov, Yih & Zweig, NAACL 2013). Vectors drawn at random are left out.

    Columns: `embedding`, `question` (as `king - man + woman`), `expected`, `answers` (the first `ANSWERS`, joined by
    commas), `right` (boolean: the first is the expected one). Where one of the four words has no vector, `answers` and
    `right` are empty.
    """
    index = {word: place for place, word in enumerate(vocabulary.words)}
    rows: list[tuple[str, str, str, str | None, bool | None]] = []
    for name, embedding in embeddings.items():
        words = np.flatnonzero(embedding.has_vector)
        place = {int(word): row for row, word in enumerate(words)}
        unit = _unit(embedding.matrix[words])
        for *asked, expected in ANALOGIES if len(words) else ():
            question = "{} - {} + {}".format(*asked)
            given = [row for word in (*asked, expected) if (row := place.get(index.get(word, UNKNOWN))) is not None]
            if len(given) < 4:
                rows.append((name, question, expected, None, None))
                continue
            query = unit[given[0]] - unit[given[1]] + unit[given[2]]
            near = words[nearest(unit, query[None], np.array([given[:3]]), ANSWERS)[0]]
            answers = [vocabulary.words[word] for word in near]
            rows.append((name, question, expected, ", ".join(answers), answers[0] == expected))
    table = pd.DataFrame(rows, columns=["embedding", "question", "expected", "answers", "right"])
    return table.astype({"right": "boolean"})


def trained_embedding(run: RunFolder, seed: int, vocabulary: Vocabulary) -> Embedding:
    """Returns the vectors of the words of `vocabulary` after training, in a finished seed of the run."""
    file = run.path / "model" / str(seed) / "weights.npz"
    with readable(file):
        matrix = read_arrays(file)[EMBEDDING][: len(vocabulary)]
    return Embedding(matrix, np.arange(len(matrix)) > UNKNOWN, float(matrix.std()))


def word_map(run: RunFolder, before: Embedding, vocabulary: Vocabulary, ratios: np.ndarray) -> pd.DataFrame:
    """Returns the places of the `class_words` before training, and after it in the run's first finished seed.

    Columns: `experiment`, `word`, `klass` (the class that it indicates most strongly), `x_before`, `y_before`,
    `x_after`, `y_after`. Training moves words within one space, so both clouds share their axes, the first two
    principal components of all these points together: distances are comparable within and between them. `before` are
    the vectors that the run's embedding started from, `ratios` are `slices.log_count_ratios(…)`.
    """
    chosen = class_words(ratios, MAPPED)
    words = [word for word, _ in chosen]
    seed = run.finished_seeds[0]
    matrices = before.draw(seed), trained_embedding(run, seed, vocabulary).matrix
    placed = _principal_components(np.concatenate([matrix[words] for matrix in matrices]))
    names = [(run.name, vocabulary.words[word], run.classes[own]) for word, own in chosen]
    table = pd.DataFrame(names, columns=MAP_COLUMNS[:3])
    table[[*MAP_COLUMNS[3:]]] = np.hstack(np.split(placed, 2))
    return table


def _principal_components(points: np.ndarray) -> np.ndarray:
    """float64 [points, 2]: coordinates on the first two; the point farthest out has a positive one."""
    centred = points.astype(np.float64) - points.mean(axis=0, dtype=np.float64)
    left, size, _ = np.linalg.svd(centred, full_matrices=False)
    placed = np.zeros((len(points), 2))
    placed[:, : len(size)] = (left * size)[:, :2].round(DIGITS)  # vectors of one dimension have one component
    farthest = placed[np.abs(placed).argmax(axis=0), [0, 1]]
    turned: np.ndarray = placed * np.where(farthest < 0, -1.0, 1.0) + 0.0  # no -0.0
    return turned


def _unit(matrix: np.ndarray) -> np.ndarray:
    """float64: every row divided by its length, except zeros."""
    wide = matrix.astype(np.float64)
    unit: np.ndarray = wide / np.maximum(np.linalg.norm(wide, axis=1, keepdims=True), 1e-12)
    return unit
