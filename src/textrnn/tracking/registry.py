"""The model registry: one registered model per corpus, whose versions carry their evidence.

A version is a seed's model of one experiment. `challenger` is the alias of the newest candidate,
`champion` that of the model in use; `promote` moves the second to where the first is, if the
evidence allows it.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NoReturn

import mlflow
import numpy as np
import polars as pl
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from textrnn.analysis.examples import groups as groups_of
from textrnn.analysis.significance import PairedTest, accuracy_interval
from textrnn.config.params import Params, Promotion
from textrnn.errors import TextrnnError
from textrnn.project.dvc_lock import hashes
from textrnn.run_folder import RunFolder
from textrnn.tracking.artifacts import models_of
from textrnn.tracking.store import open_store
from textrnn.tracking.sync import PARENT, Recorded, current_run, find, registered_name, scores, versions

CHALLENGER, CHAMPION = "challenger", "champion"
CORPUS = Path("data/corpus")
CHEAPER = (("parameters", "smaller, in parameters"), ("prediction_flops", "faster, in operations per text"))
"""What makes a model that is no better worth having: tags that should fall, and what to call it when they do."""

NEEDED = ("experiment", "seed", "corpus.dvc", "test_accuracy", *(tag for tag, _ in CHEAPER))
"""The tags without which two versions cannot be compared."""

ANEW = "Run `dvc repro`, `textrnn sync` and `textrnn register` again."


@dataclass(frozen=True)
class Registered:
    """What `register` did: the version, and whether it is a new one."""

    version: ModelVersion
    is_new: bool


def register(project: Path, params: Params) -> Registered:
    """Registers the best experiment's best seed, both by validation accuracy, as `challenger`.

    A model that is registered already keeps its version, and only gets the alias.

    Raises:
        TextrnnError: no experiment finished, or its runs are not in MLflow yet.
    """
    run = _best_run(project, params)
    seed = max(run.finished_seeds, key=lambda seed: (scores(run, seed)["valid_accuracy"], -seed))
    store = open_store(project, f"{params.study}/{params.corpus}")
    record = next((each for each in find(store, run.name) if _has_model_of(store.client, each, run, seed)), None)
    if record is None:
        raise TextrnnError(f"MLflow has no model of {run.name}, seed {seed}. Run `textrnn sync`, then this again.")
    child, model_id = record.children[seed], models_of(store.client, record.children[seed])[0].model_id
    name = registered_name(params.corpus)
    client = store.client
    try:
        client.create_registered_model(name, description=f"Text classifiers for the corpus {params.corpus}.")
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    evidence = {
        **_evidence(project, params, run, seed),
        **{tag: record.parent.data.tags.get(tag, "unknown") for tag in ("mlflow.source.git.commit", "git.dirty")},
    }
    identity = {key: evidence[key] for key in ("dvc.fingerprint", "seed")}
    known = [each for each in versions(client, name) if identity.items() <= each.tags.items()]
    with _as_default(client):
        version = (
            known[0]
            if known
            else client.create_model_version(
                name,
                source=f"models:/{model_id}",
                run_id=child.info.run_id,
                model_id=model_id,
                tags=evidence,
                description=record.parent.data.tags.get("mlflow.note.content"),
            )
        )
    _keep_evidence(client, model_id, run, seed)
    client.set_registered_model_alias(name, CHALLENGER, version.version)
    return Registered(version, is_new=not known)


def _keep_evidence(client: MlflowClient, model_id: str, run: RunFolder, seed: int) -> None:
    """Adds its test predictions to a model that was logged before models had them."""
    from textrnn.tracking.serving import EVIDENCE, write_evidence

    folder = str(Path(EVIDENCE).parent)
    if not client.list_logged_model_artifacts(model_id, folder):
        with tempfile.TemporaryDirectory() as scratch:
            client.log_model_artifact(model_id, str(write_evidence(Path(scratch), run, seed)), folder)


@contextmanager
def _as_default(client: MlflowClient) -> Iterator[None]:
    """Makes the client's store that of the process, which is the only one that MLflow's registry looks models up in."""
    before = os.environ.get("MLFLOW_TRACKING_URI")
    mlflow.set_tracking_uri(client.tracking_uri)
    try:
        yield
    finally:
        mlflow.set_tracking_uri(None)  # type: ignore[arg-type]
        if before is not None:
            os.environ["MLFLOW_TRACKING_URI"] = before


def _has_model_of(client: MlflowClient, record: Recorded, run: RunFolder, seed: int) -> bool:
    is_same = record.parent.data.tags["dvc.fingerprint"] == run.fingerprint
    return is_same and seed in record.children and bool(models_of(client, record.children[seed]))


def _best_run(project: Path, params: Params) -> RunFolder:
    runs = [current_run(project, params, name) for name in params.experiments]
    finished = [run for run in runs if run is not None and run.failure is None]
    if not finished:
        raise TextrnnError("no experiment of the study finished all its seeds with its present params: `make repro`.")
    return max(finished, key=lambda run: float(np.mean([scores(run, seed)["valid_accuracy"] for seed in run.seeds])))


def _evidence(project: Path, params: Params, run: RunFolder, seed: int) -> dict[str, str]:
    """A version's tags: numbers, interval, fingerprint, and the corpus it was made of."""
    intervals = {}
    for split in ("valid", "test"):
        _, labels, probabilities = run.probabilities(seed, split)
        low, high = accuracy_interval(int((probabilities.argmax(axis=1) == labels).sum()), len(labels))
        intervals[f"{split}_accuracy_interval"] = f"{low:.4f} to {high:.4f}"
    return {
        **{key: f"{value:.6f}" for key, value in scores(run, seed).items()},
        **intervals,
        "experiment": run.name,
        "seed": str(seed),
        "parameters": str(run.parameters["total"]),
        **{f"{what}_flops": f"{count:.6g}" for what, count in run.flops.items()},
        "dvc.fingerprint": run.fingerprint,
        "corpus": params.corpus,
        "corpus.dvc": hashes(project / "dvc.lock", [CORPUS]).get(str(CORPUS), "unknown"),
    }


