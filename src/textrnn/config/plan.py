"""`plan/`: what each stage depends on besides its input folders, which is its settings and its code.

DVC would compare whole sections of params.yaml, and whole files of code, with all that they import. Instead the stage
`plan` writes a file for each other stage, which is that stage's input. There an experiment is complete, with the
defaults merged in; settings that are off are left out; and code is a hash without comments and docstrings. So a default
that an experiment does not use, a new setting that is off, and a better comment rerun nothing.

`plan/study.json` holds the whole study. No stage depends on it: labels of MLflow's runs and the rehearsal read it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

from pydantic import ValidationInfo, field_validator

from textrnn.config.catalog import Address, Catalog, CorpusEntry, Source, Split, VectorsEntry
from textrnn.config.ensemble import Ensemble
from textrnn.config.experiment import Experiment
from textrnn.config.params import Params
from textrnn.config.pretraining import Pretraining
from textrnn.config.search import Search
from textrnn.config.sections import EmbeddingParams, ExplanationParams, Prepare
from textrnn.config.validation import Strict, chosen, validate
from textrnn.config.yaml_file import parse_json
from textrnn.errors import TextrnnError
from textrnn.project.source_code import code_hash, import_closure

PROJECT = Path(__file__).parents[3]

PLANNING = ("src/textrnn/config/", "src/textrnn/project/source_code.py")
"""Code that makes settings and plans: it is in no stage's plan, because what it decides is."""

TEMPLATES = (".html", ".j2", ".md", ".css", ".js")
"""Files of a package, or of its folder `templates`, that belong to the code of every module there."""

STUDY = "study"
"""The name of the file with the whole study."""

SCRIPTS = {STUDY: "plan", "winner": "train", "student": "train"}
"""Stages whose script has another name."""

DOWNLOAD, ABOUT = {"source", "sha256"}, {"licence", "citation"}
"""What of a catalog entry only the download reads, and only people."""

READING = (CorpusEntry.model_fields.keys() | VectorsEntry.model_fields.keys()) - DOWNLOAD - {"sources"}
"""What of it the download does not read."""

AGAIN = "Run `dvc repro`, which plans anew."
UNREPORTED = {"prepare", "encode", "train", "promotion", "serving", "data_check", "resources"}
"""What the report does not read."""


class CorpusDownload(Source):
    """An archive, or one for each split."""

    sources: dict[Split, Source] | None = None


class CorpusFile(CorpusEntry):
    """A corpus entry without what only its download and the report read."""

    @field_validator("sources")
    @classmethod
    def _comes_from_somewhere(cls, sources: Any, info: ValidationInfo) -> Any:
        return sources


class CorpusPlan(Strict):
    """How the corpus is read and split."""

    corpus: str
    entry: CorpusFile
    prepare: Prepare


class VectorsFile(VectorsEntry):
    """A vectors entry without what only its download and the report read."""

    source: Address | None = None  # type: ignore[assignment]

    @field_validator("format")
    @classmethod
    def _made_here_or_downloaded(cls, kind: str, info: ValidationInfo) -> str:
        return kind


class EmbeddingPlan(Strict):
    """How an embedding matrix is made."""

    entry: VectorsFile
    embedding: EmbeddingParams


class PretrainingPlan(Strict):
    """Which language model is trained."""

    model: Pretraining


class TrainingPlan(Strict):
    """What is trained, with which seeds; of the winner of a search only the seeds and `refit` are known."""

    experiment: Experiment | None = None
    seeds: list[int]
    refit: bool = False


class EnsemblePlan(Strict):
    """What is averaged, and how."""

    ensemble: Ensemble


class SearchPlan(Strict):
    """What is searched, from the complete experiment that is trial 0."""

    start: Experiment
    search: Search


class ExplanationPlan(Strict):
    """Which predictions of a run are explained."""

    explanation: ExplanationParams


class ReportPlan(Strict):
    """What is compared, and what the catalog does not state of the corpus. Sections that are not read are defaults."""

    params: Params
    not_stated: list[str]


Settings = TypeVar("Settings", bound=Strict)


class Planned(NamedTuple, Generic[Settings]):
    """A stage's `name` behind the @ (`lstm` of `train@lstm`, else empty), its `settings`, the `study`, and its `code`.

    `code` holds a hash for each file.
    """

    name: str
    settings: Settings
    study: Params
    code: dict[str, str]


def make_plan(params: Params, catalog: Catalog, project: Path = PROJECT) -> dict[str, str]:
    """Returns the text of each file of the plan by its name, which is the stage's in DVC, such as `train@lstm`.

    Args:
        project: the folder with the code, in `stages` and `src`.
    """
    settings = _settings(params, catalog)
    code = {group: _code(group, project) for group in dict.fromkeys(stage.partition("@")[0] for stage in settings)}
    contents = {stage: {"settings": read, "code": code[stage.partition("@")[0]]} for stage, read in settings.items()}
    contents[STUDY]["bytes"] = {name: _sha256(project / name) for name in sorted(set().union(*code.values()))}
    return {stage: json.dumps(content, indent=2) + "\n" for stage, content in contents.items()}


