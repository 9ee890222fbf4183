"""The second training of an experiment with `refit`: on its train and validation texts together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np

from textrnn.modeling.batches import Tokens
from textrnn.modeling.training import SeedResult, Trainer


@dataclass
class Refit:
    """Trains once more with each seed, for as many epochs as its first training kept.

    Attributes:
        trainer: of the second training, which measures nothing until it has ended.
        results: of the second trainings, in the order of the work.
    """

    trainer: Trainer
    results: list[SeedResult] = field(default_factory=list, init=False)

    @classmethod
    def of(cls, first: Trainer, texts: Tokens, targets: np.ndarray | None, test: Tokens) -> Self:
        """Returns the second training of the experiment that `first` trains.

        Its checkpoints are in the folder `refit` inside those of `first`.

        Args:
            texts: those that `first` is trained on, and the validation texts.
            targets: what is learned of `texts` instead of their labels, float32 [texts, classes].
            test: what is predicted once the training has ended.
        """
        others = {split: each for split, each in first.splits.items() if split != "valid"}
        splits = {**others, "train": texts, "test": test}
        experiment = first.experiment.model_copy(update={"early_stopping": None})
        saved = first.checkpoints.inside("refit") if first.checkpoints else None
        return cls(replace(first, experiment=experiment, splits=splits, targets=targets, checkpoints=saved))

    def training_flops(self, seeds: int) -> float:
        """Returns the mean operations of a second training over so many `seeds`; some may have had none."""
        if not self.results:
            return 0.0
        return self.trainer.training_flops(self.results) * len(self.results) / seeds

    def run(
        self, first: SeedResult, epochs: int, on_epoch: Callable[[dict[str, Any]], None] = lambda row: None
    ) -> SeedResult:
        """Trains with the seed of `first` for so many `epochs`, from the beginning or from a checkpoint.

        Returns history and validation probabilities of `first`, weights and test probabilities of the second training;
        if that fails, `first` as a failure.
        """
        second = self.trainer.run(first.seed, on_epoch, until=epochs, ends=True)
        self.results.append(second)
        seconds = first.seconds + second.seconds
        if second.failure is not None:
            failed = replace(first, seconds=seconds)
            failed.fail(f"on train and validation texts together, {second.failure}")
            return failed
        probabilities = {**first.probabilities, **second.probabilities}
        return replace(first, weights=second.weights, probabilities=probabilities, seconds=seconds)
