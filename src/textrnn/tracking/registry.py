"""The model registry: one registered model per corpus, whose versions carry their evidence.

A version is one seed's model of an experiment, or an ensemble. The alias `challenger` is on the newest candidate,
`champion` on the model in use; `promote` moves `champion` to the challenger if the gate (`textrnn.analysis.gate`)
allows it.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import mlflow
import numpy as np
import polars as pl
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import MLFLOW_MODEL_VERSIONS

from textrnn.analysis.examples import groups
from textrnn.analysis.gate import COSTS, Candidate, Decision, decide
from textrnn.config.params import Params
from textrnn.errors import TextrnnError
from textrnn.run_folder import RunFolder
from textrnn.tracking.evidence import CORPUS, corpus_version, decided, page, replaced
from textrnn.tracking.evidence import tags as tags_of
from textrnn.tracking.record import PARENT
from textrnn.tracking.runs import current_run, registered_name, scores, versions
from textrnn.tracking.source import Recorded, find, models_of
from textrnn.tracking.store import open_store

CHALLENGER, CHAMPION = "challenger", "champion"

NEEDED = ("experiment", "seed", "corpus.dvc", "test_accuracy", *COSTS)
"""The tags without which two versions cannot be compared."""

AGAIN = "Run `dvc repro`, `textrnn sync` and `textrnn register` again."


@dataclass(frozen=True)
class Registered:
    """What `register` did: the version, and whether it is a new one."""

    version: ModelVersion
    is_new: bool


def register(project: Path, params: Params, name: str | None = None) -> Registered:
    """Registers the best experiment's or ensemble's best seed, both by validation accuracy, as `challenger`.

    A model that is registered already keeps its version, and only gets the alias.

    Args:
        name: registers the best seed of this run instead.

    Raises:
        TextrnnError: no such run finished, or it is not in MLflow yet.
    """
    run = _best_run(project, params, name)
    seed = max(run.finished_seeds, key=lambda seed: (scores(run, seed)["valid_accuracy"], -seed))
    store = open_store(project, f"{params.study}/{params.corpus}")
    client, model = store.client, registered_name(params.corpus)
    record = next((each for each in find(store, run.name) if _has_model_of(client, each, run, seed)), None)
    if record is None:
        raise TextrnnError(f"MLflow has no model of {run.name}, seed {seed}. Run `textrnn sync`, then this again.")
    tags = record.parent.data.tags
    evidence = {
        **tags_of(project, params.corpus, run, seed),
        **{tag: tags.get(tag, "unknown") for tag in ("mlflow.source.git.commit", "git.dirty")},
    }
    identity = {key: evidence[key] for key in ("dvc.fingerprint", "seed")}
    known = next((each for each in versions(client, model) if identity.items() <= each.tags.items()), None)
    version = known
    if version is None:
        try:
            client.create_registered_model(model, description=f"Text classifiers for the corpus {params.corpus}.")
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        logged = models_of(client, record.children[seed])[0]
        with _as_default(client):
            version = client.create_model_version(
                model,
                source=f"models:/{logged.model_id}",
                run_id=record.ids[seed],
                model_id=logged.model_id,
                tags=evidence,
                description=page(run, seed, tags.get("mlflow.note.content", ""), params.corpus, evidence["corpus.dvc"]),
            )
        # The model's page lists its versions by this tag, which only `mlflow.register_model` sets.
        before = json.loads(logged.tags.get(MLFLOW_MODEL_VERSIONS, "[]"))
        listed = json.dumps([*before, {"name": model, "version": str(version.version)}])
        client.set_logged_model_tags(logged.model_id, {MLFLOW_MODEL_VERSIONS: listed})
    client.set_registered_model_alias(model, CHALLENGER, version.version)
    return Registered(version, is_new=known is None)


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


def _best_run(project: Path, params: Params, name: str | None) -> RunFolder:
    candidates = [*params.experiments, *params.ensembles]
    if name in params.baselines:
        raise TextrnnError(
            f"{name} is a baseline, and only experiments and ensembles are registered: {', '.join(candidates)}. "
            f"`textrnn predict --run {name}` uses it; `ensembles` can make it part of a model that is registered."
        )
    if name is not None and name not in candidates:
        raise TextrnnError(f"the study has no experiment or ensemble {name!r}. Known: {', '.join(candidates)}.")
    runs = [current_run(project, params, each) for each in ([name] if name else candidates)]
    finished = [run for run in runs if run is not None and run.failure is None]
    if not finished:
        what = f"{name} did not finish" if name else "no experiment of the study finished"
        raise TextrnnError(f"{what} all its seeds with its present params: `make repro`.")
    return max(finished, key=lambda run: float(np.mean([scores(run, seed)["valid_accuracy"] for seed in run.seeds])))


def promote(project: Path, params: Params, dry_run: bool = False) -> Decision:
    """Moves the alias `champion` to the challenger if the gate allows it.

    It compares what both trainings predicted for the challenger's test split, which must be in `data/corpus`. A
    champion of another version of the corpus scores that split again.

    Raises:
        TextrnnError: there is no challenger, or the two cannot be compared.
    """
    client = open_store(project, f"{params.study}/{params.corpus}").client
    name = registered_name(params.corpus)
    challenger, champion = _by_alias(client, name, CHALLENGER), _by_alias(client, name, CHAMPION)
    if challenger is None:
        raise TextrnnError(f"the registry has no {name}@{CHALLENGER}. Run `textrnn register` first.")
    for version in filter(None, (challenger, champion)):
        lacking = [tag for tag in NEEDED if tag not in version.tags]
        if lacking:
            raise TextrnnError(
                f"version {version.version} of {version.name} has no tag {', '.join(lacking)}: it was not registered "
                "with `textrnn register`, and cannot be compared."
            )
    if champion is None:
        decision = Decision("promoted", f"{label(challenger)} becomes the first champion: there was none.")
    elif champion.version == challenger.version:
        decision = Decision("unchanged", f"{label(challenger)} is the champion already.")
    else:
        decision = _compare(project, client, challenger, champion, params)
    if decision.outcome != "unchanged" and not dry_run:
        if decision.outcome == "promoted":
            client.set_registered_model_alias(name, CHAMPION, challenger.version)
            if champion is not None:
                page_before = replaced(champion.description or "", challenger.version)
                client.update_model_version(name, champion.version, page_before)
        client.set_model_version_tag(name, challenger.version, "promotion", decision.reason)
        verdict = decided(challenger.description or "", decision, params.promotion if champion else None)
        client.update_model_version(name, challenger.version, verdict)
    return decision


def label(version: ModelVersion) -> str:
    """Returns a version's name in messages, such as `lstm (version 2)`."""
    return f"{version.tags['experiment']} (version {version.version})"


