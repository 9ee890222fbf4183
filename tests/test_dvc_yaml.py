"""dvc.yaml against the code: each stage depends on exactly the modules that it imports."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
import yaml

PROJECT = Path(__file__).parents[1]
STAGES = yaml.safe_load((PROJECT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]


def imported_modules(source: str) -> set[str]:
    """Names of the `textrnn` modules that `source` imports, wherever in it, type checking aside."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            node.body = [ast.Pass()]
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.update({node.module, *(f"{node.module}.{alias.name}" for alias in node.names)})
    return {name for name in names if name.startswith("textrnn.")}


def import_closure(script: Path) -> set[str]:
    """Paths, relative to the project, of `script` and all project files that it imports."""
    found, waiting = set(), [script]
    while waiting:
        file = waiting.pop()
        if file in found:
            continue
        found.add(file)
        for name in imported_modules(file.read_text(encoding="utf-8")):
            module = PROJECT / "src" / Path(*name.split(".")).with_suffix(".py")
            if module.is_file():
                waiting.append(module)
    return {file.relative_to(PROJECT).as_posix() for file in found}


def declared(stage: dict) -> dict:
    return stage.get("do", stage)


def listed_code(stage: dict) -> list[str]:
    return [dep for dep in declared(stage)["deps"] if dep.endswith(".py")]


def test_closure_follows_imports_of_imports():
    assert imported_modules("from textrnn.a import b\nimport textrnn.c\nimport os\nfrom os import path\n") == {
        "textrnn.a",
        "textrnn.a.b",
        "textrnn.c",
    }
    assert imported_modules("if TYPE_CHECKING:\n    from textrnn.a import b\n") == set()
    assert "src/textrnn/yaml_file.py" in import_closure(PROJECT / "stages" / "download_corpus.py")


@pytest.mark.parametrize("name", STAGES)
def test_stage_depends_on_exactly_its_import_closure(name):
    expected = sorted(import_closure(PROJECT / "stages" / f"{name}.py"))
    assert sorted(listed_code(STAGES[name])) == expected, f"dvc.yaml: set the .py deps of {name} to these"


@pytest.mark.parametrize("name", STAGES)
def test_every_path_of_a_command_is_declared(name):
    stage = declared(STAGES[name])
    outs = [path for kind in ("outs", "metrics", "plots") for out in stage.get(kind, []) for path in paths_of(out)]
    for word in stage["cmd"].split():
        if "/" in word and not word.startswith(("timings/", "checkpoints/")):
            assert any(word == path for path in [*stage["deps"], *outs]), word


def paths_of(out):
    return [out] if isinstance(out, str) else list(out)


def test_every_entry_point_is_a_stage():
    scripts = {path.stem for path in (PROJECT / "stages").glob("*.py")}
    assert scripts == set(STAGES)


@pytest.mark.parametrize("name", STAGES)
def test_heavy_libraries_stay_where_they_belong(name):
    """TensorFlow and Keras where networks run, MLflow where runs are logged: data stages start at once."""
    text = "".join(
        (PROJECT / file).read_text(encoding="utf-8") for file in import_closure(PROJECT / "stages" / f"{name}.py")
    )
    assert ("import keras" in text) == (name in ("train", "probe"))
    assert ("from mlflow" in text) == (name in ("train", "baseline"))
    assert "import tensorflow" not in text or name in ("train", "probe")


def test_the_committed_results_are_those_of_the_default_study():
    """A change of params.yaml without `make repro` would leave them behind."""
    params = yaml.safe_load((PROJECT / "params.yaml").read_text(encoding="utf-8"))
    reported = {path.stem for path in (PROJECT / "reports" / params["study"] / "metrics").glob("*.json")}
    assert reported == {*params["experiments"], *params["baselines"]}
    locked = yaml.safe_load((PROJECT / "dvc.lock").read_text(encoding="utf-8"))["stages"]["compare"]["params"]
    assert {key: params[key] for key in locked["params.yaml"]} == locked["params.yaml"]
