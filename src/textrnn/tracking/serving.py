"""A trained model in MLflow's format: it takes raw text, and needs nothing except what it carries.

An MLflow model is a folder: this package's code, one saved model (weights without pickle, vocabulary, settings), pinned
requirements, a signature, an example, and the training's predictions for the test split. The models of a corpus differ
in the saved model and these predictions alone, so the folder is made once and filled for each.
"""

from __future__ import annotations

import shutil
from importlib.metadata import version
from pathlib import Path

import mlflow
import pandas as pd
import polars as pl
import yaml
from mlflow.entities import LoggedModelOutput, LoggedModelStatus, Metric
from mlflow.models import Model, ModelSignature
from mlflow.types import ColSpec, Schema, TensorSpec

from textrnn.modeling.predictor import output_columns
from textrnn.run_folder import RunFolder
from textrnn.tracking.source import models_of
from textrnn.tracking.store import Store

EXAMPLES = ("a moving story, and wonderful actors", "i could not wait for it to end")
REQUIREMENTS = ("mlflow", "numpy", "pandas", "polars", "pydantic", "threadpoolctl")
"""What `model_code.py` and all that it imports need."""

PACKAGE = Path(__file__).parents[1]

EVIDENCE = "evidence/test.parquet"
"""In a logged model, the predictions of its training for the test split: `id, label, probability`."""


def log_models(
    store: Store, run: RunFolder, children: dict[int, str], scores: dict[int, dict[str, float]], scratch: Path
) -> None:
    """Logs each finished seed's model to its run; one that was logged before gets its files again.

    Args:
        children: the id of each seed's run.
        scores: each seed's final metrics, which the model carries as well.
        scratch: a folder that keeps from call to call what all models share.
    """
    package = scratch / "package"
    for seed in run.finished_seeds:
        saved, inside = run.path / "model" / str(seed), package / "artifacts" / "model"
        if not package.exists():
            _make_package(package, saved, run.classes)
        shutil.rmtree(inside)
        shutil.copytree(saved, inside)
        (package / EVIDENCE).parent.mkdir(exist_ok=True)
        rows = run.predictions.filter((pl.col("seed") == seed) & (pl.col("split") == "test"))
        rows.select("id", "label", "probability").write_parquet(package / EVIDENCE)
        _log_model(store, package, f"{run.name}-{seed}", children[seed], scores[seed])


def _make_package(package: Path, saved: Path, classes: list[str]) -> None:
    """Writes an MLflow model around `saved`."""
    kinds = {pl.String: "string", pl.Float32: "float", pl.Int64: "long"}
    inputs: list[ColSpec | TensorSpec] = [ColSpec("string", "text")]
    outputs: list[ColSpec | TensorSpec] = [ColSpec(kinds[kind], name) for name, kind in output_columns(classes).items()]
    named = shutil.copytree(saved, package.with_name("model"))  # the name that the files get inside
    code = package.with_name("code") / PACKAGE.name
    shutil.copytree(PACKAGE, code, ignore=shutil.ignore_patterns("__pycache__"))
    mlflow.pyfunc.save_model(
        package,
        python_model=str(Path(__file__).with_name("model_code.py")),
        artifacts={"model": named.as_uri()},
        code_paths=[str(code)],
        signature=ModelSignature(Schema(inputs), Schema(outputs)),
        input_example=pd.DataFrame({"text": EXAMPLES}),
        pip_requirements=[f"{name}=={version(name)}" for name in REQUIREMENTS],
    )


def _log_model(store: Store, package: Path, name: str, run_id: str, scores: dict[str, float]) -> None:
    client = store.client
    known = models_of(client, client.get_run(run_id))
    model = known[0] if known else client.create_logged_model(store.experiment_id, name=name, source_run_id=run_id)
    # Not `Model.load`, which finds no file below a folder with a percent sign in its name.
    description = Model.from_dict(yaml.safe_load((package / "MLmodel").read_text(encoding="utf-8")))
    description.model_uuid = description.model_id = model.model_id
    description.run_id = run_id
    description.artifact_path = model.artifact_location
    description.save(str(package / "MLmodel"))
    client.log_model_artifacts(model.model_id, str(package))
    if known:
        return
    ended = client.get_run(run_id).info.end_time  # the run has these very points already: none is added to its curves
    metrics = [Metric(key, value, ended, 0, model_id=model.model_id, run_id=run_id) for key, value in scores.items()]
    client.log_batch(run_id, metrics=metrics)
    client.finalize_logged_model(model.model_id, LoggedModelStatus.READY)
    client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step=0)])
