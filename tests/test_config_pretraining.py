"""The section `pretraining`, and which experiments and searches may start from a language model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from tiny_experiments import STUDY

from textrnn.config.params import Params, load_params
from textrnn.config.pretraining import Pretraining
from textrnn.errors import TextrnnError

MODEL = {"embedding": "tiny", "units": 2}
STARTED = {"embedding": "lm", "pretrained_layers": True}
SEARCH = {"start": "started", "space": {"dropout": {"low": 0.0, "high": 0.5}}, "trials": 2, "batch": 2, "rungs": 1}


def load(folder: Path, model: dict[str, Any] | None = None, **changes: Any) -> Params:
    """A study with a language model and an experiment that starts from it."""
    content = {
        **STUDY,
        "probes": [],
        "experiments": {"started": STARTED},
        "pretraining": {"lm": {**MODEL, **(model or {})}},
    }
    file = folder / "params.yaml"
    file.write_text(yaml.safe_dump({**content, **changes}), encoding="utf-8")
    return load_params(file)


def test_a_language_model_is_something_to_start_from(tmp_path: Path) -> None:
    params = load(tmp_path)
    assert params.pretraining["lm"] == Pretraining(embedding="tiny", units=2)
    assert params.experiments["started"].pretrained_layers
    assert params.starts == ["tiny", "lm"]
    assert (params.is_drawn("tiny"), params.is_drawn("lm")) == (True, False)


def test_without_its_layers_any_experiment_starts_from_it(tmp_path: Path) -> None:
    cells = ("simple_rnn", "lstm", "gru", "conv1d", "feedforward")
    load(tmp_path, experiments={cell: {"embedding": "lm", "cell": cell, "readout": "mean"} for cell in cells})


@pytest.mark.parametrize(
    ("model", "experiment", "message"),
    [
        ({"units": 3}, {}, "which has units 3, and units is 2"),
        ({"cell": "gru"}, {}, "which has cell gru, and cell is lstm"),
        ({"layers": 2}, {}, "which has layers 2, and layers is 1"),
        ({}, {"reverse": True}, "which has reverse False, and reverse is True"),
        ({"bidirectional": True}, {}, "which has bidirectional True, and bidirectional is False"),
    ],
)
def test_layers_of_another_shape(
    tmp_path: Path, model: dict[str, Any], experiment: dict[str, Any], message: str
) -> None:
    with pytest.raises(TextrnnError) as error:
        load(tmp_path, model, experiments={"started": {**STARTED, **experiment}})
    assert str(error.value) == (
        f"params.yaml: experiments.started: pretrained_layers takes the recurrent layers of lm, {message}: give both "
        "the same, or switch pretrained_layers off."
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"pretraining": {"tiny": MODEL}, "experiments": {"plain": {"embedding": "tiny"}}},
            "params.yaml: 'tiny' names an embedding and a language model, and both would write data/embeddings/tiny: "
            "rename one.",
        ),
        (
            {"pretraining": {"lm": {"embedding": "lm"}}},
            "params.yaml: pretraining.lm.embedding: no embedding 'lm'. Known: tiny.",
        ),
        (
            {"experiments": {"started": {**STARTED, "embedding": "tiny"}}},
            "params.yaml: experiments.started.pretrained_layers: the embedding 'tiny' is no language model and has no "
            "layers. Language models: lm.",
        ),
        (
            {"experiments": {"started": {**STARTED, "embedding": "lmm"}}},
            "params.yaml: experiments.started.embedding: no embedding 'lmm'. Known: lm, tiny.",
        ),
        (
            {"experiments": {"started": {**STARTED, "cell": "conv1d", "readout": "max"}}},
            "params.yaml: experiments.started: pretrained_layers needs a recurrent cell (simple_rnn, lstm, gru), and "
            "cell is conv1d: switch pretrained_layers off or change the cell.",
        ),
        (
            {"pretraining": {"lm": {**MODEL, "bidirectional": True, "layers": 2}}},
            "params.yaml: pretraining.lm: layers is 2, and a bidirectional model has one: each direction is a model of "
            "its own, which must not see the words that the other has read. Set layers to 1, or switch bidirectional "
            "off.",
        ),
        (
            {"searches": {"wide": {**SEARCH, "space": {"units": {"low": 2, "high": 4}}}}},
            "params.yaml: searches.wide.space.units: pretrained_layers takes the layers of one language model, which "
            "have one units: leave units out of the space, or switch pretrained_layers off.",
        ),
        (
            {"searches": {"other": {**SEARCH, "space": {"embedding": {"choices": ["lm", "tiny"]}}}}},
            "params.yaml: searches.other.space.pretrained_layers: the embedding 'tiny' is no language model and has no "
            "layers. Language models: lm.",
        ),
    ],
)
def test_studies_that_are_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(TextrnnError) as error:
        load(tmp_path, **changes)
    assert str(error.value) == message


def test_a_search_may_try_with_and_without_layers(tmp_path: Path) -> None:
    tuned = {**SEARCH, "space": {"pretrained_layers": {"choices": [True, False]}}}
    load(tmp_path, searches={"tuned": tuned, "dropped": SEARCH})
    plain = {"plain": {"embedding": "lm"}}
    with pytest.raises(TextrnnError, match=r"searches\.tuned\.space: pretrained_layers takes .* which has units 3"):
        load(tmp_path, {"units": 3}, experiments=plain, searches={"tuned": {**tuned, "start": "plain"}})
