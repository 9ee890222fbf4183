"""The view of a study that MLflow opens on: a table with the answer, and charts.

MLflow keeps what its button *Share* saves as a tag of the experiment, `mlflow.sharedViewState.<key>`. A link with that
key shows it. The format is that of MLflow 3.17; a version that does not know it shows its usual list at the same link.
"""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from textrnn.tracking.store import Store

KEY = "leaderboard"
TAG = f"mlflow.sharedViewState.{KEY}"
SORTED_BY = "valid_accuracy_mean"
PARENTS = f"metrics.{SORTED_BY} > 0"
"""Finds what has a result: the run for all seeds, not its children, trials or language models."""

VALIDATION, TEST, INTERVAL, VERDICT = "validation", "test", "test_interval", "against_nb_svm"
SIZE, COST = "size", "training_cost"
"""Tags of a parent for its row of the leaderboard, as the report writes it."""

LOW, HIGH = "test_accuracy_low", "test_accuracy_high"
"""Metrics of a parent: the limits of `INTERVAL`."""

TEST_MEAN = "test_accuracy_mean"

PICTURE = "leaderboard"
"""The key of an image of the run `report`: MLflow's own charts draw no intervals."""

FIRST, LAST = {"attributes.`Run Name`": 200, "runDateAndNestInfo": 130}, {"duration": 80}
COLUMNS = {
    f"tags.`{VALIDATION}`": 100,
    f"tags.`{TEST}`": 100,
    f"tags.`{INTERVAL}`": 110,
    f"tags.`{VERDICT}`": 130,
    f"tags.`{SIZE}`": 90,
    f"tags.`{COST}`": 120,
    "tags.`cell`": 90,
    "tags.`embedding`": 110,
}
"""Columns with their width in pixels, in their order: `FIRST` and `LAST` are those that MLflow always shows."""

REST = "Model metrics"
"""The section that MLflow, under this name of its own, fills with a chart for each other metric."""


def envelope() -> str:
    """Returns the value of `TAG`: JSON, in which the state is JSON again. It is always the same."""
    return json.dumps({"name": "Leaderboard", "createdAt": 0, "updatedAt": 0, "state": json.dumps(_state())})


def address(store: Store, home: str = "http://127.0.0.1:5000") -> str:
    """Returns the link to the study; to its view, if the last `textrnn sync` made one.

    Args:
        home: where `make ui` shows a store that is no server.
    """
    home = _without_password(store.uri) if store.uri.startswith("http") else home
    experiment = store.client.get_experiment(store.experiment_id)
    view = f"&viewStateShareKey={KEY}" if TAG in experiment.tags else ""
    return f"{home}/#/experiments/{store.experiment_id}/runs?workflowType=machine_learning{view}"


def _without_password(uri: str) -> str:
    parts = urlsplit(uri.rstrip("/"))
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def _state() -> dict[str, Any]:
    """What MLflow's page keeps of its table and charts; a section is a row of charts."""
    cost = {"xaxis": {"key": "training_flops", "type": "METRIC"}, "yaxis": {"key": SORTED_BY, "type": "METRIC"}}
    layout: dict[str, list[dict[str, Any]]] = {
        "Accuracy with 95 % intervals, and on test": [
            {"type": "IMAGE", "imageKeys": [PICTURE], "step": 0},
            {"type": "BAR", "metricKey": TEST_MEAN, "selectedMetricKeys": [TEST_MEAN]},
        ],
        "Accuracy on validation against operations of a training": [{"type": "SCATTER", **cost}],
        "Loss of each experiment, mean over seeds": [_line("val_loss"), _line("loss")],
        REST: [],
    }
    return {
        "searchFilter": PARENTS,
        "orderByKey": f"metrics.`{SORTED_BY}`",
        "orderByAsc": False,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "modelVersionFilter": "All Runs",
        "datasetsFilter": [],
        "selectedColumns": list(COLUMNS),
        "columnOrder": [*FIRST, *COLUMNS, *LAST],
        "columnWidths": {**FIRST, **COLUMNS, **LAST},
        "runsHiddenMode": "SHOW_ALL",
        "isAccordionReordered": True,
        "compareRunSections": [
            {
                "uuid": name,
                "name": name,
                "display": name != REST,
                "columns": len(charts) or 3,
                "cardHeight": 360,  # pixels
                "isReordered": True,
            }
            for name, charts in layout.items()
        ],
        "compareRunCharts": [
            {**chart, "uuid": f"{name} {number}", "metricSectionId": name, "runsCountToCompare": 100}
            for name, charts in layout.items()
            for number, chart in enumerate(charts)
        ],
    }


def _line(metric: str) -> dict[str, Any]:
    axes = {"xAxisKey": "step", "xAxisScaleType": "linear", "scaleType": "linear", "yAxisKey": "metric", "range": {}}
    return {"type": "LINE", "metricKey": metric, "selectedMetricKeys": [metric], "lineSmoothness": 0, **axes}
