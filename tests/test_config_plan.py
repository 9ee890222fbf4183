"""What a change of params.yaml, catalog.yaml or code does to the plan, and what a stage reads of its plan."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from child import environment
from tiny_experiments import CATALOG, PLAIN, STUDY, make_experiment, write_study

from textrnn import run_folder
from textrnn.config import params
from textrnn.config.catalog import Source, load_catalog
from textrnn.config.experiment import OFF, Experiment
from textrnn.config.params import Params, load_params
from textrnn.config.plan import (
    PROJECT,
    CorpusDownload,
    CorpusPlan,
    EmbeddingPlan,
    ReportPlan,
    TrainingPlan,
    load_planned_stage,
    make_plan,
)
from textrnn.config.sections import BaselineParams, Encode
from textrnn.config.validation import Strict, chosen
from textrnn.errors import TextrnnError
from textrnn.run_folder import RunFolder

FIGURE = {"experiment": "lstm", "measure": "test", "accuracy": 0.9, "source": "a paper"}
BASELINES = {"majority": {"kind": "majority"}}
EXPERIMENTS: dict[str, dict[str, Any]] = {"lstm": {"epochs": 7}, "gru": {"cell": "gru"}}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_study(tmp_path, EXPERIMENTS, ["lstm"], baselines=BASELINES)
    return tmp_path


def now(project: Path = PROJECT) -> dict[str, str]:
    catalog = load_catalog()
    return make_plan(load_params(catalog=catalog), catalog, project)


def changed(**changes: Any) -> set[str]:
    """The stages whose files differ when params.yaml is another."""
    before = now()
    study = yaml.safe_load(Path("params.yaml").read_text())
    Path("params.yaml").write_text(yaml.safe_dump({**study, **changes}))
    after = now()
    return {stage for stage in before.keys() | after.keys() if before.get(stage) != after.get(stage)} - {"study"}


def test_there_is_a_file_for_every_stage() -> None:
    assert sorted(now()) == [
        "baseline@majority",
        "build_embeddings@tiny",
        "compare",
        "download_corpus",
        "download_vectors@tiny",
        "encode_corpus",
        "prepare_corpus",
        "probe@lstm",
        "rehearse",
        "study",
        "train@gru",
        "train@lstm",
    ]


def test_a_training_is_planned_with_complete_settings_and_the_code_that_it_imports() -> None:
    content = json.loads(now()["train@lstm"])
    off = {key for key, value in PLAIN.items() if not value and key != "rare_word_dropout"}  # which is on by default
    settings = {key: value for key, value in {**PLAIN, "epochs": 7}.items() if key not in off}
    assert content["settings"] == {"experiment": settings, "seeds": [0, 1, 2]}
    assert {"stages/train.py", "src/textrnn/modeling/training.py"} <= content["code"].keys()
    assert "src/textrnn/analysis/leaderboard.py" not in content["code"]


@pytest.mark.parametrize(
    ("changes", "stages"),
    [
        ({"train": {**PLAIN, "units": 5}}, {"train@lstm", "train@gru", "compare"}),
        ({"train": {**PLAIN, "epochs": 9}}, {"train@gru", "compare"}),  # the other says its own
        ({"experiments": {"lstm": {"epochs": 7, "units": 2}, "gru": {"cell": "gru"}}}, set()),  # as the default
        ({"experiments": {**EXPERIMENTS, "new": {}}}, {"train@new", "compare"}),
        ({"seeds": [0]}, {"train@lstm", "train@gru", "compare"}),
        ({"probes": ["gru"]}, {"probe@lstm", "probe@gru", "compare"}),
        ({"explanations": {"gru": {}}}, {"explain@gru", "compare"}),
        ({"encode": {"vocabulary_size": 8, "min_count": 1}}, {"encode_corpus"}),
        ({"prepare": {**STUDY["prepare"], "seed": 1}}, {"prepare_corpus"}),
        ({"embeddings": {"tiny": {"source": "random", "dimension": 4}}}, {"build_embeddings@tiny", "compare"}),
        ({"pretraining": {"lm": {"embedding": "tiny"}}}, {"pretrain@lm", "compare"}),
        ({"baselines": {"bar": {"kind": "majority"}}}, {"baseline@majority", "baseline@bar", "compare"}),
        ({"comparisons": {"level": 0.05, "against": ["majority"], "pairs": []}}, {"compare"}),
        ({"published": [FIGURE]}, {"compare"}),
        ({"study": "other"}, {"compare"}),
        ({"promotion": {"level": 0.01, "margin": 0.1}, "data_check": {"leakage": 0.1}}, set()),
    ],
)
def test_a_change_of_params_concerns_whom_it_concerns(changes: dict[str, Any], stages: set[str]) -> None:
    assert changed(**changes) == stages


def test_a_refit_of_the_start_concerns_the_winner_of_a_search_and_not_the_search() -> None:
    search = {"start": "gru", "space": {"units": {"low": 2, "high": 4}}, "rungs": 1}
    changed(searches={"tuned": search})
    refit = {"experiments": {**EXPERIMENTS, "gru": {"cell": "gru", "refit": True}}}
    assert changed(**refit) == {"train@gru", "winner@tuned", "compare"}


def test_the_winner_of_a_search_may_teach() -> None:
    search = {"start": "gru", "space": {"units": {"low": 2, "high": 4}}, "rungs": 1}
    changed(searches={"tuned": search})
    students = {"small": {"embedding": "tiny", "teacher": "tuned"}}
    assert changed(students=students) == {"teach@tuned", "student@small", "compare"}


@pytest.mark.parametrize(
    ("key", "value", "stages"),
    [
        ("citation", "Maas et al.", set()),
        ("classes", ["fresh", "rotten"], {"prepare_corpus"}),
        ("sha256", "1" * 64, {"download_corpus"}),
    ],
)
def test_a_change_of_the_catalog_too(key: str, value: object, stages: set[str]) -> None:
    before = now()
    corpus = {**CATALOG["corpora"]["reviews"], key: value}
    Path("catalog.yaml").write_text(yaml.safe_dump({**CATALOG, "corpora": {"reviews": corpus}}))
    after = now()
    assert concerned(before, after) == stages


@pytest.mark.parametrize("value", [0.0, None, False])
def test_a_new_setting_that_is_off_changes_no_plan_and_no_run(
    folder: Path, monkeypatch: pytest.MonkeyPatch, value: object
) -> None:
    before = now()

    class Newer(Experiment):
        label_noise: float | bool | None = value

    class NewerParams(Params):
        experiments: dict[str, Newer]

    old = {"name": "lstm", "kind": "experiment", "params": load_params().experiments["lstm"].model_dump()}
    monkeypatch.setattr(params, "Experiment", Newer)
    monkeypatch.setattr(params, "Params", NewerParams)
    monkeypatch.setattr(run_folder, "OFF", {**OFF, "label_noise": value})
    assert load_params().experiments["lstm"].model_dump()["label_noise"] == value
    after = now()
    assert not concerned(before, after)

    others = {"seeds": [0], "classes": [], "inputs": {}, "fingerprint": ""}
    others |= {"parameters": {"total": 1}, "flops": {"training": 1.0, "prediction": 1.0}}
    (folder / "run.json").write_text(json.dumps({**old, **others}))
    assert RunFolder.load(folder).params == load_params().experiments["lstm"].model_dump()


def test_a_default_that_changes_changes_the_plan() -> None:
    class Later(Experiment):
        units: int = 64
        dropout: float = 0.5

    plan = chosen(Experiment(embedding="tiny"))
    assert plan.keys() & {"units", "dropout"} == {"units"}
    assert chosen(Later(embedding="tiny")) == {**plan, "units": 64, "dropout": 0.5}
    assert chosen(Later(embedding="tiny", units=32, dropout=0.0)) == {**plan, "dropout": 0.0}


def test_the_models_of_settings_compute_nothing() -> None:
    """The code of `config` is in no plan."""
    for model in (Experiment, params.Prepare, params.Encode, params.EmbeddingParams, params.BaselineParams):
        own = {name for name in vars(model) if not name.startswith(("_", "model_"))}
        assert own <= model.model_fields.keys()


def test_the_smallest_study() -> None:
    file = PROJECT / "studies" / "smallest.yaml"
    assert len(file.read_text(encoding="utf-8").splitlines()) <= 10
    catalog = load_catalog(PROJECT / "catalog.yaml")
    plan = make_plan(load_params(file, catalog), catalog)
    assert {"train@lstm", "train@gru", "build_embeddings@random", "compare"} <= plan.keys()
    assert json.loads(plan["train@gru"])["settings"]["experiment"]["trainable_embedding"] is True


def concerned(before: dict[str, str], after: dict[str, str]) -> set[str]:
    """The stages whose files differ. No stage depends on that of the study."""
    return {stage for stage in before if before[stage] != after[stage]} - {"study"}


def test_a_change_of_code_but_not_of_comments_or_of_how_to_plan(tmp_path: Path) -> None:
    for folder in ("src/textrnn", "stages"):
        shutil.copytree(PROJECT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    before = now(tmp_path)
    assert before == {stage: Path("plan", f"{stage}.json").read_text() for stage in before}
    training, download = Path("plan/train@lstm.json"), Path("plan/download_corpus.json")

    def append(name: str, text: str) -> dict[str, str]:
        with (tmp_path / name).open("a", encoding="utf-8") as file:
            file.write(text)
        return now(tmp_path)

    def refused(stage: Path, name: str) -> bool:
        with pytest.raises(TextrnnError) as error:
            load_planned_stage(stage, Strict, tmp_path)
        return str(error.value) == f"{stage} was written before a change of {name}. Run `dvc repro`, which plans anew."

    vocabulary, page, planner = (
        f"src/textrnn/{name}" for name in ("text/vocabulary.py", "report/templates/page.html", "config/plan.py")
    )
    assert not concerned(before, append(vocabulary, "# a remark\n"))
    assert load_planned_stage(Path("plan/probe@lstm.json"), Strict, tmp_path).name == "lstm"
    assert concerned(before, append(page, "<!-- a template is code -->")) == {"compare", "rehearse"}
    assert refused(Path("plan/rehearse.json"), page)
    assert concerned(before, append(vocabulary, "NEW = 1\n")) == {
        *("build_embeddings@tiny", "compare", "encode_corpus", "probe@lstm", "rehearse", "train@gru", "train@lstm")
    }
    assert refused(training, vocabulary)
    load_planned_stage(download, CorpusDownload, tmp_path)
    assert "train@lstm" not in concerned(append(vocabulary, ""), append(planner, "NEW = 1\n"))
    assert refused(download, planner)  # whose way of reading a plan may no longer be that of writing it


def test_a_stage_has_the_settings_of_its_plan_and_not_those_of_an_edit_since() -> None:
    edited = yaml.safe_load(Path("params.yaml").read_text())
    Path("params.yaml").write_text(yaml.safe_dump({**edited, "study": "other", "seeds": [1]}))
    name, settings, study, _ = load_planned_stage(Path("plan/train@lstm.json"), TrainingPlan)
    assert (name, settings.experiment, settings.seeds) == ("lstm", make_experiment(epochs=7), [0, 1, 2])
    assert (study.study, study.corpus, study.train["units"]) == ("tiny", "reviews", 2)
    assert study.experiments == load_params().experiments
    report = load_planned_stage(Path("plan/compare.json"), ReportPlan).settings
    assert report.params == study.model_copy(
        update={
            key: Params.model_fields[key].default for key in ("prepare", "encode", "promotion", "data_check", "train")
        }
    )
    assert report.not_stated == []


def test_each_stage_gets_its_settings_back() -> None:
    catalog, study = load_catalog(), load_params()
    corpus = load_planned_stage(Path("plan/prepare_corpus.json"), CorpusPlan).settings
    assert corpus.prepare == study.prepare
    reads = ("member", "format", "classes", "columns", "skip_labels", "skip_empty")
    entry = catalog.corpus("reviews")
    assert [getattr(corpus.entry, key) for key in reads] == [getattr(entry, key) for key in reads]
    download = load_planned_stage(Path("plan/download_corpus.json"), CorpusDownload).settings
    assert (download.source, download.sha256, download.sources) == (entry.source, entry.sha256, None)
    embedding = load_planned_stage(Path("plan/build_embeddings@tiny.json"), EmbeddingPlan).settings
    assert (embedding.embedding, embedding.entry.format) == (study.embeddings["tiny"], "random")
    assert load_planned_stage(Path("plan/encode_corpus.json"), Encode).settings == study.encode
    assert load_planned_stage(Path("plan/baseline@majority.json"), BaselineParams).settings.kind == "majority"
    assert load_planned_stage(Path("plan/download_vectors@tiny.json"), Source).settings.source == "none"


def test_a_plan_that_is_not_one_is_an_error() -> None:
    file = Path("plan/encode_corpus.json")
    for broken in ("", "[]", '{"settings": {}}'):
        file.write_text(broken)
        with pytest.raises(TextrnnError, match=r"(?s)plan/encode_corpus.json .*Run `dvc repro`, which plans anew\.$"):
            load_planned_stage(file, Encode)
    file.unlink()
    with pytest.raises(TextrnnError, match=r"plan/encode_corpus.json: the plan in .* has no stage 'encode_corpus'"):
        load_planned_stage(file, Encode)


def test_plans_are_the_same_bytes_in_every_process() -> None:
    """Python gives strings another hash, and sets another order, in each."""
    script = (
        "from textrnn.config import catalog, params, plan\n"
        "known = catalog.load_catalog()\n"
        "print(plan.make_plan(params.load_params(catalog=known), known))"
    )
    first, second = (
        subprocess.run(
            [sys.executable, "-c", script],
            env=environment(PYTHONHASHSEED=seed),
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    )
    assert first == second
