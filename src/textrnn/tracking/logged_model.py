"""A trained model in MLflow's format: it takes raw text, and needs nothing except what it carries.

An MLflow model is a folder: the code that predicts, one saved model (weights without pickle, vocabulary, settings),
pinned requirements, a signature, an example, and the training's predictions for the test split. The models of a corpus
differ in the saved model and these predictions alone, so the folder is made once and filled for each.
"""

from __future__ import annotations

import json
import shutil
from importlib.metadata import version
from pathlib import Path
from zipfile import ZipFile, ZipInfo

import mlflow
import pandas as pd
import polars as pl
import yaml
from mlflow.entities import Dataset, DatasetInput, InputTag, LoggedModel, LoggedModelOutput, LoggedModelStatus, Metric
from mlflow.entities import Run as MlflowRun
from mlflow.models import Model, ModelSignature
from mlflow.types import ColSpec, Schema, TensorSpec

from textrnn.modeling.predictor import output_columns
from textrnn.project.source_code import import_closure
from textrnn.run_folder import RunFolder
from textrnn.tracking.evidence import CORPUS, SPLITS, measures, model_page
from textrnn.tracking.source import models_of
from textrnn.tracking.store import DIGEST_LENGTH, Store
from textrnn.tracking.upload import upload

EXAMPLES = ("a moving story, and wonderful actors", "i could not wait for it to end")
REQUIREMENTS = ("mlflow", "numpy", "pandas", "polars", "pydantic", "threadpoolctl")
"""What `model_code.py` and all that it imports need."""

PACKAGE = Path(__file__).parents[1]

CODE = "textrnn.zip"
"""In a logged model, the code that predicts. MLflow adds it to Python's path, which takes an archive, too; as a folder,
each file would be a request to the server."""

EVIDENCE = "evidence/test.parquet"
"""In a logged model, the predictions of its training for the test split: `id, label, probability`."""


def log_models(store: Store, run: RunFolder, children: dict[int, MlflowRun], corpus: str, scratch: Path) -> None:
    """Logs each finished seed's model to its run; one that was logged before gets its files again.

    A new one gets `evidence.measures` as its metrics, each with the split of the corpus that it was measured on.

    Args:
        children: each seed's run.
        corpus: the version of the corpus, DVC's hash.
        scratch: a folder that keeps from call to call what all models share.
    """
    package = scratch / "package"
    for seed in run.finished_seeds:
        saved, inside = run.path / "model" / str(seed), package / "artifacts" / "model"
        if not package.exists():
            make_package(package, saved, run.classes)
        shutil.rmtree(inside)
        shutil.copytree(saved, inside)
        (package / EVIDENCE).parent.mkdir(exist_ok=True)
        rows = run.predictions.filter((pl.col("seed") == seed) & (pl.col("split") == "test"))
        rows.select("id", "label", "probability").write_parquet(package / EVIDENCE)
        _log_model(store, package, run, seed, children[seed], corpus)


def make_package(package: Path, saved: Path, classes: list[str]) -> None:
    """Writes an MLflow model around `saved` into the folder `package`, and beside it what it is made of."""
    kinds = {pl.String: "string", pl.Float32: "float", pl.Int64: "long"}
    inputs: list[ColSpec | TensorSpec] = [ColSpec("string", "text")]
    outputs: list[ColSpec | TensorSpec] = [ColSpec(kinds[kind], name) for name, kind in output_columns(classes).items()]
    named = shutil.copytree(saved, package.with_name("model"))  # the name that the files get inside
    entry, code = Path(__file__).with_name("model_code.py"), package.with_name(CODE)
    modules = import_closure(entry, PACKAGE.parent)
    with ZipFile(code, "w") as archive:
        for file in sorted({*modules, PACKAGE / "__init__.py", *(module.parent / "__init__.py" for module in modules)}):
            # Without the time of the file: the same code is the same bytes from any clone.
            archive.writestr(ZipInfo(file.relative_to(PACKAGE.parent).as_posix()), file.read_bytes())
    description = Model()
    mlflow.pyfunc.save_model(
        package,
        mlflow_model=description,
        python_model=str(entry),
        artifacts={"model": named.as_uri()},
        code_paths=[str(code)],
        signature=ModelSignature(Schema(inputs), Schema(outputs)),
        input_example=pd.DataFrame({"text": EXAMPLES}),
        pip_requirements=[f"{name}=={version(name)}" for name in REQUIREMENTS],
    )
    description.flavors["python_function"]["code"] = f"code/{CODE}"
    description.save(str(package / "MLmodel"))


def _log_model(store: Store, package: Path, run: RunFolder, seed: int, child: MlflowRun, corpus: str) -> None:
    client, name, run_id = store.client, f"{run.name}-{seed}", child.info.run_id
    known = models_of(client, child)
    model = known[0] if known else _create_model(store, name, run, seed, child, corpus)
    # Not `Model.load`, which finds no file below a folder with a percent sign in its name.
    description = Model.from_dict(yaml.safe_load((package / "MLmodel").read_text(encoding="utf-8")))
    description.model_uuid = description.model_id = model.model_id
    description.run_id = run_id
    description.artifact_path = model.artifact_location
    description.save(str(package / "MLmodel"))
    upload(store, model.artifact_location, package)
    if known:
        return
    ended = child.info.end_time  # the run has its scores already: none is added to its curves
    model_id, digest, context = model.model_id, corpus[:DIGEST_LENGTH], [InputTag("mlflow.data.context", "evaluation")]
    splits = {split: f"{CORPUS}/{split}.parquet" for split in SPLITS}
    metrics = [
        Metric(key, value, ended, 0, model_id, splits[split], digest, run_id)
        for split in splits
        for key, value in measures(run, seed, split).items()
    ]
    datasets = [
        DatasetInput(Dataset(path, digest, "dvc", json.dumps({"path": path})), context) for path in splits.values()
    ]
    client.log_inputs(run_id, datasets)
    client.log_batch(run_id, metrics=metrics)
    client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step=0)])
    client.finalize_logged_model(model.model_id, LoggedModelStatus.READY)  # last: what a kill left is found by it


def _create_model(store: Store, name: str, run: RunFolder, seed: int, child: MlflowRun, corpus: str) -> LoggedModel:
    """Returns a new logged model, whose page says what it is and how good."""
    return store.client.create_logged_model(
        store.experiment_id,
        name=name,
        source_run_id=child.info.run_id,
        params={key: str(value) for key, value in {**run.params, "seed": seed}.items()},
        tags={"mlflow.note.content": model_page(run, seed, "", child.data.tags["corpus"], corpus)},
    )
