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
from typing import Any

from textrnn.catalog import Catalog, load_catalog
from textrnn.errors import TextrnnError
from textrnn.params import Params, load_params
from textrnn.source_code import PROJECT, import_closure, without_remarks

STAGES = PROJECT / "stages"

ABOUT = {"licence", "citation"}
"""What a catalog entry tells people, and no stage."""


def plan(params: Params, catalog: Catalog) -> dict[str, str]:
    """Returns the text of each stage's file, by the stage's name in DVC, such as `train@lstm`."""
    settings = _settings(params, catalog)
    code = {group: _code(group) for group in {stage.partition("@")[0] for stage in settings}}
    return {stage: _text(read, code[stage.partition("@")[0]]) for stage, read in settings.items()}


def planned_study(file: Path) -> tuple[Params, Catalog]:
    """Returns the study to the stage that `file` was written for.

    Raises:
        TextrnnError: the study is not valid, or the stage's settings or code are not what `file` says: they were
            changed after the stage `plan` had run, and DVC would take the result for one of those before.
    """
    catalog = load_catalog()
    params = load_params(catalog=catalog)
    stage = file.stem
    settings = _settings(params, catalog)
    if stage not in settings:
        raise TextrnnError(f"{file}: params.yaml declares no stage {stage!r}. Run `dvc repro`, which plans anew.")
    if not file.is_file():
        raise TextrnnError(f"{file}: no such file in {Path.cwd()}. Run `dvc repro`, which writes it first.")
    now = _text(settings[stage], _code(stage.partition("@")[0]))
    if file.read_text(encoding="utf-8") != now:
        raise TextrnnError(
            f"{file} was written before this change: {_change(json.loads(file.read_bytes()), json.loads(now))}. "
            "Run `dvc repro`, which plans anew."
        )
    return params, catalog


def _settings(params: Params, catalog: Catalog) -> dict[str, dict[str, Any]]:
    """What each stage reads of params.yaml and catalog.yaml."""
    study, corpus = params.model_dump(), catalog.corpus(params.corpus)
    vectors = {name: catalog.vector_source(embedding.source) for name, embedding in params.embeddings.items()}
    download = {"source", "sha256"}
    # The comparison does not read these, but what others made of them.
    compared = {key: study[key] for key in study.keys() - {"prepare", "encode", "train", "promotion", "data_check"}}
    return {
        "download_corpus": corpus.model_dump(include=download),
        "prepare_corpus": {
            "corpus": params.corpus,
            "entry": corpus.model_dump(exclude=ABOUT),
            "prepare": study["prepare"],
        },
        "encode_corpus": {"encode": study["encode"]},
        **{f"download_vectors@{name}": entry.model_dump(include=download) for name, entry in vectors.items()},
        **{
            f"build_embeddings@{name}": {
                "embedding": study["embeddings"][name],
                "entry": entry.model_dump(exclude=ABOUT),
            }
            for name, entry in vectors.items()
        },
        **{f"baseline@{name}": {"baseline": baseline} for name, baseline in study["baselines"].items()},
        **{
            f"train@{name}": {"experiment": experiment, "seeds": params.seeds}
            for name, experiment in study["experiments"].items()
        },
        **{f"probe@{name}": {} for name in params.probes},
        "compare": compared,
    }


def _code(group: str) -> dict[str, str]:
    """SHA-256 of the code of each module that the stages `group` import, their entry point included, by path."""
    return {
        file.relative_to(PROJECT).as_posix(): hashlib.sha256(
            without_remarks(file.read_text(encoding="utf-8")).encode()
        ).hexdigest()
        for file in import_closure(STAGES / f"{group}.py")
    }


def _text(settings: dict[str, Any], code: dict[str, str]) -> str:
    return json.dumps({"settings": settings, "code": code}, indent=2, sort_keys=True) + "\n"


def _change(before: dict[str, dict[str, Any]], now: dict[str, dict[str, Any]]) -> str:
    """The settings and modules in which two plans differ."""
    keys = [
        key
        for part in now
        for key in sorted(before[part].keys() | now[part].keys())
        if before[part].get(key) != now[part].get(key)
    ]
    return ", ".join(keys)
