"""The winner of a search: once the search is done, it is an experiment like any other."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from textrnn.config.experiment import Experiment
from textrnn.config.params import Params, load_params
from textrnn.config.search import Search
from textrnn.config.validation import validate
from textrnn.config.yaml_file import parse_json, read_text
from textrnn.errors import TextrnnError

RUNS = "runs"
WINNER, RESULT = "winner.json", "search.json"


def read_winner(file: Path, refit: bool = False) -> Experiment:
    """Returns the experiment in the `file` in which a search notes its winner.

    No search depends on `refit`, which is about the winner alone.

    Raises:
        TextrnnError: there is no such file, or it is damaged.
    """
    if not file.is_file():
        raise TextrnnError(f"{file.parent} holds no finished search (no {file.name}). Run `dvc repro`.")
    settings = parse_json(read_text(file), str(file), f"Restore it with `dvc checkout --force {file.parent}`.")
    return validate(Experiment, settings, str(file)).model_copy(update={"refit": refit})


def is_current(folder: Path, search: Search, start: Experiment) -> bool:
    """Returns whether the finished search in `folder` was the one that the study declares now."""
    file = folder / RESULT
    if not file.is_file():
        return False
    content = parse_json(read_text(file), str(file), f"Restore it with `dvc checkout --force {folder}`.")
    try:
        made_with = Search.model_validate({**content["settings"], "space": content["space"]})
    except (ValidationError, LookupError, TypeError):  # by a version with other settings
        return False
    unsearched = {knob: getattr(start, knob) for knob in search.space}
    return made_with == search and read_winner(folder / WINNER, start.refit).model_copy(update=unsearched) == start


def load_study(project: Path = Path()) -> Params:
    """Returns the active study of `project`; the winners of finished searches are among its experiments.

    Raises:
        TextrnnError: see `load_params` and `read_winner`.
    """
    return with_winners(load_params(project / "params.yaml"), project / RUNS)


def search_folder(runs: Path, name: str) -> Path:
    """Returns the folder of the search `name`: like its stage, it has a name that no run can have."""
    return runs / f"search@{name}"


def with_winners(params: Params, runs: Path) -> Params:
    """Returns `params` with the winner of each search among the experiments, under the search's name.

    A search that is not done in `runs`, or was another one, has none.
    """
    found = {
        name: read_winner(search_folder(runs, name) / WINNER, params.experiments[search.start].refit)
        for name, search in params.searches.items()
        if is_current(search_folder(runs, name), search, params.experiments[search.start])
    }
    return params.model_copy(update={"experiments": {**params.experiments, **found}})
