"""The matrix that a network's embedding starts from, one row per word of the vocabulary."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from textrnn.errors import TextrnnError
from textrnn.text.vocabulary import PADDING, UNKNOWN, Vocabulary

RANDOM_SPREAD = 0.05
"""Standard deviation of the numbers drawn where no vector tells how large numbers should be."""


@dataclass(frozen=True, eq=False)
class Embedding:
    """What is known of the words' vectors; what is not known is drawn, anew for every seed.

    matrix: float32 [vocabulary, dimension]; rows that are not covered are zeros.
    covered: bool [vocabulary]: the source has a vector for this word. Never padding or unknown.
    spread: standard deviation of the covered rows' numbers, which drawn numbers share.
    """

    matrix: np.ndarray
    covered: np.ndarray
    spread: float

    @classmethod
    def build(cls, vocabulary: Vocabulary, rows: np.ndarray, index: np.ndarray) -> Self:
        """Places `rows` (float32 [n, dimension]) at `index` (int [n], positions in the vocabulary)."""
        is_word = index > UNKNOWN  # a source's own "<pad>" or "<unk>" means something else than ours
        if not is_word.all():
            rows, index = rows[is_word], index[is_word]
        matrix = np.zeros((len(vocabulary), rows.shape[1]), dtype=np.float32)
        matrix[index] = rows
        covered = np.zeros(len(vocabulary), dtype=np.bool_)
        covered[index] = True
        return cls(matrix, covered, _spread(rows))

    def draw(self, seed: int) -> np.ndarray:
        """Returns the complete matrix for one seed: float32 [vocabulary, dimension].

        Padding is zeros; a covered word has its vector; all others (unknown, and words that the
        source lacks) are drawn from a normal distribution around 0 with `spread`.
        """
        matrix = self.matrix.copy()
        drawn = np.flatnonzero(~self.covered)
        noise = np.random.default_rng(seed).standard_normal((len(drawn), matrix.shape[1]), dtype=np.float32)
        matrix[drawn] = noise * np.float32(self.spread)
        matrix[PADDING] = 0
        return matrix

    def coverage(self, vocabulary: Vocabulary, counts: np.ndarray) -> dict[str, Any]:
        """Returns how much of the vocabulary and of running words is covered, ready for JSON.

        `counts` (int [vocabulary]) says how often each word stands in the training texts. Unknown
        words are no part of the vocabulary, but of running words they are, as not covered.
        """
        words, covered = len(vocabulary) - (UNKNOWN + 1), int(self.covered.sum())
        running, covered_running = int(counts[UNKNOWN:].sum()), int(counts[self.covered].sum())
        missing = [i for i in np.argsort(-counts, kind="stable") if i > UNKNOWN and not self.covered[i]]
        return {
            "dimension": self.matrix.shape[1],
            "spread": self.spread,
            "vocabulary": _share(covered, words),
            "running_words": _share(covered_running, running),
            "most_frequent_uncovered": {vocabulary.words[i]: int(counts[i]) for i in missing[:20]},
        }

    def save(self, folder: Path, coverage: dict[str, Any]) -> None:
        """Writes `matrix.npy`, `covered.npy` and `coverage.json` into the existing `folder`."""
        np.save(folder / "matrix.npy", self.matrix)
        np.save(folder / "covered.npy", self.covered)
        text = json.dumps(coverage, indent=2, ensure_ascii=False)
        (folder / "coverage.json").write_text(text + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Returns what `save` has written. Raises `TextrnnError` where there is no embedding."""
        if not (folder / "coverage.json").is_file():
            raise TextrnnError(f"{folder} holds no embedding matrix. Run `dvc repro build_embeddings@{folder.name}`.")
        coverage = json.loads((folder / "coverage.json").read_text(encoding="utf-8"))
        return cls(np.load(folder / "matrix.npy"), np.load(folder / "covered.npy"), coverage["spread"])


def _spread(rows: np.ndarray) -> float:
    """The standard deviation of all numbers, in six digits: processors that add in another order agree on them."""
    if not len(rows):
        return RANDOM_SPREAD
    # `rows.std` would copy them to float64 first.
    square = np.einsum("ij,ij->", rows, rows, dtype=np.float64) / rows.size
    variance = max(square - rows.mean(dtype=np.float64) ** 2, 0.0)
    return float(f"{variance**0.5:.6g}")


def _share(covered: int, total: int) -> dict[str, float]:
    return {"covered": covered, "total": total, "share": round(covered / total, 6) if total else 0.0}
