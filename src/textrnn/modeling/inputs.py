"""What a training starts from besides its settings and texts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from textrnn.config.experiment import Experiment
from textrnn.embeddings.matrix import Embedding
from textrnn.embeddings.pretrained import read_layers
from textrnn.errors import TextrnnError
from textrnn.modeling.batches import Tokens
from textrnn.modeling.checkpoint import Checkpoints
from textrnn.modeling.training import Trainer
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
        study, embedding = TextEncoder.load(tokens), Embedding.load(folder)
        rows = len(embedding.of_vocabulary.matrix)
        if rows != len(study.vocabulary):
            raise TextrnnError(
                f"{folder} has {rows} rows and the vocabulary {len(study.vocabulary)} words: "
                "they were not built together. Run `dvc repro`."
            )
        words = Vocabulary((*study.vocabulary.words, *embedding.file_words))
        return cls(folder, TextEncoder(words, study.classes), embedding)

    def trainer(
        self,
        experiment: Experiment,
        splits: dict[str, Tokens],
        targets: np.ndarray | None = None,
        checkpoints: Checkpoints | None = None,
    ) -> Trainer:
        """Returns the trainer of `experiment` on `splits`; see there for all arguments."""
        return Trainer(
            experiment,
            splits,
            self.embedding.draw,
            len(self.encoder.classes),
            checkpoints,
            fixed_rows=len(self.embedding.file_words) if experiment.trainable_embedding else 0,
            targets=targets,
            layers=read_layers(self.folder) if experiment.pretrained_layers else [],
        )
