"""Texts without a label, some of which every training step reads together with labelled ones."""

from dataclasses import dataclass

import numpy as np

from textrnn.modeling.batches import Tokens

DRAW_UNLABELLED = 3
"""With the seed, this starts the generators for their order; `training_texts.py` has others."""


@dataclass(frozen=True)
class Unlabelled:
    """The unlabelled `texts`, of which each step reads `batch`.

    A seed draws an endless sequence of them, and each epoch reads the next part. The sequence goes through all texts
    again and again, each time in another order. So what an epoch reads depends on nothing but seed, epoch and sizes.
    """

    texts: Tokens
    batch: int

    def batches(self, seed: int, epoch: int, longest: np.ndarray) -> list[np.ndarray]:
        """Returns the rows that each step of an epoch, from 1, reads: int64 [batch] each.

        `longest`, int64 [steps], are the tokens of the longest text with a label in each step: the texts of the epoch
        are distributed such that longer ones share a step with longer ones, so there is little padding.
        """
        steps = len(longest)
        rows = self._rows(seed, (epoch - 1) * steps, steps)
        by_length = rows[np.argsort(self.texts.lengths[rows], kind="stable")].reshape(steps, self.batch)
        return list(by_length[np.argsort(np.argsort(longest, kind="stable"))])

    def joined(self, ids: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Returns `ids`, int32 [labelled, time], and the texts in `rows` below them: int32 [all, longest of them]."""
        parts = ids, self.texts.padded(rows)
        width = max(part.shape[1] for part in parts)
        return np.concatenate([np.pad(part, ((0, 0), (0, width - part.shape[1]))) for part in parts])

    def amount_read(self, seed: int, steps: int) -> tuple[int, int]:
        """Returns how many tokens and texts the first `steps` of a training read."""
        rows = self._rows(seed, 0, steps)
        return int(self.texts.lengths[rows].sum()), len(rows)

    def _rows(self, seed: int, first: int, steps: int) -> np.ndarray:
        """The rows of so many steps from the step `first`, counted over all epochs from 0."""
        start, end, all_texts = first * self.batch, (first + steps) * self.batch, len(self.texts)
        times = range(start // all_texts, -(-end // all_texts))
        orders = [np.random.default_rng([seed, DRAW_UNLABELLED, time]).permutation(all_texts) for time in times]
        return np.concatenate([np.empty(0, np.int64), *orders])[start % all_texts :][: end - start]
