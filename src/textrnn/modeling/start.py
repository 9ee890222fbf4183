"""What a training starts from besides its settings and texts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from textrnn.embeddings.matrix import Embedding
from textrnn.errors import TextrnnError
from textrnn.text.encoder import TextEncoder
from textrnn.text.vocabulary import Vocabulary


@dataclass(frozen=True)
class Start:
    """An embedding, and the encoder with the words that it knows besides the study's own."""

    folder: Path
    encoder: TextEncoder
    embedding: Embedding

    @classmethod
    def load(cls, tokens: Path, folder: Path) -> Start:
        """Reads the embedding in `folder`.

        Raises:
            TextrnnError: it was not built together with `tokens`.
        """
        encoder, embedding = TextEncoder.load(tokens), Embedding.load(folder)
        rows = len(embedding.of_vocabulary.matrix)
        if rows != len(encoder.vocabulary):
            raise TextrnnError(
                f"{folder} has {rows} rows and the vocabulary {len(encoder.vocabulary)} words: "
                "they were not built together. Run `dvc repro`."
            )
        words = Vocabulary((*encoder.vocabulary.words, *embedding.file_words))
        return cls(folder, TextEncoder(words, encoder.classes), embedding)
