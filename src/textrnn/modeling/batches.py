"""Encoded texts in memory, and batches of similar length: little padding, and none where lengths agree."""

import copy
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self

import numpy as np
import polars as pl

from textrnn.config.experiment import Experiment
from textrnn.text.encoder import with_known
from textrnn.text.reading import read, truncation
from textrnn.text.vocabulary import PADDING, UNKNOWN, Vocabulary

LENGTH_JITTER = 2.0  # tokens: the range of the uniform noise added to lengths, so that batches vary between epochs

SLICE = 1 << 14  # texts that are read at a time

PREDICTION_BATCH = 512

UNLABELLED = "unlabelled"
"""The split of the texts without a label."""

TRAINED_ON = ("train", UNLABELLED)
"""The splits whose texts a training may read."""


class Tokens:
    """What a network reads of encoded texts, every token in one array.

    Args:
        texts: word indices, list[int32], none empty, in parts.
        experiment: says what its network reads of a text.
        ids: the examples' names, str [examples]; None if they do not matter, as in prediction.
        labels: int32 [examples], -1 for an unlabelled one, or None.

    Attributes:
        lengths: tokens per text, int64 [examples]
        truncated: how many `texts` are cut short, and how many `tokens` are cut off.
    """

    def __init__(
        self,
        texts: Iterable[pl.Series],
        experiment: Experiment,
        ids: pl.Series | None = None,
        labels: np.ndarray | None = None,
    ) -> None:
        self.ids = pl.Series(dtype=pl.String) if ids is None else ids
        self.labels = np.empty(0, np.int32) if labels is None else labels
        self.truncated = {"texts": 0, "tokens": 0}
        self._values = np.empty(0, np.int32)
        lengths = [np.empty(0, np.int64)]
        for part in texts:
            for what, count in truncation(part.list.len(), experiment).items():
                self.truncated[what] += count
            read_part = read(part, experiment)
            lengths.append(read_part.list.len().cast(pl.Int64).to_numpy())
            words, end = read_part.explode(empty_as_null=False).to_numpy(), len(self._values)
            self._values.resize(end + len(words), refcheck=False)  # in place: a corpus is never held twice
            self._values[end:] = words
        self.lengths = np.concatenate(lengths)
        self._starts = np.cumsum(self.lengths) - self.lengths

    @classmethod
    def load(cls, path: Path, experiment: Experiment, vocabulary: Vocabulary | None = None) -> Self:
        """Reads a file that `encode_corpus` wrote; `vocabulary` adds the words that a network knows from elsewhere."""
        table = pl.scan_parquet(path)
        examples = table.select("id", "label").collect()

        def texts() -> Iterator[pl.Series]:
            for start in range(0, len(examples), SLICE):
                rows = table.slice(start, SLICE)
                if vocabulary is None:
                    yield rows.select("ids").collect()["ids"]
                else:
                    yield with_known(rows.select("ids", "unknown").collect(), vocabulary)

        return cls(texts(), experiment, examples["id"], examples["label"].fill_null(-1).to_numpy())

    def __len__(self) -> int:
        return len(self.lengths)

    def take(self, rows: np.ndarray) -> Self:
        """Returns the texts in `rows` (int [n]), in that order; their words are not copied."""
        taken = copy.copy(self)
        taken.ids, taken.labels, taken.lengths = self.ids[rows], self.labels[rows], self.lengths[rows]
        taken._starts = self._starts[rows]
        return taken

    def join(self, other: Self) -> Self:
        """Returns these texts, and after them those of `other`."""
        joined = copy.copy(self)
        joined.ids = pl.concat([self.ids, other.ids])
        joined.labels = np.concatenate([self.labels, other.labels])
        joined.lengths = np.concatenate([self.lengths, other.lengths])
        joined.truncated = {what: count + other.truncated[what] for what, count in self.truncated.items()}
        joined._values = np.concatenate([self._values, other._values])
        joined._starts = np.concatenate([self._starts, other._starts + len(self._values)])
        return joined

    def padded(self, rows: np.ndarray) -> np.ndarray:
        """Returns int32 [rows, longest of them], each text from the left, zeros after it."""
        lengths = self.lengths[rows][:, None]
        position = np.arange(lengths.max())[None, :]
        inside = position < lengths
        source = np.where(inside, self._starts[rows][:, None] + position, 0)
        return np.where(inside, self._values[source], 0).astype(np.int32)

    def counts(self) -> np.ndarray:
        """Returns how often each word occurs, int64 [highest index + 1]."""
        counts = np.zeros(int(self._values.max(initial=0)) + 1, np.int64)
        for words, _ in self._slices():
            counts += np.bincount(words, minlength=len(counts))
        return counts

    def unknown(self) -> dict[str, int]:
        """Returns how many `tokens` are read, how many of them are `unknown`, and in how many `texts` all are."""
        totals = np.zeros(3, np.int64)
        for words, starts in self._slices():
            tokens, unknown = (
                np.add.reduceat(kind, starts, dtype=np.int64) for kind in (words != PADDING, words == UNKNOWN)
            )
            totals += [tokens.sum(), unknown.sum(), (unknown == tokens).sum()]
        return dict(zip(("tokens", "unknown", "texts"), totals.tolist(), strict=True))

    def _slices(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yields the words of some texts at a time, int32, and where each text starts, int64.

        The index arrays of all texts at once would take a multiple of the memory of the words.
        """
        for first in range(0, len(self), SLICE):
            lengths = self.lengths[first : first + SLICE]
            starts = np.cumsum(lengths) - lengths
            places = np.repeat(self._starts[first : first + SLICE] - starts, lengths) + np.arange(lengths.sum())
            yield self._values[places], starts


def reads_unlabelled(experiment: Experiment) -> bool:
    """Returns whether a training also reads texts without a label."""
    has_loss = experiment.virtual_adversarial or experiment.entropy_minimization
    return bool(experiment.unlabelled_batch and has_loss)


def load_splits(
    folder: Path,
    experiment: Experiment,
    vocabulary: Vocabulary,
    splits: Iterable[str] = ("train", "valid", "test"),
) -> dict[str, Tokens]:
    """Returns what the network of `experiment` reads of `splits` in `folder`; it knows the words of `vocabulary`.

    The unlabelled texts are among them if it is trained on such. Fine-tuning changes the vectors of the study's
    vocabulary only, so in its training all other words are unknown.
    """
    read = dict.fromkeys([*splits, *([UNLABELLED] if reads_unlabelled(experiment) else [])])
    return {split: load_split(folder, split, experiment, vocabulary) for split in read}


def load_split(
    folder: Path, split: str, experiment: Experiment, vocabulary: Vocabulary, trained_on: Sequence[str] = TRAINED_ON
) -> Tokens:
    """Returns one of these splits, of which the network is trained on those in `trained_on`."""
    is_tuned = split in trained_on and experiment.trainable_embedding
    return Tokens.load(folder / f"{split}.parquet", experiment, None if is_tuned else vocabulary)


def word_counts(parts: Iterable[Tokens], words: int = 0) -> np.ndarray:
    """Returns how often each word occurs in all `parts`, int64 [highest index + 1, at least `words`]."""
    counts = [part.counts() for part in parts]
    total = np.zeros(max(words, *map(len, counts)), np.int64)
    for each in counts:
        total[: len(each)] += each
    return total


def rare_word_chances(counts: np.ndarray, rate: float) -> np.ndarray:
    """Returns the probability with which training reads each word as unknown, float32 [words].

    It is a / (a + n) for a word that occurs n times: `rate` is a, above 0, and `counts` int64 [words] holds n.
    """
    chances = (rate / (rate + counts)).astype(np.float32)
    chances[: UNKNOWN + 1] = 0
    return chances


def balanced_weights(labels: np.ndarray) -> np.ndarray:
    """Returns a weight for each example, float32 [examples], of mean 1, with which all classes weigh the same.

    It is n / (k x count) for an example of a class that has `count` of the n `labels`, of k classes that occur, as
    scikit-learn's `balanced` has it (King & Zeng, Political Analysis 2001).
    """
    counts = np.bincount(labels)
    weights: np.ndarray = len(labels) / (np.count_nonzero(counts) * counts[labels])
    return weights.astype(np.float32)


def length_buckets(lengths: np.ndarray, batch_size: int, rng: np.random.Generator | None = None) -> list[np.ndarray]:
    """Returns the rows of each batch, texts of similar length together; `rng` varies texts and order of batches."""
    jitter = rng.uniform(0, LENGTH_JITTER, len(lengths)) if rng is not None else 0.0
    order = np.argsort(lengths + jitter, kind="stable")
    batches = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
    return batches if rng is None else [batches[index] for index in rng.permutation(len(batches))]


def predict(forward: Callable[[np.ndarray], Any], tokens: Tokens, threads: int = 1) -> np.ndarray:
    """Returns the probabilities `float32 [examples, classes]` of every text, in the order of `tokens`.

    `forward` goes from ids int32 [batch, time] to logits float32 [batch, classes]; `threads` batches run at once.
    """
    batches = length_buckets(tokens.lengths, PREDICTION_BATCH)[::-1]  # longest first, so that threads end together

    def run(rows: np.ndarray) -> np.ndarray:
        return np.asarray(forward(tokens.padded(rows)))

    with ThreadPoolExecutor(threads) as pool:
        each = pool.map if min(threads, len(batches)) > 1 else map  # a thread takes a tenth of the time for one text
        by_length = np.concatenate(list(each(run, batches)))
    logits = np.empty(by_length.shape)
    logits[np.concatenate(batches)] = by_length
    with np.errstate(invalid="ignore"):  # a training that diverged has NaN, and is reported as failed
        exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
        probabilities: np.ndarray = exponents / exponents.sum(axis=1, keepdims=True)
    return probabilities.astype(np.float32)
