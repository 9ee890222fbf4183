"""A search's record in MLflow, made from its files: one parent, a child for each trial."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from fake_runs import make_run
from mlflow import MlflowClient
from mlflow.entities import Run, ViewType
from mlflow.tracking._tracking_service.utils import _artifact_repos_cache
from rich.console import Console
from tiny_project import PARAMS

from textrnn.config.params import Params, load_params
from textrnn.config.validation import chosen
from textrnn.errors import TextrnnError
from textrnn.report.plots import draw
from textrnn.run_folder import MEASURES
from textrnn.search.result import SearchResult
from textrnn.search.winner import load_study
from textrnn.tracking import registry
from textrnn.tracking.lineage import lineage
from textrnn.tracking.source import SYNCED, find
from textrnn.tracking.store import PROCESS, open_store, this_process
from textrnn.tracking.sync import Synced, sync

SEARCHES = """\
searches:
  tuned:
    start: lstm
    space:
      units: {low: 2, high: 64, log: true}
      dropout: {low: 0.0, high: 0.7}
      early_stopping: {low: 1, high: 3, optional: true}
      cell: {choices: [lstm, gru]}
    trials: 4
    batch: 4
    rungs: 2
    reduction: 2
    seeds: [1, 2]
"""

TRIALS = """\
trial,batch,units,dropout,early_stopping,cell,outcome,rung,trained_epochs,seeds,value,val_accuracy,flops,reason
0,0,3,0.0,,lstm,cut,1,1,1000,0.7,0.5,100.0,
1,0,16,0.25,2,gru,finished,2,2,1000 1001,0.5,0.75,600.0,
2,0,64,0.1,,lstm,diverged,1,1,1000,,,50.0,the loss is no longer a finite number in epoch 1
3,0,9,0.7,3,gru,refused,,,,,,0.0,layers is 0
4,1,8,0.3,1,gru,finished,2,2,1000 1001,0.6,0.7,600.0,
"""
RUN = "search tuned"
NAMES = [RUN, *(f"tuned trial {number}" for number in range(5))]


def make_search(folder: Path, params: Params, trials: str = TRIALS, epochs: int = 2) -> Path:
    """Writes the search `tuned`, whose trials ran for so many epochs and those of the last rung with two seeds."""
    folder.mkdir(parents=True)
    (folder / "trials.csv").write_text(trials, encoding="utf-8")
    table = pl.read_csv(folder / "trials.csv")
    rows = [
        {"trial": trial["trial"], "rung": 1, "seed": seed, "epoch": epoch, **dict.fromkeys(MEASURES, seed / epoch)}
        for trial in table.to_dicts()
        for seed in ((1000, 1002) if trial["rung"] == 2 else (1000,))
        for epoch in range(1, epochs + 1 if trial["rung"] else 1)
    ]
    pl.DataFrame(rows).write_csv(folder / "curves.csv")
    pl.DataFrame({"trial": [1], "rung": [1], "value": [0.5]}).write_csv(folder / "values.csv")
    search = params.searches["tuned"]
    winner = {"units": 16, "dropout": 0.25, "early_stopping": 2, "cell": "gru"}
    content = {
        "name": "tuned",
        "winner": 1,
        "value": 0.5,
        "val_accuracy": 0.75,
        "seeds": [1000, 1001],
        "space": chosen(search.space),
        "settings": search.model_dump(exclude={"space"}),
        "outcomes": {"finished": 2, "cut": 1, "diverged": 1, "refused": 1},
        "flops": 1350.0,
        "best": [{"trial": 1, "flops": 750.0, "value": 0.5}],
        "importance": {"units": 0.75, "dropout": 0.25},
    }
    (folder / "search.json").write_text(json.dumps(content), encoding="utf-8")
    settings = params.experiments["lstm"].model_copy(update=winner).model_dump()
    (folder / "winner.json").write_text(json.dumps(settings), encoding="utf-8")
    return folder


@pytest.fixture(autouse=True)
def surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MLFLOW_TRACKING_URI", "DVC_EXP_NAME", "DVC_EXP_BASELINE_REV", "DVC_ROOT"):
        monkeypatch.delenv(name, raising=False)

    def picture(folder: Path, result: SearchResult) -> None:
        (folder / "best.svg").write_text(f"<svg>{result.name}</svg>", encoding="utf-8")

    monkeypatch.setattr(draw, "search", picture)


@pytest.fixture(scope="module")
def synced(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Synced]:
    """A study with a search and its winner's run, and what the first sync of it did."""
    project = tmp_path_factory.mktemp("home") / "project"
    project.mkdir()
    (project / "params.yaml").write_text(PARAMS + SEARCHES, encoding="utf-8")
    params = load_params(project / "params.yaml")
    for name in ("lstm", "gru"):
        make_run(project / "runs", name, params=params.experiments[name].model_dump(), seeds=[0, 1])
    result = SearchResult.load(make_search(project / "runs/search@tuned", params, epochs=200))
    make_run(project / "runs", "tuned", params=result.experiment.model_dump(), seeds=[0, 1])
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(project)
        surroundings.__wrapped__(patch)
        done = sync(project, load_study(project), lambda *_: None)
    return project, done


