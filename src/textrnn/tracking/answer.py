"""What a study found, in MLflow: its experiment's description, tags and curves of its runs, and the run `report`."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from math import isnan, nan
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
from mlflow.entities import Metric, RunTag
from mlflow.entities import Run as MlflowRun

from textrnn import wording
from textrnn.config.params import Params
from textrnn.report.summary import answer, read, si, summary
from textrnn.run_folder import RunFolder
from textrnn.tracking import view
from textrnn.tracking.record import Tags, source_tags
from textrnn.tracking.source import Recorded, Source
from textrnn.tracking.store import Row, Store
from textrnn.tracking.upload import upload

KIND = "mlflow.experimentKind"
NOTE = "mlflow.note.content"
REPORT = "report"
"""The kind and the name of the run that holds a study's report."""

Shown = dict[str, tuple[RunFolder, MlflowRun]]
"""Each run of the study in files, with its parent in MLflow."""


@dataclass(frozen=True)
class ReportSource(Source):
    """A study's report, which gets one run, replaced by every other report."""

    board: pd.DataFrame
    best: MlflowRun | None

    @property
    def digest(self) -> str:
        """A digest of the files and the best run's id: the report is newer than that run, so it sorts before it."""
        best = self.best.info.run_id if self.best else ""
        return hashlib.sha256(f"{super().digest} {best}".encode()).hexdigest()

    def is_in(self, record: Recorded) -> bool:
        """Whether `record` is of a report."""
        return record.tag("kind") == REPORT

    def is_ours(self, record: Recorded) -> bool:
        """A study has one report, whoever made it."""
        return True

    def create(self, store: Store, same: list[Recorded]) -> str:
        """Writes the run, with the best run's score, by which the view sorts; returns its id."""
        origin = self.origin
        tags: Tags = {
            "study": self.params.study,
            "corpus": self.params.corpus,
            "kind": REPORT,
            "mlflow.runName": REPORT,
            NOTE: "\n\n".join([*summary(self.board), "Under *Artifacts*: `index.html`, and each table and picture."]),
            **source_tags(self.stage, origin),
        }
        run_id = store.create(tags, {}, self.datasets, origin.patch)
        score = self.best.data.metrics[view.SORTED_BY] if self.best else None
        store.close(run_id, [] if score is None else [(0, {view.SORTED_BY: score})])
        return run_id

    def complete(self, store: Store, record: Recorded) -> None:
        """Adds the report's files, and for the view its first picture."""
        upload(store, record.parent.info.artifact_uri, self.path)
        scores = self.path / "scores.csv"
        if not scores.is_file():
            return
        from PIL import Image  # deferred, as what draws: a `sync` without a new report needs neither

        from textrnn.report.plots.draw import leaderboard_as_png

        with TemporaryDirectory() as scratch:
            file = leaderboard_as_png(Path(scratch), self.board, pd.read_csv(scores))
            with Image.open(file) as picture:
                store.client.log_image(record.parent.info.run_id, picture, key=view.PICTURE, step=0)


def find_report(project: Path, params: Params, shown: Shown) -> ReportSource | None:
    """Returns the study's report if it is in files, and of the runs that are `shown`."""
    folder = project / "reports" / params.study
    if not (folder / "leaderboard.csv").is_file():
        return None
    board = read(folder)
    parents = [shown[name][1] if name in shown else None for name in board["experiment"]]
    rows = (row for _, row in board.iterrows())
    if set(board["experiment"]) != set(params.runs) or not all(map(_agrees, parents, rows)):
        return None
    scored = [parent for parent in parents if parent and view.SORTED_BY in parent.data.metrics]
    best = max(scored, key=lambda parent: parent.data.metrics[view.SORTED_BY], default=None)
    return ReportSource(project, params, folder, "compare", (), board, best)


def show(store: Store, params: Params, shown: Shown, report: ReportSource | None) -> None:
    """Gives MLflow the answer: the experiment's kind, description and view, and the runs' tags and curves."""
    rows = {} if report is None else {row["experiment"]: row for _, row in report.board.iterrows()}
    for name, (run, parent) in shown.items():
        _describe(store, run, parent, rows.get(name))
    if report is None:
        note = "There is no report of these runs yet: `make repro` writes it."
    else:
        where = f"`reports/{params.study}/index.html`"  # MLflow shows a line, and the rest after a click
        note = f"{answer(report.board)} Report: the run `{REPORT}`, or {where}."
    known = store.client.get_experiment(store.experiment_id).tags
    for key, value in ((KIND, "custom_model_development"), (NOTE, note), (view.TAG, view.envelope())):
        if known.get(key) != value:
            store.client.set_experiment_tag(store.experiment_id, key, value)


def _agrees(parent: MlflowRun | None, row: pd.Series) -> bool:
    """Whether a run has the accuracies that the leaderboard says, which are rounded."""
    scores = ("valid_accuracy", "test_accuracy")
    if parent is None:
        return False
    own = [parent.data.metrics.get(f"{score}_mean", nan) for score in scores]
    return np.allclose(own, [row[score] for score in scores], rtol=0, atol=1e-6, equal_nan=True)


def _describe(store: Store, run: RunFolder, parent: MlflowRun, row: pd.Series | None) -> None:
    """Gives a parent its row of the leaderboard, and its curves, in one request; none if it has them."""
    known = parent.data.metrics
    tags = {
        view.VALIDATION: _score(known, "valid_accuracy"),
        view.TEST: _score(known, "test_accuracy"),
        view.INTERVAL: "" if row is None else wording.interval(row["test_low"], row["test_high"]),
        view.VERDICT: "" if row is None else str(row["against_nb_svm"]),
        view.SIZE: si(known.get("parameters", 0)),
        view.COST: si(known.get("training_flops", 0), "FLOP"),
    }
    limits = {} if row is None else {view.LOW: float(row["test_low"]), view.HIGH: float(row["test_high"])}
    rows: list[Row] = [(0, {key: value for key, value in limits.items() if not isnan(value)})]
    if "val_loss" not in known:
        rows += _curves(run)
    now = int(time.time() * 1000)
    fresh = [Metric(key, value, now, step) for step, values in rows for key, value in values.items()]
    fresh = [metric for metric in fresh if known.get(metric.key) != metric.value]
    changed = [RunTag(key, value) for key, value in tags.items() if parent.data.tags.get(key, "") != value]
    if fresh or changed:
        store.client.log_batch(parent.info.run_id, metrics=fresh, tags=changed)


def _score(metrics: dict[str, float], score: str) -> str:
    """Returns `79.5 ± 0.7`, in percent; nothing where no seed finished."""
    mean, std = metrics.get(f"{score}_mean"), metrics.get(f"{score}_std")
    return wording.percent(mean) + ("" if std is None else f" ± {wording.percent(std)}")


def _curves(run: RunFolder) -> Iterator[Row]:
    """Yields the mean over seeds of losses and accuracies, for each epoch that every finished seed was trained in."""
    history, seeds = run.history, run.finished_seeds
    epochs = history[history["seed"].isin(seeds)].groupby("epoch")[["loss", "val_loss", "accuracy", "val_accuracy"]]
    for epoch, means in epochs.mean()[epochs.size() == len(seeds)].iterrows():
        yield int(str(epoch)), {str(key): float(value) for key, value in means.items()}
