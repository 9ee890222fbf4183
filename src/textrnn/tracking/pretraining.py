"""The record of a language model: a run without children, made from `data/embeddings/<name>/`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from textrnn.config.params import Params
from textrnn.embeddings.pretrained import ABOUT, HISTORY, PretrainedFolder
from textrnn.tracking.live import curve_point
from textrnn.tracking.record import PRETRAINING, TrackedPretraining
from textrnn.tracking.runs import timings
from textrnn.tracking.source import Recorded, Source
from textrnn.tracking.store import Row, Store


@dataclass(frozen=True)
class PretrainedSource(Source):
    """A language model's folder that gets a record."""

    model: PretrainedFolder

    def is_in(self, record: Recorded) -> bool:
        """Whether `record` is of the same training, which ended."""
        same = (record.tag(PRETRAINING), record.tag("dvc.fingerprint")) == (self.model.name, self.model.fingerprint)
        return same and record.parent.info.status == "FINISHED"

    def create(self, store: Store, same: list[Recorded]) -> str:
        """Writes the run as a live training does; returns its id."""
        model, params = self.model, self.params
        tracked = TrackedPretraining(
            study=params.study,
            corpus=params.corpus,
            name=model.name,
            kind=PRETRAINING,
            stage=self.stage,
            params=params.pretraining[model.name].model_dump(),  # the same as the model's, which JSON sorts
            fingerprint=model.fingerprint,
            datasets=self.datasets,
        )
        run_id = store.open(tracked, self.origin)
        store.close(run_id, self._points())
        return run_id

    def complete(self, store: Store, record: Recorded) -> None:
        """Adds what was trained, and the history."""
        for name in (ABOUT, HISTORY):
            store.client.log_artifact(record.parent.info.run_id, str(self.path / name))

    def _points(self) -> Iterator[Row]:
        yield from map(curve_point, self.model.history)
        timing = timings(self.project, self.stage, self.model.fingerprint)
        yield 0, {**self.model.cost, **timing.get(str(self.model.params["seed"]), {})}


def find_pretrained(project: Path, params: Params, name: str) -> PretrainedSource | None:
    """Returns the language model `name` if it is in files that were made with the study's present params."""
    folder = project / "data" / "embeddings" / name
    if not (folder / ABOUT).is_file():
        return None
    model = PretrainedFolder.load(folder)
    if model.params != params.pretraining[name].model_dump():
        return None
    return PretrainedSource(project, params, folder, f"pretrain@{name}", [], model)
