"""The order of stages that run side by side: a run that is made of others comes after them."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from tiny_project import PARAMS

from textrnn.config.params import Params, load_params
from textrnn.config.sections import ExplanationParams
from textrnn.orchestration.schedule import in_order, relative_cost, run_of

SEARCH = {"start": "gru", "space": {"units": {"low": 2, "high": 4}}, "trials": 2, "batch": 2, "rungs": 1}


@pytest.fixture
def params(tmp_path: Path) -> Params:
    study = yaml.safe_load(PARAMS)
    study |= {
        "ensembles": {"vote": {"of": ["gru", "nb-svm"]}, "all": {"of": ["vote", "small", "tuned"]}},
        "students": {"small": {"embedding": "glove", "teacher": "vote", "epochs": 3}},
        "searches": {"tuned": SEARCH},
        "probes": ["lstm", "small"],
    }
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(study), encoding="utf-8")
    return load_params(tmp_path / "params.yaml")


def test_what_reads_a_run_follows_it(params: Params) -> None:
    everything = ["member@vote+gru", "member@vote+nb-svm", "member@all+vote", "member@all+small", "member@all+tuned"]
    ensembles = ["ensemble@vote", "ensemble@all"]
    student = ["student@small", "probe@small", "teach@vote"]
    assert in_order(["train@gru"], params) == ["train@gru", *everything, *ensembles, *student]
    assert in_order(["baseline@nb-svm"], params) == ["baseline@nb-svm", *everything, *ensembles, *student]
    assert in_order(["student@small"], params) == [*everything[2:], "ensemble@all", "student@small", "probe@small"]
    assert in_order(["search@tuned"], params) == [
        "search@tuned",
        "winner@tuned",
        *everything[2:],
        "ensemble@all",
    ]
    assert in_order(["probe@lstm", "train@lstm"], params) == ["train@lstm", "probe@lstm"]
    assert in_order([], params) == []


@pytest.mark.parametrize(
    ("teacher", "stage"), [("gru", "train@gru"), ("nb-svm", "baseline@nb-svm"), ("tuned", "search@tuned")]
)
def test_a_teacher_of_any_kind_teaches_again_before_its_students(params: Params, teacher: str, stage: str) -> None:
    params.ensembles.clear()
    params.experiments["small"] = params.experiments["small"].model_copy(update={"teacher": teacher})
    due = in_order([stage], params)
    assert {f"teach@{teacher}", "student@small", "probe@small"} < {*due}
    assert in_order([f"teach@{teacher}"], params) == ["student@small", "probe@small", f"teach@{teacher}"]
    assert params.level("small") > params.level(teacher)


def test_an_explanation_follows_its_run_of_any_kind(params: Params) -> None:
    params.explanations.update(dict.fromkeys(("lstm", "nb-svm", "tuned", "vote"), ExplanationParams()))
    assert in_order(["train@lstm"], params) == ["train@lstm", "probe@lstm", "explain@lstm"]
    assert "explain@tuned" in in_order(["search@tuned"], params)
    order = in_order(["baseline@nb-svm"], params)
    assert {"explain@nb-svm", "explain@vote"} < {*order}
    assert order.index("explain@vote") > order.index("ensemble@vote")
    assert "explain@lstm" not in order


def test_the_stages_of_a_run_are_its_own(params: Params) -> None:
    assert [run_of(stage) for stage in ("member@all+vote", "ensemble@all", "teach@vote", "search@tuned")] == [
        "all",
        "all",
        "vote",
        "tuned",
    ]


def test_a_training_costs_more_with_each_seed_epoch_and_unit(params: Params) -> None:
    costs = {"student@small": 2 * 3 * 3, "teach@vote": 2 * 3 / 3, "member@vote+gru": 0, "baseline@nb-svm": 0}
    assert {stage: relative_cost(stage, params) for stage in costs} == costs