@dataclass(frozen=True)
class Decision:
    """What the gate found, and why, in words and numbers.

    `outcome` is `promoted`, `kept` (the champion stays) or `unchanged` (the challenger is the champion already).
    """

    outcome: Literal["promoted", "kept", "unchanged"]
    reason: str


def promote(project: Path, params: Params, dry_run: bool = False) -> Decision:
    """Lets the challenger become champion if it is better beyond chance, or no worse and cheaper.

    Compared is what both trainings predicted for the challenger's test split, which `data/corpus` has to hold; texts of
    one group count as drawn together. A champion of another version of the corpus scores that split anew.

    Raises:
        TextrnnError: there is no challenger, or the two cannot be compared.
    """
    client = open_store(project, f"{params.study}/{params.corpus}").client
    name = registered_name(params.corpus)
    challenger, champion = _by_alias(client, name, CHALLENGER), _by_alias(client, name, CHAMPION)
    if challenger is None:
        raise TextrnnError(f"the registry has no {name}@{CHALLENGER}. Run `textrnn register` first.")
    decision = _decide(project, client, challenger, champion, params.promotion)
    if decision.outcome == "promoted" and not dry_run:
        client.set_registered_model_alias(name, CHAMPION, challenger.version)
        client.set_model_version_tag(name, challenger.version, "promotion", decision.reason)
    return decision


def _by_alias(client: MlflowClient, name: str, alias: str) -> ModelVersion | None:
    try:
        return client.get_model_version_by_alias(name, alias)
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return None
        raise


