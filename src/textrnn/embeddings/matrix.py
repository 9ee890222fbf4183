"""The matrix that a network's embedding starts from: the vocabulary's words, then words that only its source has."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np

from textrnn.arrays import check_numbers, read_array
from textrnn.errors import TextrnnError, readable
from textrnn.text.vocabulary import PADDING, RESERVED, UNKNOWN, Vocabulary

RANDOM_SPREAD = 0.05  # standard deviation of drawn numbers where there are no vectors to estimate it from


@dataclass(frozen=True, eq=False)
class Embedding:
    """The known vectors of words; all other vectors are drawn for each seed.

    matrix: float32 [words, dimension]: the vocabulary's words, then `file_words`; zeros where not covered.
    covered: bool [words]: the source has a vector for this word. Never padding; the unknown word has
        one from a language model only.
    spread: standard deviation of the numbers in the vocabulary's covered rows, and of drawn numbers.
    file_words: words of the source that the vocabulary lacks. They are not trained.
    """

    matrix: np.ndarray
    covered: np.ndarray
    spread: float
    file_words: tuple[str, ...] = ()

    @classmethod
    def build(cls, vocabulary: Vocabulary, rows: np.ndarray, index: np.ndarray, file_words: Sequence[str] = ()) -> Self:
        """Places `rows` (float32 [n, dimension]) at `index` (int [n], positions in the vocabulary and `file_words`)."""
        words = len(vocabulary) + len(file_words)
        matrix = np.zeros((words, rows.shape[1]), dtype=np.float32)
        matrix[index] = rows
        covered = np.zeros(words, dtype=np.bool_)
        covered[index] = True
        return cls(matrix, covered, _spread(rows[index < len(vocabulary)]), tuple(file_words))

    @property
    def of_vocabulary(self) -> Self:
        """The same without `file_words`."""
        words = len(self.matrix) - len(self.file_words)
        return replace(self, matrix=self.matrix[:words], covered=self.covered[:words], file_words=())

    @property
    def has_vector(self) -> np.ndarray:
        """The same as `covered`, but False for the reserved words, padding and the unknown word."""
        found: np.ndarray = self.covered.copy()
        found[: UNKNOWN + 1] = False
        return found

    def draw(self, seed: int) -> np.ndarray:
        """Returns the complete matrix for one seed: float32 [words, dimension].

        Padding is zeros, a covered word has its vector, and all others are drawn from N(0, `spread`²).
        """
        matrix = self.matrix.copy()
        drawn = np.flatnonzero(~self.covered)
        noise = np.random.default_rng(seed).standard_normal((len(drawn), matrix.shape[1]), dtype=np.float32)
        matrix[drawn] = noise * np.float32(self.spread)
        matrix[PADDING] = 0
        return matrix

    def coverage(self, vocabulary: Vocabulary, counts: np.ndarray) -> dict[str, Any]:
        """Returns the covered shares of the vocabulary and of running words, ready for JSON.

        `counts` (int [vocabulary]) are frequencies in the training texts. Unknown words are running words, not covered.
        """
        has_vector = self.of_vocabulary.has_vector
        missing = [i for i in np.argsort(-counts, kind="stable") if i > UNKNOWN and not has_vector[i]]
        return {
            "dimension": self.matrix.shape[1],
            "spread": self.spread,
            "file_words": len(self.file_words),
            "vocabulary": _share(int(has_vector.sum()), len(vocabulary) - (UNKNOWN + 1)),
            "running_words": _share(int(counts[has_vector].sum()), int(counts[UNKNOWN:].sum())),
            "most_frequent_uncovered": {vocabulary.words[i]: int(counts[i]) for i in missing[:20]},
        }

    def save(self, folder: Path, coverage: dict[str, Any]) -> None:
        """Writes `matrix.npy`, `covered.npy`, `file_words.txt` and `coverage.json` into the existing `folder`."""
        np.save(folder / "matrix.npy", self.matrix)
        np.save(folder / "covered.npy", self.covered)
        text = "".join(f"{word}\n" for word in self.file_words)
        (folder / "file_words.txt").write_text(text, encoding="utf-8", newline="\n")
        text = json.dumps(coverage, indent=2, ensure_ascii=False) + "\n"
        (folder / "coverage.json").write_text(text, encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Reads what `save` wrote. Raises `TextrnnError` if there is no embedding, or a damaged one."""
        if not (folder / "coverage.json").is_file():
            raise TextrnnError(f"{folder} holds no embedding matrix. Run `dvc repro build_embeddings@{folder.name}`.")
        with readable(folder):
            coverage = json.loads((folder / "coverage.json").read_text(encoding="utf-8"))
            spread, dimension = coverage["spread"], coverage["dimension"]
            *file_words, rest = (folder / "file_words.txt").read_bytes().decode("utf-8").split("\n")
            matrix = check_numbers(read_array(folder / "matrix.npy"), None, dimension, what="matrix.npy")
            if matrix.dtype != np.float32:
                raise ValueError(f"matrix.npy must hold float32, and it holds {matrix.dtype}")
            covered = read_array(folder / "covered.npy")
            if covered.shape != (len(matrix),) or covered.dtype != np.bool_:
                raise ValueError(f"covered.npy must hold a truth value for each of the {len(matrix)} rows")
            if rest or len(set(file_words)) < len(file_words) or len(file_words) != coverage["file_words"]:
                raise ValueError(f"file_words.txt must hold {coverage['file_words']} words, one per line, each once")
            if len(file_words) + len(RESERVED) > len(matrix):
                raise ValueError(f"matrix.npy has {len(matrix)} rows, and file_words.txt {len(file_words)} words")
            if not 0 <= spread < math.inf:
                raise ValueError(f"spread is a number that is not negative, and it is {spread!r}")
        return cls(matrix, covered, spread, tuple(file_words))


def _spread(rows: np.ndarray) -> float:
    """The standard deviation of all numbers, to six digits, which do not depend on the order of additions."""
    if not len(rows):
        return RANDOM_SPREAD
    square = np.einsum("ij,ij->", rows, rows, dtype=np.float64) / rows.size  # `rows.std` would copy them to float64
    variance = max(square - rows.mean(dtype=np.float64) ** 2, 0.0)
    return float(f"{variance**0.5:.6g}")


def _share(covered: int, total: int) -> dict[str, float]:
    return {"covered": covered, "total": total, "share": round(covered / total, 6) if total else 0.0}
