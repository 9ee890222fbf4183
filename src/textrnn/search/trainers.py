"""What a process of a search keeps between trainings: tokens, vectors and traced graphs."""

from __future__ import annotations

from functools import lru_cache

from textrnn.config.experiment import Experiment
from textrnn.modeling.batches import UNLABELLED, Tokens, load_split, reads_unlabelled
from textrnn.modeling.checkpoint import Checkpoints
from textrnn.modeling.start import Start
from textrnn.modeling.training import Trainer
from textrnn.search.halving import Task, Training
from textrnn.search.trainings import Inputs
from textrnn.text.reading import READING

GRAPHS = 16
"""How many networks are kept to go on with: each takes a hundred megabytes or so."""

READINGS = 12
"""How many readings of a split are kept in memory: they differ where the search varies what is read."""


class Trainers:
    """Trains for a search, on the train split and unlabelled texts, measured on the validation split.

    No test text is read.
    """

    def __init__(self, inputs: Inputs) -> None:
        self._inputs = inputs
        self._batch = 0
        self._trainer = lru_cache(GRAPHS)(self._new_trainer)
        self._start = lru_cache(None)(self._load_start)
        self._split = lru_cache(READINGS)(self._load_split)

    def train(self, task: Task) -> Training:
        """Trains, or continues from a checkpoint, up to the epoch that `task` names."""
        if task.batch != self._batch:  # those of the last one are decided
            self._trainer.cache_clear()
            self._batch = task.batch
        trainer = self._trainer(task.experiment)
        trainer.checkpoints = Checkpoints(self._inputs.checkpoints / self._inputs.name(task), self._inputs.key)
        result = trainer.run(task.seed, until=task.until)
        return Training(result.history, trainer.epoch_flops(task.seed), result.is_over, result.failure)

    def _new_trainer(self, experiment: Experiment) -> Trainer:
        plain = Experiment(**experiment.model_dump(include={*READING, "embedding", "trainable_embedding"}))
        names = ("train", "valid", *([UNLABELLED] if reads_unlabelled(experiment) else []))
        splits = {name: self._split(plain, name) for name in names}
        return Trainer.of(self._start(experiment.embedding), experiment, splits)

    def _load_start(self, embedding: str) -> Start:
        return Start.load(self._inputs.tokens, self._inputs.embeddings / embedding)

    def _load_split(self, experiment: Experiment, name: str) -> Tokens:
        vocabulary = self._start(experiment.embedding).encoder.vocabulary
        return load_split(self._inputs.tokens, name, experiment, vocabulary)
