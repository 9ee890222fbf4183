"""Reads the vectors that a vocabulary needs from a published file, which is streamed once.

Such a file has up to millions of rows, and a vocabulary some ten thousand words. So words are compared as bytes
(in NFC), and only the numbers of the words requested are parsed and kept.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from textrnn.config.catalog import VectorsEntry
from textrnn.embeddings.vector_files import READERS, Sought, refuse
from textrnn.errors import TextrnnError

_OUT_OF_PROPORTION = 1e6
"""Times the median norm. Norms of trained vectors differ by a factor of a hundred; those of misread bytes by 1e20."""
_HARMLESS, _TOO_LARGE = 1e3, 1e12
"""Norms up to which a vector is accepted, and above which none is, whatever the median."""


@dataclass(frozen=True, eq=False)
class Vectors:
    """`rows[i]` (float32 [n, dimension]) is the vector of `(*words, *further)[index[i]]` (int64 [n], unique).

    `words` are those requested, `further` are other words of the file.
    """

    rows: np.ndarray
    index: np.ndarray
    further: list[str]


def read_vectors(archive: Path, entry: VectorsEntry, words: Sequence[str], more: int = 0) -> Vectors:
    """Returns the vectors that the file has for `words`, and for up to `more` further words.

    Formats: `glove` (Pennington et al., EMNLP 2014), `word2vec-text` and `word2vec-binary` (Mikolov et al.,
    NeurIPS 2013), `npy` (a matrix, whose words are in the member `entry.words`: a Parquet column, or a text
    with one word per line). Words of the file are put into NFC and then matched exactly; the first vector of
    a word counts. A header that promises another number of lines causes a warning on standard error.

    Args:
        words: as the tokenizer writes them. Reserved words (padding, unknown) are not looked up.
        more: takes the first words of the file that the tokenizer leaves as they are, as one token.

    Raises:
        TextrnnError: the file is not of its format or dimension, or is truncated; it has none of `words`; a
            vector to be returned has a number that is not finite, or a norm above 1e6 times the median (1e3
            at least, 1e12 at most); the end of a word in a binary file is ambiguous.
    """
    assert entry.dimension  # the catalog requires it of downloaded vectors
    sought = Sought(words, more)
    requested = len(sought.positions)
    found = list(READERS[entry.format](archive, entry, entry.dimension, sought))
    index = np.array([position for positions, _ in found for position in positions], dtype=np.int64)
    if not (index < len(words)).any():
        raise TextrnnError(
            f"{archive} has vectors for none of the {requested:,} words asked for, such as "
            f"{', '.join(map(repr, words[-3:]))}. Vectors and corpus must share their language and way of "
            "writing words: choose another source, or correct 'member' in catalog.yaml."
        )
    rows = np.concatenate([rows for _, rows in found], dtype=np.float32)
    norms = np.sqrt(np.einsum("ij,ij->i", rows, rows, dtype=np.float64))

    def name(wrong: np.ndarray) -> str:
        first = int(index[wrong][0])
        word = words[first] if first < len(words) else sought.further[first - len(words)]
        return f"the vector of {word!r} ({int(wrong.sum())} such in all)"

    broken = ~np.isfinite(norms)
    if broken.any():
        raise TextrnnError(
            f"{archive}: {name(broken)} holds a number that is not finite, and no network can start from it. "
            "Fix the file, or choose another source."
        )
    median = np.quantile(norms[norms > 0], 0.5, method="lower") if norms.any() else 0.0
    limit = np.clip(_OUT_OF_PROPORTION * median, _HARMLESS, _TOO_LARGE)
    large = norms > limit
    if large.any():
        refuse(
            archive,
            f"{name(large)} has norm {norms[large][0]:.3g}, out of all proportion to the others': their median is "
            f"{median:.3g}, and norms above {limit:.3g} come from bytes that are read wrongly",
        )
    return Vectors(rows, index, sought.further)
