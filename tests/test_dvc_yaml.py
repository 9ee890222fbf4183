"""dvc.yaml against the code."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import yaml

from textrnn.config.params import load_params
from textrnn.config.plan import SCRIPTS
from textrnn.project.source_code import import_closure

PROJECT = Path(__file__).parents[1]
NETWORKS = ("pretrain", "train", "winner", "student", "search", "probe", "explain")
STAGES = yaml.safe_load((PROJECT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]


def declared(stage: dict) -> dict:
    return stage.get("do", stage)


def code_of(stage: str) -> set[str]:
    """Paths of the modules that a stage imports, its entry point included."""
    files = import_closure(PROJECT / "stages" / f"{SCRIPTS.get(stage, stage)}.py", PROJECT / "src")
    return {file.relative_to(PROJECT).as_posix() for file in files}


def test_plan_depends_on_all_settings_and_all_code():
    assert STAGES["plan"]["deps"] == ["params.yaml", "catalog.yaml", "members.yaml", "stages", "src"]


@pytest.mark.parametrize("name", [name for name in STAGES if name != "plan"])
def test_stage_depends_on_its_own_plan_and_on_no_params_or_code(name):
    stage = declared(STAGES[name])
    instance = "" if "do" not in STAGES[name] else "@${item}" if name in ("probe", "teach") else "@${key}"
    assert stage["deps"][0] == f"plan/{name}{instance}.json"
    assert stage["cmd"].split()[1:4] == ["python", f"stages/{SCRIPTS.get(name, name)}.py", stage["deps"][0]]
    assert "params" not in stage
    assert not [dep for dep in stage["deps"] if dep.endswith(".py")]


def test_the_report_is_rehearsed_before_anything_trains():
    """Trainings depend on embeddings."""
    for name in ("baseline", "build_embeddings"):
        assert "data/rehearsal" in declared(STAGES[name])["deps"]


@pytest.mark.parametrize("name", STAGES)
def test_every_path_of_a_command_is_declared(name):
    stage = declared(STAGES[name])
    outs = [path for kind in ("outs", "metrics", "plots") for out in stage.get(kind, []) for path in paths_of(out)]
    for word in stage["cmd"].split():
        if "/" in word and not word.startswith(("stages/", "timings/", "checkpoints/")):
            assert any(word == path for path in [*stage["deps"], *outs]), word


def paths_of(out):
    return [out] if isinstance(out, str) else list(out)


def test_every_entry_point_is_a_stage():
    scripts = {path.stem for path in (PROJECT / "stages").glob("*.py")}
    assert scripts == {SCRIPTS.get(stage, stage) for stage in STAGES}


@pytest.mark.parametrize("name", STAGES)
def test_heavy_libraries_stay_where_they_belong(name):
    """TensorFlow and Keras where networks run, MLflow where runs are logged: data stages start at once."""
    text = "".join((PROJECT / file).read_text(encoding="utf-8") for file in code_of(name))
    assert ("import keras" in text) == (name in NETWORKS)
    assert ("from mlflow" in text) == (name in ("pretrain", "train", "winner", "student", "ensemble", "baseline"))
    assert "import tensorflow" not in text or name in NETWORKS


def test_the_committed_results_are_those_of_the_default_study():
    """A change of params.yaml without `make repro` would leave them behind."""
    params = load_params(PROJECT / "params.yaml")
    reported = {path.stem for path in (PROJECT / "reports" / params.study / "metrics").glob("*.json")}
    assert reported == {*params.runs}
    locked = yaml.safe_load((PROJECT / "dvc.lock").read_text(encoding="utf-8"))["stages"]["plan"]["deps"]
    hashes = {dep["path"]: dep["md5"] for dep in locked}
    for name in ("params.yaml", "catalog.yaml"):
        assert hashes[name] == hashlib.md5((PROJECT / name).read_bytes()).hexdigest(), f"run `dvc repro` after {name}"