@pytest.fixture
def project(synced: tuple[Path, Synced], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    copy = shutil.copytree(synced[0], tmp_path / "project")
    _artifact_repos_cache.clear()  # another process has nothing in it
    monkeypatch.chdir(copy)
    return copy


def again(project: Path) -> Synced:
    done = sync(project, load_study(project), lambda *_: None)
    assert done.outdated == ["mean", "majority", "nb-svm"]
    done.outdated = []
    return done


def found(project: Path, **filters: Any) -> dict[str, Run]:
    """The runs of the search by name."""
    store = open_store(project, "tiny/snippets")
    runs = list(store.client.search_runs([store.experiment_id], "tags.search = 'tuned'", **filters))
    named = {run.info.run_name: run for run in runs}
    assert len(named) == len(runs)
    return named


def test_a_search_is_a_parent_with_a_child_for_each_trial(synced: tuple[Path, Synced], project: Path) -> None:
    assert synced[1].created == ["lstm", "gru", "tuned", RUN]
    runs = found(project)
    assert sorted(runs) == sorted(NAMES)
    parent = runs[RUN].data
    assert {"kind": "search", "study": "tiny", "corpus": "snippets", "winner": "1"}.items() <= parent.tags.items()
    assert parent.tags["dvc.stage"] == "search@tuned"
    assert parent.tags["mlflow.note.content"] == (
        "Trial 1 is the best of 5: units 16, dropout 0.25, early_stopping 2, cell gru."
    )
    assert {
        "trials": "4",
        "sampler": "tpe",
        "seeds": "[1, 2]",
        "space.units": "2 to 64, log",
        "space.early_stopping": "1 to 3, optional",
        "space.cell": "lstm, gru",
    }.items() <= parent.params.items()
    assert parent.metrics == {
        "value": 0.5,
        "valid_accuracy": 0.75,
        "training_flops": 1350.0,
        "best_value": 0.5,
        "trials": 5,
        "trials_finished": 2,
        "trials_cut": 1,
        "trials_diverged": 1,
        "trials_refused": 1,
        "importance.units": 0.75,
        "importance.dropout": 0.25,
    }
    client = open_store(project, "tiny/snippets").client
    files = {file.path for file in client.list_artifacts(runs[RUN].info.run_id)}
    assert files == {"search.json", "trials.csv", "curves.csv", "values.csv", "winner.json", "best.svg"}


def test_a_trials_child_has_its_knobs_its_curves_and_what_became_of_it(project: Path) -> None:
    runs = found(project)
    assert {name: run.info.status for name, run in runs.items() if run.info.status != "FINISHED"} == {
        "tuned trial 2": "FAILED",
        "tuned trial 3": "FAILED",
    }
    trials = [runs[name].data for name in NAMES[1:]]
    assert [trial.tags["outcome"] for trial in trials] == ["cut", "finished", "diverged", "refused", "finished"]
    assert trials[0].params == {"units": "3", "dropout": "0", "early_stopping": "None", "cell": "lstm"}
    assert trials[1].params == {"units": "16", "dropout": "0.25", "early_stopping": "2", "cell": "gru"}
    assert (trials[1].tags["seeds"], trials[1].tags["mlflow.parentRunId"]) == ("1000 1001", runs[RUN].info.run_id)
    assert trials[2].tags["failure"] == "diverged: the loss is no longer a finite number in epoch 1"
    assert trials[3].tags["failure"] == "refused: layers is 0"
    assert "seeds" not in trials[3].tags
    assert trials[3].metrics == {"training_flops": 0.0}
    finals = {"value": 0.5, "valid_accuracy": 0.75, "training_flops": 600.0, "rung": 2}
    assert trials[1].metrics == {**finals, **dict.fromkeys(MEASURES, 5.005)}
    client = open_store(project, "tiny/snippets").client
    curve = client.get_metric_history(runs["tuned trial 1"].info.run_id, "val_loss")
    assert [point.step for point in curve] == list(range(1, 201))  # more than MLflow takes at once
    assert [point.value for point in curve[:2]] == [1001.0, 500.5]  # of the seeds 1000 and 1002


def test_again_nothing_changes(project: Path) -> None:
    before = {run.info.run_id: run.to_dictionary() for run in found(project).values()}
    assert again(project) == Synced(unchanged=["lstm", "gru", "tuned", RUN])
    assert {run.info.run_id: run.to_dictionary() for run in found(project).values()} == before


@pytest.mark.parametrize("lost", [["tuned trial 3"], [RUN], NAMES])
def test_what_somebody_deleted_in_the_dashboard_comes_back(project: Path, lost: list[str]) -> None:
    before = found(project)
    client = open_store(project, "tiny/snippets").client
    for name in lost:
        client.delete_run(before[name].info.run_id)
    done = again(project)
    assert (done.created, done.unchanged) == ([RUN], ["lstm", "gru", "tuned"])
    after = found(project)
    assert {name: run.data.metrics for name, run in after.items()} == {
        name: run.data.metrics for name, run in before.items()
    }
    assert after[RUN].info.run_id != before[RUN].info.run_id
    assert again(project) == Synced(unchanged=["lstm", "gru", "tuned", RUN])


def test_files_that_were_lost_are_logged_again(project: Path) -> None:
    client = open_store(project, "tiny/snippets").client
    next((project / "mlartifacts").rglob("best.svg")).unlink()
    done = again(project)
    assert (done.restored, done.created) == ([RUN], [])
    assert "best.svg" in {file.path for file in client.list_artifacts(found(project)[RUN].info.run_id)}


def test_a_record_that_was_interrupted_is_made_anew(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    client = open_store(project, "tiny/snippets").client
    for run in found(project).values():
        client.delete_run(run.info.run_id)

    def interrupt(folder: Path, result: SearchResult) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(draw, "search", interrupt)
        with pytest.raises(KeyboardInterrupt):
            again(project)
    killed = client.create_run(  # another, while it wrote its first child
        found(project)[RUN].info.experiment_id,
        tags={"search": "tuned", "dvc.stage": "search@tuned", PROCESS: "gone", "mlflow.runName": "another"},
    )
    done = again(project)
    assert (done.created, done.abandoned, done.removed) == ([RUN], ["another"], [])
    assert sorted(found(project)) == sorted(NAMES)
    assert client.get_run(killed.info.run_id).info.lifecycle_stage == "deleted"


def test_what_another_process_writes_is_left_alone(project: Path) -> None:
    client = open_store(project, "tiny/snippets").client
    tags = {"search": "tuned", "dvc.stage": "search@tuned", PROCESS: this_process(), "mlflow.runName": "another"}
    client.create_run(found(project)[RUN].info.experiment_id, tags=tags)
    assert again(project) == Synced(unchanged=["lstm", "gru", "tuned", RUN], running=["another"])
    assert found(project)["another"].info.status == "RUNNING"


def test_the_record_of_other_files_is_another_machines(project: Path) -> None:
    before = found(project)
    file = project / "runs/search@tuned/trials.csv"
    file.write_text(TRIALS.replace("0.6,", "0.59,"), encoding="utf-8")
    assert again(project) == Synced(created=[RUN], unchanged=["lstm", "gru", "tuned"])
    store = open_store(project, "tiny/snippets")
    parents = list(store.client.search_runs([store.experiment_id], "tags.kind = 'search'"))
    assert len(parents) == 2
    assert len({run.data.tags[SYNCED] for run in parents}) == 2
    assert store.client.get_run(before["tuned trial 4"].info.run_id).info.lifecycle_stage == "active"
    file.write_text(TRIALS, encoding="utf-8")
    assert again(project) == Synced(unchanged=["lstm", "gru", "tuned", RUN])


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("trials: 4", "trials: 8"),
        ("low: 2,", "low: 3,"),
        ("lstm: {embedding: random,", "lstm: {embedding: random, batch_size: 4,"),
        ("    reduction: 2", "    reduction: 2\n    sampler: random"),
    ],
)
def test_a_search_of_other_settings_is_outdated(project: Path, old: str, new: str) -> None:
    text = (PARAMS + SEARCHES).replace(old, new)
    assert text != PARAMS + SEARCHES
    (project / "params.yaml").write_text(text, encoding="utf-8")
    done = sync(project, load_study(project), lambda *_: None)
    assert RUN in done.outdated
    assert sorted(found(project, run_view_type=ViewType.ALL)) == sorted(NAMES)


