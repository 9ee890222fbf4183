"""`plan/`: what each stage depends on besides its input folders, its settings and its code.

DVC would compare whole sections of params.yaml and whole files of code, for each stage anew. The stage `plan`
writes down instead what they come to, in a file for each other stage. There an experiment is complete, with the
defaults merged in, and code is without comments and docstrings. So a default that an experiment does not
use, and a better comment, rerun nothing.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, NamedTuple

from textrnn.config.catalog import Catalog, load_catalog
from textrnn.config.params import Params, load_params
from textrnn.errors import TextrnnError
from textrnn.project.source_code import import_closure, without_remarks

PROJECT = Path(__file__).parents[3]

PLANNING = ("src/textrnn/config/plan.py", "src/textrnn/project/source_code.py")
"""What every stage imports, and none depends on: these modules decide on no result, only whether to make one."""

DOWNLOAD: dict[str, Any] = {"source": True, "sha256": True, "sources": {"__all__": {"source", "sha256"}}}
"""What of a catalog entry concerns the download, and nobody who reads the archive."""

ABOUT: dict[str, Any] = {"licence": True, "citation": True}
"""What a catalog entry tells people, and no stage."""


def make_plan(params: Params, catalog: Catalog, project: Path = PROJECT) -> dict[str, str]:
    """Returns the text of each stage's file, by the stage's name in DVC, such as `train@lstm`.

    Args:
        project: the folder with the code, in `stages` and `src`.
    """
    settings = _settings(params, catalog)
    code = {group: _code(group, project) for group in {stage.partition("@")[0] for stage in settings}}
    return {stage: _text(read, code[stage.partition("@")[0]]) for stage, read in settings.items()}


class Planned(NamedTuple):
    """The study, and which of its stages asks."""

    params: Params
    catalog: Catalog
    name: str
    """What is behind the @: `lstm` of `train@lstm`, and nothing where there is no other such stage."""


def planned_study(file: Path, project: Path = PROJECT) -> Planned:
    """Returns the study, and which of its kind the stage is that `file` was written for.

    Raises:
        TextrnnError: the study is not valid, or the stage's settings or code are not what `file` says: they were
            changed after the stage `plan` had run, and DVC would take the result for one of those before.
    """
    catalog = load_catalog()
    params = load_params(catalog=catalog)
    stage = file.stem
    group, _, name = stage.partition("@")
    settings = _settings(params, catalog)
    if stage not in settings:
        raise TextrnnError(f"{file}: params.yaml declares no stage {stage!r}. Run `dvc repro`, which plans anew.")
    if not file.is_file():
        raise TextrnnError(f"{file}: no such file in {Path.cwd()}. Run `dvc repro`, which writes it first.")
    before = file.read_text(encoding="utf-8")
    now = _text(settings[stage], _code(group, project))
    if before != now:
        raise TextrnnError(f"{file} was written before {_change(before, now)}. Run `dvc repro`, which plans anew.")
    return Planned(params, catalog, name)


def _settings(params: Params, catalog: Catalog) -> dict[str, dict[str, Any]]:
    """What each stage reads of params.yaml and catalog.yaml.

    That trainings and baselines read the names of study and corpus, and the defaults, does not count: these tell MLflow
    what to call a run, and are no part of it.
    """
    study, corpus = params.model_dump(), catalog.corpus(params.corpus)
    vectors = {name: catalog.vector_source(embedding.source) for name, embedding in params.embeddings.items()}
    # The comparison does not read these, but what others made of them.
    compared = {key: study[key] for key in study.keys() - {"prepare", "encode", "train", "promotion", "data_check"}}
    return {
        "download_corpus": corpus.model_dump(include=DOWNLOAD),
        "prepare_corpus": {
            "corpus": params.corpus,
            "entry": corpus.model_dump(exclude=DOWNLOAD | ABOUT),
            "prepare": study["prepare"],
        },
        "encode_corpus": {"encode": study["encode"]},
        "rehearse": {},  # about the corpus: experiments and their names bring nothing that cannot be drawn
        **{
            f"download_vectors@{name}": entry.model_dump(include={"source", "sha256"})
            for name, entry in vectors.items()
        },
        **{
            f"build_embeddings@{name}": {
                "embedding": study["embeddings"][name],
                "entry": entry.model_dump(exclude=DOWNLOAD | ABOUT),
            }
            for name, entry in vectors.items()
        },
        **{f"baseline@{name}": {"baseline": baseline} for name, baseline in study["baselines"].items()},
        **{
            f"train@{name}": {"experiment": experiment, "seeds": params.seeds}
            for name, experiment in study["experiments"].items()
        },
        **{f"probe@{name}": {} for name in params.probes},
        "compare": {**compared, "not_stated": corpus.not_stated},
    }


def _code(group: str, project: Path) -> dict[str, str]:
    """SHA-256 of the code of each module that stages such as `train` import, their entry point included, by path."""
    files = import_closure(project / "stages" / f"{group}.py", project / "src")
    modules = {file.relative_to(project).as_posix(): file for file in files}
    return {name: _hash(file) for name, file in modules.items() if name not in PLANNING}


def _hash(file: Path) -> str:
    return hashlib.sha256(without_remarks(file.read_text(encoding="utf-8")).encode()).hexdigest()


def _text(settings: dict[str, Any], code: dict[str, str]) -> str:
    return json.dumps({"settings": settings, "code": code}, indent=2, sort_keys=True) + "\n"


def _change(before: str, now: str) -> str:
    """In which settings and modules two plans differ, as far as `before` is one."""
    try:
        old, new = json.loads(before), json.loads(now)
        keys = [
            key
            for part in ("settings", "code")
            for key in sorted(old[part].keys() | new[part].keys())
            if (key in old[part], old[part].get(key)) != (key in new[part], new[part].get(key))
        ]
    except (ValueError, LookupError, TypeError, AttributeError):
        keys = []
    return f"a change of {', '.join(keys)}" if keys else "a change of plans"
