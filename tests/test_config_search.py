"""`searches` of params.yaml: which spaces and rungs are accepted, and what the messages say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from tiny_project import PARAMS

from textrnn.config.experiment import Experiment
from textrnn.config.params import load_params
from textrnn.config.search import NEVER, Search, breaks_rule, is_whole, off_value
from textrnn.errors import TextrnnError
from textrnn.search.proposals import Proposals

TUNED = {"start": "lstm", "space": {"units": {"low": 2, "high": 8}}, "trials": 4, "batch": 2, "rungs": 2}


def study(tmp_path: Path, search: dict[str, Any], name: str = "tuned") -> Path:
    file = tmp_path / "params.yaml"
    file.write_text(yaml.safe_dump({**yaml.safe_load(PARAMS), "searches": {name: search}}), encoding="utf-8")
    return file


def test_a_search_has_defaults_and_names_no_stage_twice(tmp_path: Path) -> None:
    params = load_params(study(tmp_path, {"start": "lstm", "space": TUNED["space"], "rungs": 2}))
    search = params.searches["tuned"]
    assert (search.trials, search.batch, search.reduction, search.seeds, search.sampler) == (64, 16, 3, [1], "tpe")
    assert params.stage("tuned") == "winner@tuned"
    assert params.stage("lstm") == "train@lstm"
    assert params.stage("nb-svm") == "baseline@nb-svm"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"start": "lstn"}, "searches.tuned.start: no experiment 'lstn'. Known: gru, lstm, mean"),
        (
            {"space": {"unitz": {"low": 1, "high": 2}}},
            "space.unitz: an experiment has no such setting. Did you mean 'units'?",
        ),
        ({"space": {}}, "searches.tuned.space: Dictionary should have at least 1 item"),
        ({"space": {"units": {"low": 8, "high": 2}}}, "low 8 must be below high 2: exchange them, or widen the range"),
        ({"space": {"units": {"low": 2, "high": 2}}}, "low 2 must be below high 2"),
        ({"space": {"dropout": {"low": 0, "high": 0.5, "log": True}}}, "log needs low above 0, and low is 0"),
        ({"space": {"units": {"low": 2}}}, "a range needs low and high, and nothing else has values: give both"),
        ({"space": {"units": {"low": 2, "high": 8, "choices": [3]}}}, "do not go with choices"),
        ({"space": {"cell": {"choices": ["lstm", "lstm"]}}}, "hold a value twice"),
        ({"space": {"cell": {"choices": ["lstm", "mlp"]}}}, "space.cell: 'mlp' breaks the setting's own rule"),
        ({"space": {"dropout": {"low": 0.0, "high": 1.5}}}, "space.dropout: 1.5 breaks the setting's own rule"),
        ({"space": {"units": {"low": 2.5, "high": 8}}}, "space.units: 2.5 breaks the setting's own rule"),
        ({"space": {"units": {"low": 2, "high": 8, "optional": True}}}, "nothing switches this setting off"),
        ({"space": {"units": {"low": 4, "high": 8}}}, "lstm, which is trial 0, has 3, and the space does not hold it"),
        ({"space": {"dropout": {"low": 0.1, "high": 0.5}}}, "has 0.0, and the space does not hold it"),
        ({"space": {"embedding": {"choices": ["random", "glow"]}}}, "no embedding 'glow'. Known: glove, random"),
        (
            {"space": {"unlabelled_batch": {"choices": [0, 32]}}},
            "searches.tuned.space.unlabelled_batch: 32 unlabelled texts for each step, and prepare.unlabelled leaves",
        ),
        ({"rungs": 3}, "3 rungs with reduction 3 are too many for 2 epochs: they would end after 1, 1, 2."),
        ({"seeds": [1, 2, 3]}, "must be one number, or one for each of the 2 rungs"),
        ({"seeds": [2, 1]}, "must not fall from rung to rung"),
        ({"seed": 1}, "searches.tuned.seed: seeds [1] are the study's"),
        (
            {"space": {"teacher": {"choices": ["lstm"]}}},
            "searches.tuned.space.teacher: no search asks a teacher: delete",
        ),
        (
            {"space": {"held_out": {"low": 0.0, "high": 0.5}}},
            "space.held_out: trials with other texts to train and valid",
        ),
        ({"sampler": "grid"}, "searches.tuned.sampler: Input should be 'tpe', 'random', 'qmc' or 'cmaes'"),
        ({"trials": 5}, "trials 5 must be a multiple of batch 2: change one of them"),
        ({"trials": 0}, "searches.tuned.trials: Input should be greater than or equal to 1"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(TextrnnError) as raised:
        load_params(study(tmp_path, {**TUNED, **change}))
    assert message in str(raised.value)


@pytest.mark.parametrize(("name", "kind"), [("lstm", "an experiment"), ("nb-svm", "a baseline")])
def test_a_winner_needs_a_name_of_its_own(tmp_path: Path, name: str, kind: str) -> None:
    with pytest.raises(TextrnnError, match=f"'{name}' names {kind} and a search, and both would write runs/{name}"):
        load_params(study(tmp_path, TUNED, name))


def test_a_search_does_not_start_from_a_student(tmp_path: Path) -> None:
    file = study(tmp_path, {**TUNED, "start": "small"})
    content = yaml.safe_load(file.read_text(encoding="utf-8"))
    content["students"] = {"small": {**content["experiments"]["lstm"], "teacher": "lstm"}}
    file.write_text(yaml.safe_dump(content), encoding="utf-8")
    with pytest.raises(TextrnnError, match=r"searches.tuned.start: small has a teacher, which no search asks: start"):
        load_params(file)


def test_winners_can_be_compared_with_other_runs(tmp_path: Path) -> None:
    file = study(tmp_path, TUNED)
    content = yaml.safe_load(file.read_text(encoding="utf-8"))
    content["comparisons"]["pairs"] = [["lstm", "tuned"]]
    file.write_text(yaml.safe_dump(content), encoding="utf-8")
    assert load_params(file).comparisons.pairs == [["lstm", "tuned"]]


def test_every_setting_can_be_searched() -> None:
    """Each is a number, whole or not, or has choices; most can be switched off."""
    whole = {
        "batch_size",
        "early_stopping",
        "epochs",
        "gradual_unfreezing",
        "layers",
        "max_tokens",
        "train_examples",
        "units",
        "unlabelled_batch",
    }
    assert {key for key in Experiment.model_fields if is_whole(key)} == whole
    assert off_value("gradient_clip") is None
    assert off_value("dropout") == 0.0
    assert off_value("rare_word_dropout") == 0
    assert off_value("schedule") is off_value("class_weights") is off_value("layer_rate_decay") is None
    with pytest.raises(LookupError):
        off_value("units")


@pytest.mark.parametrize("key", sorted(Experiment.model_fields.keys() - NEVER.keys() - {"embedding"}))
def test_each_setting_goes_through_a_search(key: str) -> None:
    """With the value that the start has, and another one that its rule allows."""
    start = Experiment(embedding="any", layers=2, epochs=9, unlabelled_batch=1)
    present = getattr(start, key)
    values = (True, False, 1, 2, 3, 0.1, 0.2, "start", "left", "gru", "max", "balanced", "linear", "rmsprop")
    other = next(each for each in values if each != present and breaks_rule(key, each) is None)
    search = Search(start="lstm", space={key: {"choices": [present, other]}}, trials=4, batch=4, rungs=1)
    search.check("searches.tuned", start)
    trials = Proposals(search, start).batch(0)
    assert {str(trial.knobs[key]) for trial in trials} <= {str(present), str(other)}
    assert all(getattr(trial.experiment, key) == trial.knobs[key] for trial in trials if trial.experiment)


def test_rungs_by_hand() -> None:
    """9 trials, a third goes on; with 9 epochs the rungs end after 1, 3 and 9."""
    search = Search(start="lstm", space={"units": {"low": 1, "high": 9}}, trials=18, batch=9, seeds=[1, 1, 2])
    experiment = Experiment(embedding="any", epochs=9)
    assert search.epochs(experiment) == [1, 3, 9]
    assert search.survivors == [3, 1, 0]
    assert search.seeds_in(0) == [1000]
    assert search.seeds_in(2) == [1000, 1001]
    # Of each batch: 9 x 1, 3 x (3 - 1), 1 x (9 - 3) with the first seed and 9 with the second.
    assert search.planned_epochs(experiment) == 2 * (9 + 6 + 6 + 9)