def load_planned_stage(file: Path, model: type[Settings], project: Path = PROJECT) -> Planned[Settings]:
    """Returns what the stage `plan` wrote in `file`, whose settings are those of a `model`, and the study.

    Raises:
        TextrnnError: there is no such plan, or the code is not that of the plan: it was changed after the stage `plan`
            had run, and DVC would take the result for one of the code before.
    """
    study, own = _read(file.with_name(f"{STUDY}.json")), _read(file)
    for name, code in sorted((study["code"] | own["code"]).items()):
        # Equal bytes are equal code, and compared much faster.
        if _sha256(project / name) != study["bytes"].get(name) and _hash(project / name) != code:
            raise TextrnnError(f"{file} was written before a change of {name}. {AGAIN}")
    _, _, name = file.stem.partition("@")
    whole = validate(Params, study["settings"], f"{STUDY}.json")
    return Planned(name, validate(model, own["settings"], file.name), whole, own["code"])


def _read(file: Path) -> dict[str, Any]:
    if not file.is_file():
        raise TextrnnError(f"{file}: the plan in {Path.cwd()} has no stage {file.stem!r}. {AGAIN}")
    content = parse_json(file.read_text(encoding="utf-8"), str(file), AGAIN)
    if not {"settings", "code"} <= content.keys():
        raise TextrnnError(f"{file} is not what the stage `plan` writes. {AGAIN}")
    return content


def _settings(params: Params, catalog: Catalog) -> dict[str, Any]:
    """What each stage reads of params.yaml and catalog.yaml, except labels: see `load_planned_stage`."""
    corpus, seeds = catalog.corpus(params.corpus), params.seeds
    vectors = {name: catalog.vector_source(embedding.source) for name, embedding in params.embeddings.items()}
    study = chosen(params)
    return {
        STUDY: study,
        "download_corpus": _without(corpus, READING),
        "prepare_corpus": {
            "corpus": params.corpus,
            "prepare": study["prepare"],
            "entry": _without(corpus, DOWNLOAD | ABOUT),
        },
        "encode_corpus": study["encode"],
        "rehearse": {},  # about the corpus: other experiments add nothing that could fail
        **{f"download_vectors@{name}": _without(entry, READING) for name, entry in vectors.items()},
        **{
            f"build_embeddings@{name}": {
                "embedding": study["embeddings"][name],
                "entry": _without(entry, DOWNLOAD | ABOUT),
            }
            for name, entry in vectors.items()
        },
        **{f"pretrain@{name}": {"model": model} for name, model in study.get("pretraining", {}).items()},
        **{f"baseline@{name}": baseline for name, baseline in study.get("baselines", {}).items()},
        **{params.stage(name): {"experiment": one, "seeds": seeds} for name, one in study["experiments"].items()},
        **{
            f"search@{name}": {
                "start": {key: value for key, value in study["experiments"][search.start].items() if key != "refit"},
                "search": study["searches"][name],
            }
            for name, search in params.searches.items()
        },
        **{
            f"winner@{name}": {"seeds": seeds, **({"refit": True} if params.experiments[search.start].refit else {})}
            for name, search in params.searches.items()
        },
        **{stage: {} for run in params.by_level for stage in params.stages(run) if stage != params.stage(run)},
        **{f"ensemble@{name}": {"ensemble": ensemble} for name, ensemble in study.get("ensembles", {}).items()},
        **{f"probe@{name}": {} for name in params.probes},
        **{f"explain@{name}": {"explanation": each} for name, each in study.get("explanations", {}).items()},
        "compare": {
            "params": {key: value for key, value in study.items() if key not in UNREPORTED},
            "not_stated": corpus.not_stated,
        },
    }


def _without(entry: Strict, keys: Collection[str]) -> dict[str, Any]:
    """Returns what a catalog entry, and each of its `sources`, has besides `keys`."""
    content: dict[str, Any] = chosen(entry)
    for part in (content, *content.get("sources", {}).values()):
        for key in part.keys() & keys:
            del part[key]
    return content


def _code(group: str, project: Path) -> dict[str, str]:
    """The hash of each module that stages such as `train` import, and of the templates with these, by path.

    The study's are the modules of `PLANNING`, and no others.
    """
    script = project / "stages" / f"{SCRIPTS.get(group, group)}.py"
    modules = import_closure(script, project / "src")
    folders = {file.parent for file in modules}
    others = {file for folder in folders for part in ("*", "templates/*") for file in folder.glob(part)}
    files = [*modules, *(file for file in others if file.suffix in TEMPLATES)]
    named = {file.relative_to(project).as_posix(): file for file in files}
    return {name: _hash(file) for name, file in sorted(named.items()) if name.startswith(PLANNING) == (group == STUDY)}


def _hash(file: Path) -> str:
    """SHA-256 of the code in a module, or of the bytes of another file; empty where there is none."""
    return code_hash(file.read_text(encoding="utf-8")) if file.suffix == ".py" and file.is_file() else _sha256(file)


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else ""
