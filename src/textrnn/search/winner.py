"""The winner of a search: once the search is done, it is an experiment like any other."""

from __future__ import annotations

from pathlib import Path

from textrnn.config.experiment import Experiment
from textrnn.config.params import Params, load_params
from textrnn.config.validation import validate
from textrnn.config.yaml_file import parse_json, read_text
from textrnn.errors import TextrnnError

FOLDER = Path("data/searches")
WINNER = "winner.json"


def read_winner(file: Path) -> Experiment:
    """Returns the experiment in the `file` in which a search notes its winner.

    Raises:
        TextrnnError: there is no such file, or it is damaged.
    """
    if not file.is_file():
        raise TextrnnError(f"{file.parent} holds no finished search (no {file.name}). Run `dvc repro`.")
    settings = parse_json(read_text(file), str(file), f"Restore it with `dvc checkout --force {file.parent}`.")
    return validate(Experiment, settings, str(file))


def load_study(project: Path = Path()) -> Params:
    """Returns the active study of `project`; the winners of finished searches are among its experiments.

    Raises:
        TextrnnError: see `load_params` and `read_winner`.
    """
    return with_winners(load_params(project / "params.yaml"), project / FOLDER)


def with_winners(params: Params, searches: Path) -> Params:
    """Returns `params` with the winner of each search in `searches` among the experiments, under the search's name."""
    files = {name: searches / name / WINNER for name in params.searches}
    found = {name: read_winner(file) for name, file in files.items() if file.is_file()}
    return params.model_copy(update={"experiments": {**params.experiments, **found}})