def _decide(
    project: Path, client: MlflowClient, challenger: ModelVersion, champion: ModelVersion | None, rule: Promotion
) -> Decision:
    for version in filter(None, (challenger, champion)):
        lacking = [tag for tag in NEEDED if tag not in version.tags]
        if lacking:
            raise TextrnnError(
                f"version {version.version} of {version.name} has no tag {', '.join(lacking)}: it was not registered "
                "with `textrnn register`, and cannot be compared."
            )
    new = f"{challenger.tags['experiment']} (version {challenger.version})"
    if champion is None:
        return Decision("promoted", f"{new} becomes the first champion: there was none.")
    old = f"{champion.tags['experiment']} (version {champion.version})"
    if champion.version == challenger.version:
        return Decision("unchanged", f"{new} is the champion already.")
    split = _test_split(project, challenger)
    is_same = champion.tags["corpus.dvc"] == challenger.tags["corpus.dvc"]
    right, was_recorded = _right(client, challenger, split)
    _check(new, challenger, right, ANEW)
    old_right, old_was_recorded = _right(client, champion, split, is_its_own=is_same)
    if is_same:
        _check(
            old, champion, old_right, f"Check out the code it was registered with, or take its alias {CHAMPION} off."
        )
    note = ""
    if not is_same:
        note = (
            f" {old} was trained on another version of the corpus, so it scored the test split of {new} anew, with the "
            "present code; if that split holds texts that it was trained on, this flatters it."
        )
    scored = [] if was_recorded else [new]
    scored += [old] if is_same and not old_was_recorded else []
    if scored:
        note += f" What {' and '.join(scored)} predicted at registration is lost: the present code scored anew."
    ids = split["id"].to_list()
    test = PairedTest(right, old_right, groups_of(project / CORPUS, "test", ids))
    low, high = test.interval(1 - 2 * rule.level)
    groups = len(set(test.groups))
    drawn = f" of {groups:,} groups" if groups < len(ids) else ""
    numbers = (
        f"On {len(ids):,} test examples{drawn} {new} has {right.mean():.1%} right and {old} {old_right.mean():.1%}, "
        f"a difference of {100 * (right.mean() - old_right.mean()):+.2f} points ({1 - 2 * rule.level:.0%} interval "
        f"{100 * low:+.2f} to {100 * high:+.2f}); {new} alone is right about {(right & ~old_right).sum():,} of them, "
        f"{old} alone about {(old_right & ~right).sum():,}, p = {test.p_value:.3g}."
    )
    if test.p_value <= rule.level:
        return Decision("promoted", f"{numbers} That is better beyond chance at level {rule.level:g}.{note}")
    cheaper = [
        f"{what} ({float(challenger.tags[key]):,.0f} instead of {float(champion.tags[key]):,.0f})"
        for key, what in CHEAPER
        if float(challenger.tags[key]) < float(champion.tags[key])
    ]
    if low > -rule.margin and cheaper:
        why = f"It is {' and '.join(cheaper)}, and not worse by as much as the margin of {100 * rule.margin:g} points."
        return Decision("promoted", f"{numbers} {why}{note}")
    why = f"That is not better beyond chance at level {rule.level:g}"
    if cheaper:
        why += f"; it is {' and '.join(cheaper)}, but may be worse by {100 * rule.margin:g} points or more"
    why += f". {old} stays champion."
    return Decision("kept", f"{numbers} {why}{note}")


def _test_split(project: Path, challenger: ModelVersion) -> pl.DataFrame:
    """Reads the test split that the challenger was tested on."""
    file = project / CORPUS / "test.parquet"
    present = hashes(project / "dvc.lock", [CORPUS]).get(str(CORPUS), "unknown")
    if not file.is_file() or present != challenger.tags["corpus.dvc"]:
        raise TextrnnError(f"data/corpus does not hold the test split that the challenger was tested on. {ANEW}")
    return pl.read_parquet(file, glob=False)


def _check(name: str, version: ModelVersion, right: np.ndarray, way_out: str) -> None:
    """Raises a `TextrnnError` where a version is not as good as it was when it was registered."""
    recorded = float(version.tags["test_accuracy"])
    if abs(right.mean() - recorded) > 1 / len(right) + 1e-6:  # a tie may fall the other way on another processor
        raise TextrnnError(
            f"{name} has {right.mean():.1%} of data/corpus' test split right, and had {recorded:.1%} when it was "
            f"registered: that is another split, model or code. {way_out}"
        )


