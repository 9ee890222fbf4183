"""What a training starts from besides its settings."""

from __future__ import annotations

from pathlib import Path

from textrnn.embeddings.matrix import Embedding
from textrnn.errors import TextrnnError
from textrnn.text.encoder import TextEncoder
from textrnn.text.vocabulary import Vocabulary


def load_start(tokens: Path, embedding: Path) -> tuple[TextEncoder, Embedding]:
    """Returns the encoder, with the words that only the embedding knows, and the embedding.

    Raises:
        TextrnnError: the two were not built together.
    """
    study, start = TextEncoder.load(tokens), Embedding.load(embedding)
    rows = len(start.of_vocabulary.matrix)
    if rows != len(study.vocabulary):
        raise TextrnnError(
            f"{embedding} has {rows} rows and the vocabulary {len(study.vocabulary)} words: "
            "they were not built together. Run `dvc repro`."
        )
    return TextEncoder(Vocabulary((*study.vocabulary.words, *start.file_words)), study.classes), start
