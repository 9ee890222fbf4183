"""The shipped study is valid; an error in a study is reported with key, rule, what was given and what to do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from tiny_experiments import PLAIN

from textrnn.config.catalog import load_catalog
from textrnn.config.experiment import Experiment
from textrnn.config.params import Params, load_params
from textrnn.errors import TextrnnError

PROJECT = Path(__file__).parents[1]
CATALOG = load_catalog(PROJECT / "catalog.yaml")
Change = Callable[[dict[str, Any]], Any]


def make_study() -> dict[str, Any]:
    return {
        "study": "tiny",
        "corpus": "imdb",
        "seeds": [0, 1],
        "prepare": {"valid": 0.2, "test": 0.3, "seed": 0, "leakage": "drop", "unlabelled": False},
        "encode": {"vocabulary_size": 9, "min_count": 1},
        "embeddings": {"drawn": {"source": "random", "dimension": 4}, "glove-50d": {"source": "glove-50d"}},
        "baselines": {"majority": {"kind": "majority"}},
        "comparisons": {"level": 0.05, "against": [], "pairs": []},
        "probes": ["lstm"],
        "promotion": {"level": 0.05, "margin": 0.005},
        "data_check": {},
        "published": [],
        "train": {key: value for key, value in PLAIN.items() if key != "embedding"},
        "experiments": {
            "lstm": {"embedding": "drawn"},
            "wide": {"embedding": "glove-50d", "units": 5},
            "conv": {"embedding": "drawn", "cell": "conv1d"},
        },
    }


def load(folder: Path, change: Change = lambda study: None) -> Params:
    study = make_study()
    change(study)
    (folder / "params.yaml").write_text(yaml.safe_dump(study, sort_keys=False))
    return load_params(folder / "params.yaml", CATALOG)


def in_lstm(**changes: Any) -> Change:
    return lambda study: study["experiments"]["lstm"].update(changes)


def test_an_experiment_is_the_defaults_and_what_it_changes(tmp_path: Path) -> None:
    params = load(tmp_path)
    assert params.experiments["lstm"].model_dump() == {**PLAIN, "embedding": "drawn"}
    assert params.experiments["wide"].model_dump() == {**PLAIN, "embedding": "glove-50d", "units": 5}


def test_a_default_changed_on_the_way_reaches_every_experiment(tmp_path: Path) -> None:
    params = load(tmp_path, lambda study: study["train"].update(units=3))
    assert [experiment.units for experiment in params.experiments.values()] == [3, 5, 3]


def test_what_a_study_leaves_out_has_its_default(tmp_path: Path) -> None:
    params = load(tmp_path, lambda study: [study.pop(key) for key in (*OPTIONAL, "train")])
    assert params.experiments["wide"] == Experiment(embedding="glove-50d", units=5)
    assert params.train == Experiment(embedding="drawn").model_dump(exclude={"embedding"})
    assert {key: getattr(params, key) for key in OPTIONAL} == {
        key: Params.model_fields[key].default for key in OPTIONAL
    }


OPTIONAL = ("seeds", "prepare", "encode", "baselines", "comparisons", "promotion", "data_check", "published")


def test_shipped_study_is_valid_and_is_the_one_kept_in_studies() -> None:
    params = load_params(PROJECT / "params.yaml", CATALOG)
    assert (PROJECT / "studies" / "cells.yaml").read_bytes() == (PROJECT / "params.yaml").read_bytes()
    assert params.study == "cells"
    assert params.corpus == "rotten_tomatoes"
    assert len(params.seeds) == 3


@pytest.mark.parametrize("path", sorted((PROJECT / "studies").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_study_is_valid_and_named_as_its_file(path: Path) -> None:
    assert load_params(path, CATALOG).study == path.stem


def test_shipped_study_has_what_was_asked_for() -> None:
    """Each knob is turned somewhere, each cell is there, from scratch, frozen and fine-tuned."""
    params = load_params(PROJECT / "params.yaml", CATALOG)
    experiments = params.experiments.values()
    default = params.train
    for knob in (
        *("units", "layers", "bidirectional", "readout", "embedding_dropout", "spatial_dropout", "dropout"),
        *("recurrent_dropout", "l2", "label_smoothing", "early_stopping", "gradient_clip", "ema"),
    ):
        assert any(getattr(experiment, knob) != default[knob] for experiment in experiments), knob
    started = {(one.cell, one.embedding.split("-")[0], one.trainable_embedding) for one in experiments}
    for cell in ("simple_rnn", "lstm", "gru"):
        assert {(cell, "random", True), (cell, "glove", False)} <= started
    assert {("lstm", "glove", True), ("gru", "glove", True)} <= started
    assert {cell for cell, *_ in started} >= {"conv1d", "feedforward"}
    assert {baseline.kind for baseline in params.baselines.values()} == {"majority", "nb_svm"}


PLACE = "params.yaml: experiments.lstm."
KNOWN_VECTORS = ", ".join(sorted(CATALOG.vectors))
MISTAKES: dict[str, tuple[Change, str]] = {
    "unknown key": (in_lstm(unitz=3), f"{PLACE}unitz: unknown key. Did you mean 'units'?"),
    "unknown key in train": (
        lambda study: study["train"].update(dropuot=0.1),
        "params.yaml: train.dropuot: unknown key. Did you mean 'dropout'?",
    ),
    "unknown key at the top": (
        lambda study: study.update(seed=[1]),
        "params.yaml: seed: unknown key. Did you mean 'seeds'?",
    ),
    "unknown key unlike any": (
        lambda study: study["prepare"].update(x=1),
        "params.yaml: prepare.x: unknown key. Known keys: leakage, seed, test, unlabelled, valid.",
    ),
    "unknown cell": (
        in_lstm(cell="lstmm"),
        f"{PLACE}cell: Input should be 'simple_rnn', 'lstm', 'gru', 'conv1d' or 'feedforward'. Received: 'lstmm'",
    ),
    "embedding that is not there": (
        in_lstm(embedding="glove"),
        "params.yaml: experiments.lstm.embedding: no embedding 'glove'. Known: drawn, glove-50d.",
    ),
    "too large": (in_lstm(dropout=1.0), f"{PLACE}dropout: Input should be less than 1. Received: 1.0"),
    "too small": (
        in_lstm(units=0),
        f"{PLACE}units: Input should be greater than or equal to 1. Received: 0",
    ),
    "not a number": (
        in_lstm(learning_rate=float("nan")),
        f"{PLACE}learning_rate: Input should be a finite number. Received: nan",
    ),
    "infinite": (
        in_lstm(gradient_clip=float("inf")),
        f"{PLACE}gradient_clip: Input should be a finite number. Received: inf",
    ),
    "a text for a number": (
        in_lstm(units="64"),
        f"{PLACE}units: Input should be a valid integer. Received: '64'",
    ),
    "missing": (
        lambda study: study.pop("probes"),
        "params.yaml: probes: required, but missing. Add it.",
    ),
    "an explanation of no run": (
        lambda study: study.update(explanations={"nobody": {}}),
        "params.yaml: explanations: no run 'nobody'. Known: conv, lstm, majority, wide.",
    ),
    "an explanation of what reads no word": (
        lambda study: study.update(baselines={"most": {"kind": "majority"}}, explanations={"most": {}}),
        "params.yaml: explanations: most is the majority class, which reads no word: delete it.",
    ),
    "no text to explain": (
        lambda study: study.update(explanations={"lstm": {"texts": 0}}),
        "params.yaml: explanations.lstm.texts: Input should be greater than or equal to 1. Received: 0",
    ),
    "out of range in train": (
        lambda study: study["train"].update(layers=9),
        "params.yaml: train.layers: Input should be less than or equal to 8. Received: 9",
    ),
    "flat behind pooling": (
        lambda study: study["experiments"]["conv"].update(readout="flatten", padding="left", layers=2),
        "params.yaml: experiments.conv: readout flatten cannot join what conv1d pools: "
        "set layers to 1, or change the readout.",
    ),
    "a dropout between layers where there is one": (
        in_lstm(layer_dropout=0.2),
        "params.yaml: experiments.lstm: layer_dropout acts between recurrent layers, and layers is 1: "
        "set layers to 2 or more, or switch layer_dropout off.",
    ),
    "no embedding": (
        lambda study: study["experiments"].update(bare=None),
        "params.yaml: experiments.bare.embedding: required, but missing. Add it.",
    ),
    "not a mapping": (
        lambda study: study["experiments"].update(lstm=3),
        "params.yaml: experiments.lstm: Input should be a valid dictionary or instance of Experiment. Received: 3",
    ),
    "a name with a dot": (
        lambda study: study["experiments"].update({"lstm.2": {"embedding": "drawn"}}),
        "params.yaml: experiments.lstm.2: a name has lower-case letters, digits, '_' and '-', "
        "and starts with a letter or digit. Received: 'lstm.2'",
    ),
    "name of a baseline": (
        lambda study: study["baselines"].update(lstm={"kind": "majority"}),
        "params.yaml: 'lstm' names a baseline and an experiment, and both would write runs/lstm: rename one.",
    ),
    "name of an ensemble": (
        lambda study: study.update(ensembles={"majority": {"of": ["lstm"]}}),
        "params.yaml: 'majority' names a baseline and an ensemble, and both would write runs/majority: rename one.",
    ),
    "an ensemble of unknown runs": (
        lambda study: study.update(ensembles={"vote": {"of": ["lstm", "lstn"]}}),
        "params.yaml: ensembles.vote.of: no run 'lstn'. Known: conv, lstm, majority, vote, wide.",
    ),
    "an ensemble that names a run twice": (
        lambda study: study.update(ensembles={"vote": {"of": ["lstm", "wide", "lstm"]}}),
        "params.yaml: ensembles.vote: of names lstm twice, and weights say how much a run counts: delete one.",
    ),
    "an ensemble of nothing": (
        lambda study: study.update(ensembles={"vote": {"of": []}}),
        "params.yaml: ensembles.vote.of: List should have at least 1 item after validation, not 0. Received: []",
    ),
    "an ensemble in a circle": (
        lambda study: study.update(ensembles={"a": {"of": ["lstm", "b"]}, "b": {"of": ["a"]}}),
        "params.yaml: a -> b -> a: a run cannot be made of itself, and teaches nobody that it is made of: break it.",
    ),
    "a student in the ensemble that teaches it": (
        lambda study: study.update(
            ensembles={"vote": {"of": ["lstm", "small"]}}, students={"small": {"embedding": "drawn", "teacher": "vote"}}
        ),
        "params.yaml: vote -> small -> vote: a run cannot be made of itself, and teaches nobody that it is made of: "
        "break it.",
    ),
    "an unknown teacher": (
        lambda study: study.update(students={"small": {"embedding": "drawn", "teacher": "vote"}}),
        "params.yaml: students.small.teacher: no run 'vote'. Known: conv, lstm, majority, small, wide.",
    ),
    "a student without a teacher": (
        lambda study: study.update(students={"small": {"embedding": "drawn"}}),
        "params.yaml: students.small.teacher: name a run, or move small to `experiments`.",
    ),
    "a student's own rule": (
        lambda study: study.update(students={"small": {"embedding": "drawn", "teacher": "lstm", "unit": 2}}),
        "params.yaml: students.small.unit: unknown key. Did you mean 'units'?",
    ),
    "a teacher of an experiment": (
        in_lstm(teacher="wide"),
        "params.yaml: experiments.lstm.teacher: DVC reads in the section `students` on which run an experiment "
        "depends. Move lstm there.",
    ),
    "a student's name": (
        lambda study: study.update(students={"lstm": {"embedding": "drawn", "teacher": "wide"}}),
        "params.yaml: 'lstm' names an experiment and a student: rename one.",
    ),
    "students in a list": (
        lambda study: study.update(students=["lstm"]),
        "params.yaml: students: names of experiments with a teacher are wanted. Received: ['lstm']",
    ),
    "hard targets without soft ones": (
        in_lstm(hard_targets=0.5),
        "params.yaml: experiments.lstm: hard_targets mixes labels with a teacher's probabilities: name a teacher, or "
        "delete it.",
    ),
    "smooth labels and a teacher": (
        lambda study: study.update(
            students={"small": {"embedding": "drawn", "teacher": "lstm", "label_smoothing": 0.1}}
        ),
        "params.yaml: students.small: a teacher's probabilities are smooth already: switch label_smoothing off.",
    ),
    "some texts and a teacher of all": (
        lambda study: study.update(students={"small": {"embedding": "drawn", "teacher": "lstm", "train_examples": 9}}),
        "params.yaml: students.small: train_examples counts labelled texts, and a teacher teaches all texts: "
        "switch it off.",
    ),
    "held out of what the teacher has seen": (
        lambda study: study.update(students={"small": {"embedding": "drawn", "teacher": "lstm", "held_out": 0.1}}),
        "params.yaml: students.small: held_out would measure on texts that the teacher was trained on: switch it off.",
    ),
    "refit of a part of the texts": (
        in_lstm(refit=True, train_examples=9),
        "params.yaml: experiments.lstm: refit trains on all training and validation texts in the end, and "
        "train_examples and held_out leave texts out: switch refit off, or these.",
    ),
    "an explanation of texts that were trained on": (
        lambda study: (in_lstm(refit=True)(study), study.update(explanations={"lstm": {}})),
        "params.yaml: explanations: lstm has refit, so lstm knows the validation texts, which are what is read: name "
        "another run, or switch refit off.",
    ),
    "a probe on texts that were trained on": (
        in_lstm(refit=True),
        "params.yaml: probes: lstm has refit, so lstm knows the validation texts, which are what is read: name another "
        "run, or switch refit off.",
    ),
    "a search of how many texts a refit reads": (
        lambda study: (
            in_lstm(refit=True)(study),
            study.update(
                probes=[],
                searches={"tuned": {"start": "lstm", "space": {"train_examples": {"low": 9, "high": 99}}, "rungs": 1}},
            ),
        ),
        "params.yaml: searches.tuned.space.train_examples: lstm has refit, which trains on all texts in the end: leave "
        "train_examples out of the space, or switch refit off.",
    ),
    "a teacher that knows the validation texts": (
        lambda study: (
            in_lstm(refit=True)(study),
            study.update(
                ensembles={"vote": {"of": ["wide", "tuned"]}},
                searches={"tuned": {"start": "lstm", "space": {"units": {"low": 2, "high": 4}}, "rungs": 1}},
                students={"small": {"embedding": "drawn", "teacher": "vote"}},
            ),
        ),
        "params.yaml: students.small.teacher: tuned has refit, so vote knows the validation texts, and small is "
        "validated on them: let a run without refit teach.",
    ),
    "recurrent knob": (
        lambda study: study["experiments"]["conv"].update(bidirectional=True),
        "params.yaml: experiments.conv: bidirectional needs a recurrent cell (simple_rnn, lstm, gru), "
        "and cell is conv1d: switch bidirectional off or change the cell.",
    ),
    "epochs of a baseline": (
        lambda study: study.update(
            published=[{"experiment": "majority", "measure": "best_epoch", "accuracy": 0.9, "source": "a book"}]
        ),
        "params.yaml: published: majority is a baseline, which has no epochs, and measure is best_epoch: "
        "set measure to test.",
    ),
    "weight_decay without adamw": (
        in_lstm(weight_decay=0.1),
        "params.yaml: experiments.lstm: weight_decay is 0.1, which only optimizer adamw applies, and optimizer is "
        "adam: set optimizer to adamw, or weight_decay to 0.",
    ),
    "adamw without weight_decay": (
        in_lstm(optimizer="adamw"),
        "params.yaml: experiments.lstm: optimizer adamw without weight_decay is adam: set weight_decay (such as "
        "0.01), or optimizer to adam.",
    ),
    "a slanted triangle that does not rise": (
        in_lstm(schedule="slanted_triangular"),
        "params.yaml: experiments.lstm: schedule slanted_triangular needs warm_up, the fraction of the steps in which "
        "the learning rate rises: set it (0.1 in the paper), or schedule to linear.",
    ),
    "nothing below the head": (
        in_lstm(cell="feedforward", readout="mean", layers=0, trainable_embedding=False, layer_rate_decay=0.5),
        "params.yaml: experiments.lstm: layer_rate_decay is about layers below the head, and layers is 0 and the "
        "embedding is frozen: switch layer_rate_decay off, or set trainable_embedding to true.",
    ),
    "a layer that stays frozen": (
        in_lstm(layers=2, gradual_unfreezing=2, epochs=6),
        "params.yaml: experiments.lstm: gradual_unfreezing 2 trains the lowest layer from epoch 7 on, and epochs is "
        "6: raise epochs, or lower gradual_unfreezing.",
    ),
    "adversarial without a perturbation": (
        in_lstm(adversarial=1.0),
        "params.yaml: experiments.lstm: adversarial and virtual_adversarial need a perturbation above 0: set it, "
        "such as to 5.0.",
    ),
    "perturbed padding": (
        in_lstm(virtual_adversarial=1.0, perturbation=5.0, padding="left"),
        "params.yaml: experiments.lstm: adversarial and virtual_adversarial perturb words alone, and padding left is "
        "read like a word: set padding to right.",
    ),
    "entropy of nothing": (
        in_lstm(entropy_minimization=1.0),
        "params.yaml: experiments.lstm: entropy_minimization needs unlabelled texts: set unlabelled_batch, such as to "
        "batch_size.",
    ),
    "unlabelled texts that are left out": (
        in_lstm(entropy_minimization=1.0, unlabelled_batch=64),
        "params.yaml: experiments.lstm.unlabelled_batch: 64 unlabelled texts for each step, and prepare.unlabelled "
        "leaves them out: set prepare.unlabelled to true, or unlabelled_batch to 0.",
    ),
    "a seed twice": (
        lambda study: study.update(seeds=[3, 1, 3]),
        "params.yaml: seeds: [3, 1, 3] holds a seed twice, and seeds are unique: delete one.",
    ),
    "no seed": (
        lambda study: study.update(seeds=[]),
        "params.yaml: seeds: List should have at least 1 item after validation, not 0. Received: []",
    ),
    "nb_svm without settings": (
        lambda study: study["baselines"].update(bar={"kind": "nb_svm", "ngrams": 2}),
        "params.yaml: baselines.bar: nb_svm needs ngrams, min_count, inverse_regularization: "
        "add min_count, inverse_regularization.",
    ),
    "majority with settings": (
        lambda study: study["baselines"]["majority"].update(ngrams=2),
        "params.yaml: baselines.majority: majority has no settings: delete ngrams.",
    ),
    "unknown corpus": (
        lambda study: study.update(corpus="imbd"),
        "corpus 'imbd' is not in catalog.yaml. Known: imdb, rotten_tomatoes.",
    ),
    "unknown vectors": (
        lambda study: study["embeddings"].update(glove={"source": "gluv"}),
        f"vectors 'gluv' are not in catalog.yaml. Known: {KNOWN_VECTORS}.",
    ),
    "another dimension": (
        lambda study: study["embeddings"]["glove-50d"].update(dimension=100),
        "params.yaml: embeddings.glove-50d.dimension: the catalog's 'glove-50d' has 50 dimensions. "
        "Received: 100. Delete the key.",
    ),
    "no dimension": (
        lambda study: study["embeddings"]["drawn"].pop("dimension"),
        "params.yaml: embeddings.drawn.dimension: 'random' is made here, so say its dimension.",
    ),
    "word2vec without epochs": (
        lambda study: study["embeddings"].update(own={"source": "word2vec", "dimension": 4, "window": 2}),
        "params.yaml: embeddings.own.epochs: belongs to embeddings trained here (word2vec), and they need it: add it.",
    ),
    "file_words of what is made here": (
        lambda study: study["embeddings"]["drawn"].update(file_words=20000),
        "params.yaml: embeddings.drawn.file_words: belongs to published vectors, and 'random' is made here. "
        "Delete the key.",
    ),
    "epochs without word2vec": (
        lambda study: study["embeddings"]["drawn"].update(epochs=2),
        "params.yaml: embeddings.drawn.epochs: belongs to embeddings trained here (word2vec), "
        "and they need it: delete the key.",
    ),
}


def test_unlabelled_texts_that_the_study_has_can_be_read(tmp_path: Path) -> None:
    def change(study: dict[str, Any]) -> None:
        study["prepare"]["unlabelled"] = True
        study["experiments"]["lstm"].update(entropy_minimization=1.0, unlabelled_batch=64)

    assert load(tmp_path, change).experiments["lstm"].unlabelled_batch == 64


def test_students_are_experiments_and_runs_know_what_they_are_made_of(tmp_path: Path) -> None:
    def change(study: dict[str, Any]) -> None:
        study["ensembles"] = {"vote": {"of": ["lstm", "majority"]}, "both": {"of": ["vote", "small"]}}
        study["students"] = {"small": {"embedding": "drawn", "teacher": "vote"}}

    params = load(tmp_path, change)
    assert params.experiments["small"].model_dump() == {**PLAIN, "embedding": "drawn", "teacher": "vote"}
    assert params.runs == ["lstm", "wide", "conv", "small", "majority", "vote", "both"]
    assert {run: params.level(run) for run in params.runs if params.level(run)} == {"vote": 1, "small": 2, "both": 3}
    assert [params.stage(run) for run in ("lstm", "small", "majority", "both")] == [
        "train@lstm",
        "student@small",
        "baseline@majority",
        "ensemble@both",
    ]


@pytest.mark.parametrize("mistake", MISTAKES)
def test_an_error_is_reported_in_full(tmp_path: Path, mistake: str) -> None:
    change, message = MISTAKES[mistake]
    with pytest.raises(TextrnnError) as error:
        load(tmp_path, change)
    assert str(error.value) == message


def test_all_errors_are_reported_at_once(tmp_path: Path) -> None:
    with pytest.raises(TextrnnError) as error:
        load(tmp_path, in_lstm(cell="gruu", units=0, layer=2))
    assert [line.split(": ")[1] for line in str(error.value).splitlines()] == [
        "experiments.lstm.cell",
        "experiments.lstm.units",
        "experiments.lstm.layer",
    ]


def test_two_experiments_of_one_name(tmp_path: Path) -> None:
    """Another parser would take the last one, and the first would be gone without a word."""
    load(tmp_path)
    file = tmp_path / "params.yaml"
    lines = file.read_text().splitlines()
    at = lines.index("experiments:")
    file.write_text("\n".join([*lines[: at + 1], "  lstm: {embedding: drawn, units: 3}", *lines[at + 1 :]]))
    with pytest.raises(TextrnnError) as error:
        load_params(file)
    assert str(error.value) == (
        f"{file}, line {at + 3}: 'lstm' occurs here a second time. Names are unique: rename or delete one."
    )


def test_another_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(TextrnnError) as error:
        load_params()
    assert str(error.value) == (
        f"params.yaml: no such file in {tmp_path}. Run this in the project's top folder, "
        "with params.yaml, catalog.yaml and dvc.yaml."
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("study: [", r"params\.yaml is not valid YAML: .*line 1"),
        ("- study", r"params\.yaml must hold a mapping of keys to values\. Received: \['study'\]"),
        ("", r"params\.yaml must hold a mapping of keys to values\. Received: None"),
    ],
)
def test_not_a_study(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "params.yaml").write_text(content)
    with pytest.raises(TextrnnError, match=f"(?s){message}"):
        load_params(tmp_path / "params.yaml")


@pytest.mark.parametrize("text", ["study: tiny\n{{ name }}: 1\n", "[a, b]: 1\n"])
def test_a_key_that_is_no_name_is_refused_with_its_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(TextrnnError, match=r"params.yaml, line \d: YAML reads a list or mapping where a name belongs"):
        load_params(tmp_path / "params.yaml")