def _right(
    client: MlflowClient, version: ModelVersion, split: pl.DataFrame, is_its_own: bool = True
) -> tuple[np.ndarray, bool]:
    """Whether a version is right about the texts of `split`, bool [examples], and whether that was on record.

    What its training predicted lies with the model: no later code changes it, and it stays when the run is deleted.

    Args:
        is_its_own: whether it was tested on this split; else nothing on record counts.
    """
    from textrnn.modeling.predictor import Predictor

    with tempfile.TemporaryDirectory() as scratch:
        model = download(client, version, Path(scratch))
        known = _recorded(client, version, model.parents[1], split) if is_its_own else None
        if known is not None:
            return (known["probability"].list.arg_max() == known["label"]).to_numpy(), True
        predictor = Predictor(model)
    likeliest = predictor.probabilities(split["text"]).argmax(axis=1)
    right: np.ndarray = np.array(predictor.classes)[likeliest] == split["label"].to_numpy()
    return right, False


def _recorded(client: MlflowClient, version: ModelVersion, package: Path, split: pl.DataFrame) -> pl.DataFrame | None:
    """Returns what a version's training predicted, `id, label, probability` in the order of `split`.

    It lies in the `package`; of older versions, with the run. None where it is lost or of other texts.
    """
    from textrnn.tracking.serving import EVIDENCE

    rows = None
    if (package / EVIDENCE).is_file():
        rows = pl.read_parquet(package / EVIDENCE, glob=False)
    elif version.run_id:
        try:
            parent = client.get_run(version.run_id).data.tags[PARENT]
            file = client.download_artifacts(parent, "predictions.parquet", str(package))
        except (MlflowException, OSError, KeyError):
            return None
        ours = (pl.col("seed") == int(version.tags["seed"])) & (pl.col("split") == "test")
        rows = pl.read_parquet(file, glob=False).filter(ours).select("id", "label", "probability")
    if rows is None or sorted(rows["id"]) != sorted(split["id"]):
        return None
    return split.select("id").join(rows, on="id", how="left", maintain_order="left")


def champion_model(project: Path, params: Params, folder: Path) -> Path:
    """Fetches the champion's saved model into `folder`; returns where it lies. Raises `TextrnnError` without one."""
    client, champion = _champion(project, params)
    return download(client, champion, folder)


def serve(project: Path, params: Params, port: int) -> NoReturn:
    """Becomes MLflow's scoring server, with the champion behind `http://127.0.0.1:PORT/invocations`.

    Raises:
        TextrnnError: there is no champion.
    """
    client, champion = _champion(project, params)
    mlflow_cli = str(Path(sys.executable).with_name("mlflow"))
    uri = f"models:/{champion.name}@{CHAMPION}"
    if "%" in client.get_model_version_download_uri(champion.name, champion.version):
        # MLflow decodes the path of a model in place; this copy stays in the folder for temporary files.
        uri = str(download(client, champion, Path(tempfile.mkdtemp(prefix="textrnn-champion-"))).parents[1])
    model = ["--model-uri", uri, "--env-manager", "local"]
    os.environ["MLFLOW_TRACKING_URI"] = client.tracking_uri
    os.execv(mlflow_cli, [mlflow_cli, "models", "serve", *model, "--host", "127.0.0.1", "--port", str(port)])


def find_champion(project: Path, params: Params) -> tuple[MlflowClient, ModelVersion | None]:
    """Returns the registry and the version in use of the study's corpus; None where there is none."""
    client = open_store(project, f"{params.study}/{params.corpus}").client
    return client, _by_alias(client, registered_name(params.corpus), CHAMPION)


def _champion(project: Path, params: Params) -> tuple[MlflowClient, ModelVersion]:
    client, champion = find_champion(project, params)
    if champion is None:
        name = registered_name(params.corpus)
        raise TextrnnError(f"the registry has no {name}@{CHAMPION}. Run `textrnn register`, then `textrnn promote`.")
    return client, champion


def download(client: MlflowClient, version: ModelVersion, folder: Path) -> Path:
    """Fetches a version's saved model into `folder`; returns where it is. Raises `TextrnnError` if it is gone."""
    source = client.get_model_version_download_uri(version.name, version.version)
    try:
        with _as_default(client):
            package = Path(mlflow.artifacts.download_artifacts(source, dst_path=str(folder)))
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        package = folder
    model = package / "artifacts" / "model"
    if not model.is_dir():
        raise TextrnnError(
            f"the files of {version.name}, version {version.version}, are gone from {source}. `textrnn sync` brings "
            "them back if runs/ still holds that training; else register and promote another model."
        )
    return model