def test_a_search_without_files_is_outdated(project: Path) -> None:
    shutil.rmtree(project / "runs/search@tuned")
    assert RUN in sync(project, load_study(project), lambda *_: None).outdated


def test_who_lists_runs_sees_the_winners_and_no_search(project: Path) -> None:
    params, store = load_study(project), open_store(project, "tiny/snippets")
    (record,) = find(store, "tuned")
    assert (record.parent.info.run_name, list(record.children)) == ("tuned", [0, 1])
    assert record.tag("dvc.stage") == "winner@tuned"
    shown = io.StringIO()
    Console(file=shown, width=120).print(lineage(project, params, "tuned", 120))
    assert [line.split()[1] for line in shown.getvalue().splitlines()[1:4]] == ["all", "0", "1"]
    assert shown.getvalue().endswith("winner of the search tuned\n")
    with pytest.raises(TextrnnError, match=r"MLflow has no model of lstm, seed 0. Run `textrnn sync`, then this"):
        registry.register(project, params)


def test_a_trial_takes_few_requests(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """64 of them are logged in seconds, and over a network too."""
    folder = project / "runs/search@tuned"
    shutil.rmtree(folder)
    header, _, row, *_ = TRIALS.splitlines()
    rows = [f"{number},{row.partition(',')[2]}" for number in range(64)]
    make_search(folder, load_params(project / "params.yaml"), "\n".join([header, *rows]), epochs=5)
    asked: list[str] = []
    for method in ("create_run", "log_batch", "set_tag", "get_run", "search_runs", "set_terminated"):
        monkeypatch.setattr(MlflowClient, method, counted(getattr(MlflowClient, method), asked))
    assert RUN in again(project).created
    assert 65 * 3 < len(asked) < 65 * 4 + 20


def counted(method: Callable[..., Any], asked: list[str]) -> Callable[..., Any]:
    def call(*arguments: Any, **options: Any) -> Any:
        asked.append(method.__name__)
        return method(*arguments, **options)

    return call
