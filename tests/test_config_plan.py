"""What a change of params.yaml, catalog.yaml or code does to the plan, and what a stage says that an old one has."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from tiny_experiments import CATALOG, PLAIN, STUDY, write_study

from textrnn.config.catalog import load_catalog
from textrnn.config.params import load_params
from textrnn.config.plan import PROJECT, make_plan, planned_study
from textrnn.errors import TextrnnError

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
    params = yaml.safe_load(Path("params.yaml").read_text())
    Path("params.yaml").write_text(yaml.safe_dump({**params, **changes}))
    after = now()
    return {stage for stage in before.keys() | after.keys() if before.get(stage) != after.get(stage)}


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
        "train@gru",
        "train@lstm",
    ]


def test_a_training_is_planned_with_complete_settings_and_the_code_that_it_imports() -> None:
    content = json.loads(now()["train@lstm"])
    assert content["settings"] == {"experiment": {**PLAIN, "epochs": 7}, "seeds": [0, 1, 2]}
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
        ({"encode": {"vocabulary_size": 8, "min_count": 1}}, {"encode_corpus"}),
        ({"prepare": {**STUDY["prepare"], "seed": 1}}, {"prepare_corpus"}),
        ({"embeddings": {"tiny": {"source": "random", "dimension": 4}}}, {"build_embeddings@tiny", "compare"}),
        ({"baselines": {"bar": {"kind": "majority"}}}, {"baseline@majority", "baseline@bar", "compare"}),
        ({"comparisons": {"level": 0.05, "against": ["majority"], "pairs": []}}, {"compare"}),
        ({"published": [FIGURE]}, {"compare"}),
        ({"study": "other"}, {"compare"}),
        ({"promotion": {"level": 0.01, "margin": 0.1}, "data_check": {"leakage": 0.1}}, set()),
    ],
)
def test_a_change_of_params_concerns_whom_it_concerns(changes: dict[str, Any], stages: set[str]) -> None:
    assert changed(**changes) == stages


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
    assert {stage for stage in before if before[stage] != after[stage]} == stages


def test_a_change_of_code_but_not_of_comments_or_of_how_to_plan(tmp_path: Path) -> None:
    for folder in ("src/textrnn", "stages"):
        shutil.copytree(PROJECT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    before = now(tmp_path)
    assert before == {stage: Path("plan", f"{stage}.json").read_text() for stage in before}

    module, planner = (tmp_path / "src/textrnn" / name for name in ("text/vocabulary.py", "config/plan.py"))
    module.write_text("# a remark\n" + module.read_text())
    planner.write_text(planner.read_text() + "\nNEW = 1\n")
    assert now(tmp_path) == before
    assert planned_study(Path("plan/train@lstm.json"), tmp_path).name == "lstm"
    module.write_text(module.read_text() + "\nNEW = 1\n")
    after = now(tmp_path)
    assert {stage for stage in before if before[stage] != after[stage]} == {
        "build_embeddings@tiny",
        "compare",
        "encode_corpus",
        "probe@lstm",
        "rehearse",
        "train@gru",
        "train@lstm",
    }
    with pytest.raises(TextrnnError) as error:
        planned_study(Path("plan/train@lstm.json"), tmp_path)
    assert str(error.value) == (
        "plan/train@lstm.json was written before a change of src/textrnn/text/vocabulary.py. "
        "Run `dvc repro`, which plans anew."
    )
    planned_study(Path("plan/download_corpus.json"), tmp_path)


def test_a_stage_that_was_planned_otherwise_says_in_what() -> None:
    changed(seeds=[1], train={**PLAIN, "units": 5})
    planned = planned_study(Path("plan/encode_corpus.json"))
    assert (planned.params, planned.catalog, planned.name) == (load_params(), load_catalog(), "")
    with pytest.raises(TextrnnError, match=r"was written before a change of experiment, seeds. Run `dvc repro`"):
        planned_study(Path("plan/train@lstm.json"))
    for broken in ("", "[]", '{"settings": {}}', '{"settings": 1, "code": {}}'):
        Path("plan/encode_corpus.json").write_text(broken)
        with pytest.raises(TextrnnError, match=r"plan/encode_corpus.json was written before a change of plans. Run"):
            planned_study(Path("plan/encode_corpus.json"))
    Path("plan/encode_corpus.json").unlink()
    with pytest.raises(TextrnnError, match=r"plan/encode_corpus.json: no such file in .*. Run `dvc repro`"):
        planned_study(Path("plan/encode_corpus.json"))
    with pytest.raises(TextrnnError, match=r"plan/train@mean.json: params.yaml declares no stage 'train@mean'"):
        planned_study(Path("plan/train@mean.json"))