def _by_alias(client: MlflowClient, name: str, alias: str) -> ModelVersion | None:
    try:
        return client.get_model_version_by_alias(name, alias)
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return None
        raise


def _compare(
    project: Path, client: MlflowClient, challenger: ModelVersion, champion: ModelVersion, params: Params
) -> Decision:
    """Returns the gate's decision, with what is special about the predictions that it compares."""
    split = _test_split(project, challenger)
    is_same = champion.tags["corpus.dvc"] == challenger.tags["corpus.dvc"]
    new, is_new_recorded = _candidate(client, challenger, split, is_its_own=True)
    _check(challenger, new, AGAIN)
    old, is_old_recorded = _candidate(client, champion, split, is_its_own=is_same)
    if is_same:
        way_out = f"Check out the code it was registered with, or take its alias {CHAMPION} off."
        _check(champion, old, way_out)
    decision = decide(new, old, groups(project / CORPUS, "test", split["id"].to_list()), params.promotion)
    note = ""
    if not is_same:
        note = (
            f" {old.label} was trained on another version of the corpus, so it scored the test split of {new.label} "
            "again, with the present code; texts of that split that it was trained on flatter it."
        )
    scored = [] if is_new_recorded else [new.label]
    scored += [old.label] if is_same and not is_old_recorded else []
    if scored:
        note += f" The predictions of {' and '.join(scored)} at registration are lost: the present code scored again."
    return replace(decision, reason=decision.reason + note)


