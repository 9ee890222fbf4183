"""What MLflow says of a study after `sync`: its description, its runs' row of the leaderboard, the run `report`."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from fake_runs import alone, make_run
from mlflow import MlflowClient
from mlflow.entities import Run
from tiny_project import PARAMS

from textrnn.analysis import leaderboard, run_tables
from textrnn.config.params import Params, load_params
from textrnn.run_folder import MEASURES, RunFolder
from textrnn.tracking import view
from textrnn.tracking.answer import REPORT
from textrnn.tracking.store import open_store
from textrnn.tracking.sync import Synced, sync

VAL_LOSS = {0: [0.6, 0.4], 1: [0.8, 0.6, 0.1]}


def row(seed: int, epoch: int, val_loss: float) -> dict[str, float]:
    return {**dict.fromkeys(MEASURES, 0.5), "seed": seed, "epoch": epoch, "val_loss": val_loss}


def write_report(folder: Path, runs: list[RunFolder], wrong: float = 0.0) -> None:
    board = leaderboard.build(runs, run_tables.seed_scores(runs), alone)
    board["test_accuracy"] += wrong
    board = board.assign(against_nb_svm=["unclear" if name == "lstm" else "" for name in board["experiment"]])
    (folder / "reports" / "tiny").mkdir(parents=True, exist_ok=True)
    board.assign(against_best="").to_csv(folder / "reports" / "tiny" / "leaderboard.csv", index=False)
    (folder / "reports" / "tiny" / "index.html").write_text("<h1>Report</h1>", encoding="utf-8")


@pytest.fixture
def study(tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Params, list[RunFolder]]:
    """One experiment, which is right on 3 of 4 texts and 3 of 5, and a baseline, on 2 of 4 and of 5; no report yet."""
    for name in ("MLFLOW_TRACKING_URI", "DVC_EXP_NAME", "DVC_ROOT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    shutil.copy(empty_store, tmp_path)
    kept = [line for line in PARAMS.splitlines() if not line.startswith(("  gru:", "  mean:", "  majority:"))]
    (tmp_path / "params.yaml").write_text("\n".join(kept), encoding="utf-8")
    params = load_params(tmp_path / "params.yaml")
    curves = [row(seed, epoch, loss) for seed, losses in VAL_LOSS.items() for epoch, loss in enumerate(losses, 1)]
    given = {"params": params.experiments["lstm"].model_dump(), "seeds": [0, 1], "history": curves}
    settings = params.baselines["nb-svm"].model_dump(exclude_none=True)
    worse = {
        "valid": (["valid-0", "valid-1"], [0, 1], [[0.8, 0.2], [0.8, 0.2]]),
        "test": (["test-0", "test-1"], [0, 1], [[0.8, 0.2], [0.8, 0.2]]),
    }
    runs = [
        make_run(tmp_path / "runs", "lstm", **given),
        make_run(tmp_path / "runs", "nb-svm", kind="baseline", params=settings, predictions=worse),
    ]
    return params, runs


def again(params: Params) -> Synced:
    return sync(Path.cwd(), params, lambda *_: None)


def parents(condition: str = view.PARENTS) -> list[Run]:
    """What the view shows, in its order."""
    store = open_store(Path.cwd(), "tiny/snippets")
    return list(store.client.search_runs([store.experiment_id], condition, order_by=[f"metrics.{view.SORTED_BY} DESC"]))


def tags_of_experiment() -> dict[str, str]:
    store = open_store(Path.cwd(), "tiny/snippets")
    return dict(store.client.get_experiment(store.experiment_id).tags)


def test_without_a_report_it_says_so_and_shows_scores(study: tuple[Params, list[RunFolder]]) -> None:
    params, _ = study
    done = again(params)
    first, second = parents()
    assert [first.info.run_name, second.info.run_name] == ["lstm", "nb-svm"]
    assert [first.data.tags[tag] for tag in (view.VALIDATION, view.TEST)] == ["75.0 ± 0.0", "60.0 ± 0.0"]
    assert [second.data.tags[tag] for tag in (view.VALIDATION, view.TEST)] == ["50.0", "50.0"]
    assert view.INTERVAL not in first.data.tags
    assert tags_of_experiment()["mlflow.note.content"].startswith("There is no report of these runs yet")
    assert tags_of_experiment()["mlflow.experimentKind"] == "custom_model_development"
    assert done.link.endswith("/runs?workflowType=machine_learning&viewStateShareKey=leaderboard")


def test_a_parent_has_the_mean_curve_of_the_epochs_that_all_seeds_reached(
    study: tuple[Params, list[RunFolder]],
) -> None:
    params, _ = study
    again(params)
    store = open_store(Path.cwd(), "tiny/snippets")
    curve = store.client.get_metric_history(parents()[0].info.run_id, "val_loss")
    assert {point.step: point.value for point in curve} == pytest.approx({1: 0.7, 2: 0.5})


def test_the_report_is_a_run_that_stands_first(
    study: tuple[Params, list[RunFolder]], monkeypatch: pytest.MonkeyPatch
) -> None:
    params, runs = study
    assert again(params).created == ["lstm", "nb-svm"]
    write_report(Path.cwd(), runs)
    done = again(params)
    assert (done.created, done.unchanged) == ([REPORT], ["lstm", "nb-svm"])
    report, lstm, _ = parents()
    assert (report.info.run_name, report.data.metrics) == ("report", {view.SORTED_BY: 0.75})
    client = open_store(Path.cwd(), "tiny/snippets").client
    assert [file.path for file in client.list_artifacts(report.info.run_id)] == ["index.html", "leaderboard.csv"]
    low, high = (100 * lstm.data.metrics[limit] for limit in (view.LOW, view.HIGH))
    assert 0 <= low < 60 < high <= 100
    assert lstm.data.tags[view.INTERVAL] == f"{low:.1f} to {high:.1f}"
    assert lstm.data.tags[view.VERDICT] == "unclear"
    note = tags_of_experiment()["mlflow.note.content"]
    assert note.startswith(
        "No experiment beats NB-SVM (50.0 % on test) beyond chance. First: `lstm`, 60.0 ± 0.0 %. Rep"
    )
    assert lstm.data.tags[view.SIZE] == "640 k"
    assert "`reports/tiny/index.html`" in note
    for method in ("log_batch", "set_experiment_tag", "create_run"):
        monkeypatch.setattr(MlflowClient, method, lambda *_, **__: pytest.fail("written again"))
    assert again(params) == Synced(unchanged=["lstm", "nb-svm", REPORT])


def test_a_new_report_replaces_the_old_one_and_one_of_other_runs_is_none(
    study: tuple[Params, list[RunFolder]],
) -> None:
    params, runs = study
    write_report(Path.cwd(), runs)
    again(params)
    Path("reports/tiny/index.html").write_text("<h1>Another</h1>", encoding="utf-8")
    assert again(params).created == [REPORT]
    reports = parents("tags.kind = 'report'")
    assert len(reports) == 1
    write_report(Path.cwd(), runs, wrong=0.2)
    again(params)
    assert tags_of_experiment()["mlflow.note.content"].startswith("There is no report of these runs yet")
    assert {run.data.tags.get(view.INTERVAL, "") for run in parents()} == {""}


def test_the_report_stays_first_after_the_best_run_is_recorded_anew(
    study: tuple[Params, list[RunFolder]],
) -> None:
    params, runs = study
    write_report(Path.cwd(), runs)
    again(params)
    open_store(Path.cwd(), "tiny/snippets").client.delete_run(parents()[1].info.run_id)
    assert again(params).created == ["lstm", REPORT]
    assert [run.info.run_name for run in parents()] == ["report", "lstm", "nb-svm"]


def test_a_baseline_above_every_experiment_is_below_the_report(study: tuple[Params, list[RunFolder]]) -> None:
    """It has no rank, and its row is the leaderboard's first."""
    params, (lstm, baseline) = study
    right = {split: ([f"{split}-0", f"{split}-1"], [0, 1], [[0.8, 0.2], [0.2, 0.8]]) for split in ("valid", "test")}
    shutil.rmtree(baseline.path)
    best = make_run(baseline.path.parent, "nb-svm", kind="baseline", params=baseline.params, predictions=right)
    write_report(Path.cwd(), [lstm, best])
    again(params)
    assert [run.info.run_name for run in parents()] == ["report", "nb-svm", "lstm"]


def test_a_store_that_was_never_synced_has_a_plain_link(study: tuple[Params, list[RunFolder]]) -> None:
    store = open_store(Path.cwd(), "tiny/snippets")
    home = f"http://127.0.0.1:5000/#/experiments/{store.experiment_id}"
    assert view.address(store) == f"{home}/runs?workflowType=machine_learning"
    store.client.set_experiment_tag(store.experiment_id, view.TAG, view.envelope())
    assert view.address(store) == f"{home}/runs?workflowType=machine_learning&viewStateShareKey=leaderboard"


def test_each_chart_is_in_a_section_that_the_view_has() -> None:
    state = json.loads(json.loads(view.envelope())["state"])
    sections = {section["uuid"] for section in state["compareRunSections"]}
    assert {chart["metricSectionId"] for chart in state["compareRunCharts"]} == sections - {view.REST}
    assert len({chart["uuid"] for chart in state["compareRunCharts"]}) == len(state["compareRunCharts"])
