"""Compares the corpus with the version that the champion was trained on: `textrnn data check`."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from textrnn.config.params import Params
from textrnn.corpus.check import LABELLED, Change, Judged, changes, table
from textrnn.corpus.tables import SLICE, Corpus
from textrnn.errors import TextrnnError, first_line
from textrnn.modeling.predictor import Predictor
from textrnn.project import dvc
from textrnn.project.dvc_lock import hashes
from textrnn.project.remote import copy_version
from textrnn.tracking.evidence import CORPUS
from textrnn.tracking.registry import download, find_champion, label
from textrnn.tracking.runs import registered_name

STAGE = "prepare_corpus"
SCORED = 10_000
"""Texts of a larger test split that are scored, drawn with seed 0: they estimate a distance to about 0.02."""


@dataclass(frozen=True)
class CorpusCheck:
    """The differences between two versions of the corpus.

    Attributes:
        summary: one sentence.
        changes: none where there is nothing to compare.
    """

    summary: str
    changes: Sequence[Change] = ()

    @property
    def forbidden(self) -> list[Change]:
        """Returns the changes above their limits."""
        return [change for change in self.changes if change.is_forbidden]

    def __str__(self) -> str:
        return "\n\n".join([self.summary, *([table(self.changes, "simple")] if self.changes else [])])

    def to_markdown(self) -> str:
        """Returns a section for a pull request."""
        parts = ["## Corpus", self.summary, *([table(self.changes, "pipe")] if self.changes else [])]
        return "\n\n".join(parts) + "\n"


def check(project: Path, params: Params) -> CorpusCheck:
    """Compares `data/corpus` with the version that the champion was trained on, which DVC's cache or remote has.

    Raises:
        TextrnnError: `data/corpus` is not what catalog and params ask for, DVC cannot say whether it is, or the
            champion's version cannot be had.
    """
    present = hashes(project / "dvc.lock", [CORPUS]).get(str(CORPUS))
    # What is missing, of DVC's cache or an archive that nobody needs any more, makes nothing stale.
    if dvc.is_due(STAGE, folder=project):
        raise TextrnnError(
            f"{CORPUS} is not the corpus that catalog.yaml and params.yaml ask for. Run `dvc repro {STAGE}`, then this "
            "again."
        )
    client, champion = find_champion(project, params)
    if champion is None:
        name = registered_name(params.corpus)
        return CorpusCheck(
            f"Corpus {params.corpus}: {name} has no champion yet, so there is nothing to compare it with."
        )
    name, version = label(champion), champion.tags["corpus.dvc"]
    if version == present:
        return CorpusCheck(f"Corpus {params.corpus} is the one that the champion {name} was trained on.")
    new = Corpus.load(project / CORPUS)
    with tempfile.TemporaryDirectory() as scratch:
        _fetch(project, version, name, Path(scratch))
        old = Corpus.load(Path(scratch))
        judged = _judged(download(client, champion, Path(scratch) / "model"), old, new)
    found = CorpusCheck("", changes(old, new, judged, params.data_check))
    forbidden = "".join(
        f" Forbidden: {each.what}, by {each.measure} {each.value:.3f}, above data_check.{each.key} ({each.limit:g})."
        for each in found.forbidden
    )
    return CorpusCheck(
        f"Corpus {params.corpus} differs from the version that the champion {name} was trained on"
        + (f".{forbidden}" if forbidden else ", by nothing that the study forbids."),
        found.changes,
    )


def _judged(model: Path, old: Corpus, new: Corpus) -> tuple[Judged, Judged]:
    predictor = Predictor(model)
    trained_on = old.frames["train"].select("text").unique()

    def judged(corpus: Corpus) -> Judged:
        texts = corpus.frames["test"].join(trained_on, on="text", how="anti")["text"]
        drawn = texts.sample(SCORED, seed=0) if len(texts) > SCORED else texts
        return Judged(predictor.probabilities(drawn), _unknown(predictor, corpus))

    return judged(old), judged(new)


def _unknown(predictor: Predictor, corpus: Corpus) -> float:
    """Returns the share of the running words that the model does not know; a text without words counts as one."""
    words = known = 0
    for split in LABELLED:
        for rows in corpus.frames[split].iter_slices(SLICE):
            own, familiar = predictor.words(rows["text"])
            words += int(np.maximum(own, 1).sum())
            known += int(familiar.sum())
    return 1 - known / words


def _fetch(project: Path, version: str, label: str, target: Path) -> None:
    """Copies the corpus that DVC knows by the hash `version` into `target`; the working tree does not change."""
    # By its hash, and not by the champion's commit: whoever trained it may have committed dvc.lock later, or elsewhere.
    try:
        copy_version(project, version, target)
    except Exception as error:  # every kind of remote raises its own
        raise TextrnnError(
            f"the corpus that the champion {label} was trained on, {version}, is neither in DVC's cache nor does "
            f"the default remote give it: {first_line(error)}. `dvc push` it from where it was trained, or name the "
            "remote that has it with `dvc remote default NAME`."
        ) from None