def _test_split(project: Path, challenger: ModelVersion) -> pl.DataFrame:
    """Reads the test split that the challenger was tested on."""
    file = project / CORPUS / "test.parquet"
    if not file.is_file() or corpus_version(project) != challenger.tags["corpus.dvc"]:
        raise TextrnnError(f"data/corpus does not hold the test split that the challenger was tested on. {AGAIN}")
    return pl.read_parquet(file, glob=False)


def _check(version: ModelVersion, candidate: Candidate, way_out: str) -> None:
    """Raises a `TextrnnError` where a version is not as good as it was when it was registered."""
    recorded, present = float(version.tags["test_accuracy"]), candidate.correct.mean()
    if abs(present - recorded) > 1 / len(candidate.correct) + 1e-6:  # processors may break a tie differently
        raise TextrnnError(
            f"{candidate.label} reaches {present:.1%} test accuracy on data/corpus, and reached {recorded:.1%} when it "
            f"was registered: that is another split, model or code. {way_out}"
        )


def _candidate(
    client: MlflowClient, version: ModelVersion, split: pl.DataFrame, is_its_own: bool
) -> tuple[Candidate, bool]:
    """Returns a version as the gate sees it, and whether its predictions for `split` were recorded.

    The predictions of its training are stored with the model: no later code changes them, and they outlast the run.

    Args:
        is_its_own: whether it was tested on this split; else it scores the split now.
    """
    from textrnn.modeling.predictor import Predictor

    with tempfile.TemporaryDirectory() as scratch:
        model = download(client, version, Path(scratch))
        known = _recorded(client, version, model.parents[1], split) if is_its_own else None
        if known is not None:
            correct = (known["probability"].list.arg_max() == known["label"]).to_numpy()
        else:
            predictor = Predictor(model)
            likeliest = predictor.probabilities(split["text"]).argmax(axis=1)
            correct = np.array(predictor.classes)[likeliest] == split["label"].to_numpy()
    costs = {name: float(version.tags[name]) for name in COSTS}
    return Candidate(label(version), correct, costs), known is not None


def _recorded(client: MlflowClient, version: ModelVersion, package: Path, split: pl.DataFrame) -> pl.DataFrame | None:
    """Returns the predictions of a version's training, `id, label, probability` in the order of `split`.

    They are in the `package`; of older versions, with the run. None where they are lost or of other texts.
    """
    from textrnn.tracking.logged_model import EVIDENCE

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


def champion_model(project: Path, params: Params, folder: Path, instead: str = "") -> tuple[str, Path]:
    """Fetches the champion's saved model into `folder`; returns what it is and its path.

    Args:
        instead: what else to do, where there is no champion.

    Raises `TextrnnError`: there is no champion.
    """
    client, champion = need_champion(project, params, instead)
    what = f"{champion.tags['experiment']}, seed {champion.tags['seed']}, version {champion.version} of {champion.name}"
    return what, download(client, champion, folder)


def find_champion(project: Path, params: Params) -> tuple[MlflowClient, ModelVersion | None]:
    """Returns the registry and the version in use of the study's corpus; None where there is none."""
    client = open_store(project, f"{params.study}/{params.corpus}").client
    return client, _by_alias(client, registered_name(params.corpus), CHAMPION)


def need_champion(project: Path, params: Params, instead: str = "") -> tuple[MlflowClient, ModelVersion]:
    """As `find_champion`. Raises `TextrnnError` where there is none: what to do about it, or `instead`."""
    client, champion = find_champion(project, params)
    if champion is None:
        name, other = registered_name(params.corpus), f", or {instead}" if instead else ""
        raise TextrnnError(
            f"the registry has no {name}@{CHAMPION}. Run `textrnn register`, then `textrnn promote`{other}."
        )
    return client, champion


def download(client: MlflowClient, version: ModelVersion, folder: Path) -> Path:
    """Fetches a version's saved model into `folder`; returns its path. Raises `TextrnnError` if it is gone."""
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
