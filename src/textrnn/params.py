"""`params.yaml`: the active study, validated before anything runs.

Every hyperparameter stands there once; the code has no defaults of its own. An experiment is the
`train` section with what the experiment changes laid over it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from textrnn.catalog import Catalog
from textrnn.errors import TextrnnError
from textrnn.validation import Name, Strict, validate
from textrnn.yaml_file import read_yaml

Fraction = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]

RECURRENT_CELLS = ("simple_rnn", "lstm", "gru")


class Prepare(Strict):
    """How the splits are drawn, where the corpus does not bring them.

    `valid` and `test` are shares of the groups (films) where groups are known, else of the
    examples. `leakage` says what happens to an example whose text stands in a later split too
    (train < valid < test): `drop` it, or `keep` it.
    """

    valid: Annotated[float, Field(gt=0, lt=0.5)]
    test: Annotated[float, Field(gt=0, lt=0.5)]
    seed: Annotated[int, Field(ge=0)]
    leakage: Literal["drop", "keep"]
    unlabelled: bool


class Encode(Strict):
    """Vocabulary and length limits. `keep` says which end of a longer text survives."""

    vocabulary_size: Annotated[int, Field(ge=3)]
    min_count: Count
    max_tokens: Count
    keep: Literal["start", "end", "both"]


class EmbeddingParams(Strict):
    """One embedding matrix: a `source` from the catalog, and settings of what is made here."""

    source: Name
    dimension: Annotated[int, Field(ge=1, le=4096)] | None = None
    epochs: Count | None = None
    window: Count | None = None


class BaselineParams(Strict):
    """A model without a network. `nb_svm` is the one of Wang & Manning (ACL 2012)."""

    kind: Literal["majority", "nb_svm"]
    ngrams: Annotated[int, Field(ge=1, le=5)] | None = None
    min_count: Count | None = None
    inverse_regularization: Positive | None = None

    @model_validator(mode="after")
    def _settings_of_its_kind(self) -> Self:
        settings = ("ngrams", "min_count", "inverse_regularization")
        given = [key for key in settings if getattr(self, key) is not None]
        missing = [key for key in settings if key not in given]
        if self.kind == "nb_svm" and missing:
            raise ValueError(f"nb_svm needs {', '.join(settings)}: add {', '.join(missing)}")
        if self.kind == "majority" and given:
            raise ValueError(f"majority has no settings: delete {', '.join(given)}")
        return self


class Experiment(Strict):
    """One trained model: what it starts from, its architecture, its regularization, its training.

    `gradient_clip` is the largest global norm, `ema` the momentum of the averaged weights,
    `early_stopping` the number of epochs without a better validation loss after which training
    stops and the best epoch's weights come back; `null` switches each off. `embedding_dropout`
    drops whole words, `spatial_dropout` whole embedding channels, `dropout` parts of the readout.
    """

    embedding: Name
    trainable_embedding: bool
    cell: Literal["simple_rnn", "lstm", "gru", "conv1d", "feedforward"]
    units: Annotated[int, Field(ge=1, le=4096)]
    layers: Annotated[int, Field(ge=1, le=8)]
    bidirectional: bool
    readout: Literal["last", "max", "mean"]
    embedding_dropout: Fraction
    spatial_dropout: Fraction
    recurrent_dropout: Fraction
    dropout: Fraction
    l2: Annotated[float, Field(ge=0)]
    label_smoothing: Fraction
    gradient_clip: Positive | None
    ema: Annotated[float, Field(gt=0, lt=1)] | None
    early_stopping: Count | None
    optimizer: Literal["adam", "rmsprop"]
    learning_rate: Annotated[float, Field(gt=0, le=1)]
    batch_size: Count
    epochs: Count

    @model_validator(mode="after")
    def _recurrent_knobs_need_a_recurrent_cell(self) -> Self:
        if self.cell not in RECURRENT_CELLS:
            for knob in ("bidirectional", "recurrent_dropout"):
                if getattr(self, knob):
                    raise ValueError(
                        f"{knob} needs a recurrent cell ({', '.join(RECURRENT_CELLS)}), and cell is "
                        f"{self.cell}: switch {knob} off or change the cell"
                    )
        return self


class Params(Strict):
    """The whole study. `experiments` holds each experiment complete, defaults merged in."""

    study: Name
    corpus: Name
    seeds: Annotated[list[Annotated[int, Field(ge=0, lt=2**31)]], Field(min_length=1)]
    prepare: Prepare
    encode: Encode
    embeddings: dict[Name, EmbeddingParams]
    baselines: dict[Name, BaselineParams]
    train: dict[str, Any]
    experiments: Annotated[dict[Name, Experiment], Field(min_length=1)]

    @model_validator(mode="after")
    def _names_lead_somewhere(self) -> Self:
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"seeds: {self.seeds} holds a seed twice, and seeds are unique: delete one")
        for name in sorted(set(self.experiments) & set(self.baselines)):
            raise ValueError(
                f"{name!r} names a baseline and an experiment, and both would write runs/{name}: rename one"
            )
        for name, experiment in self.experiments.items():
            if experiment.embedding not in self.embeddings:
                raise ValueError(
                    f"experiments.{name}.embedding: no embedding {experiment.embedding!r}. "
                    f"Known: {', '.join(sorted(self.embeddings))}"
                )
        return self

    def check_against(self, catalog: Catalog) -> None:
        """Raises `TextrnnError` for a corpus or source the catalog lacks, or a setting that does not fit it."""
        catalog.corpus(self.corpus)
        for name, embedding in self.embeddings.items():
            where = f"params.yaml: embeddings.{name}"
            source = catalog.vector_source(embedding.source)
            if source.dimension is None and embedding.dimension is None:
                raise TextrnnError(f"{where}.dimension: {embedding.source!r} is made here, so say its dimension.")
            if source.dimension is not None and embedding.dimension not in (None, source.dimension):
                raise TextrnnError(
                    f"{where}.dimension: the catalog's {embedding.source!r} has {source.dimension} dimensions. "
                    f"Received: {embedding.dimension}. Delete the key."
                )
            for key in ("epochs", "window"):
                given = getattr(embedding, key) is not None
                if given != (source.format == "word2vec-training"):
                    raise TextrnnError(
                        f"{where}.{key}: belongs to embeddings trained here (word2vec), and they need it: "
                        + ("delete the key." if given else "add it.")
                    )


def load_params(path: Path = Path("params.yaml"), catalog: Catalog | None = None) -> Params:
    """Returns the validated study at `path`, also checked against `catalog` where that is given.

    Raises:
        TextrnnError: names each key that breaks a rule, the rule, and what was received.
    """
    content = read_yaml(path)
    defaults, experiments = content.get("train"), content.get("experiments")
    if isinstance(defaults, dict) and isinstance(experiments, dict):
        merged = {
            name: {**defaults, **(changes or {})} if isinstance(changes, dict | None) else changes
            for name, changes in experiments.items()
        }
        _check_defaults(defaults, path)
        content = {**content, "experiments": merged}
    params = validate(Params, content, path.name)
    if catalog is not None:
        params.check_against(catalog)
    return params


def _check_defaults(defaults: dict[str, Any], path: Path) -> None:
    """A mistake in the defaults is told once, there, and not once for every experiment."""
    validate(Experiment, {"embedding": "named-by-each-experiment", **defaults}, f"{path.name}: train")
