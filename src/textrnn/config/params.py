"""`params.yaml`: the active study, validated before anything runs.

An experiment is the `train` section with what the experiment changes laid over it. What a study does not name has
the default that its model states.

Models hold settings and rules, and compute nothing: the plan of a stage covers its settings, not this code.
"""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from textrnn.config.catalog import Catalog
from textrnn.config.experiment import Experiment
from textrnn.config.search import Search
from textrnn.config.validation import Count, Name, Positive, Seed, Strict, validate
from textrnn.config.yaml_file import read_yaml
from textrnn.errors import TextrnnError

Level = Annotated[float, Field(gt=0, lt=0.5)]
Limit = Annotated[float, Field(ge=0, le=1)] | None


class Prepare(Strict):
    """How the splits are drawn, where the corpus does not bring them.

    `valid` and `test` are shares of the groups (films) where groups are known, else of the examples. `leakage` says
    what happens to an example whose text also occurs in a later split (train < valid < test): `drop` it, or `keep`
    it. `unlabelled` also reads the texts without a label, where the corpus has some.
    """

    valid: Level = 0.15
    test: Level = 0.2
    seed: Annotated[int, Field(ge=0)] = 0
    leakage: Literal["drop", "keep"] = "drop"
    unlabelled: bool = False


class Encode(Strict):
    """The vocabulary: of the words that occur `min_count` times in the train split, the most frequent."""

    vocabulary_size: Annotated[int, Field(ge=3)] = 20_000
    min_count: Count = 1


class EmbeddingParams(Strict):
    """One embedding matrix: a `source` from the catalog, and settings of what is made here.

    A network that starts from published vectors also knows the first `file_words` words of their file that the
    vocabulary lacks (0: none). Training does not change their vectors.
    """

    source: Name
    dimension: Annotated[int, Field(ge=1, le=4096)] | None = None
    epochs: Count | None = None
    window: Count | None = None
    file_words: Annotated[int, Field(ge=0)] = 20_000


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


class Promotion(Strict):
    """When a challenger becomes champion: better beyond chance at `level`, or cheaper and worse by less than `margin`.

    `level` is the largest probability of error, `margin` a difference of accuracy.
    """

    level: Level = 0.05
    margin: Annotated[float, Field(ge=0, lt=0.5)] = 0.005


class DataCheck(Strict):
    """How far a new version of the corpus may differ from the one that the champion was trained on: the largest values.

    What is left out is not limited. `lost` is a share of the examples; `label_shift` the total variation distance
    between the shares of the classes; `length_shift` and `score_shift` are Kolmogorov-Smirnov distances, of
    texts' lengths and of the champion's probabilities; `unknown_words` and `duplicates` are rises of a share, of
    running words that the champion does not know and of texts that occur more than once; `leakage` is
    the share of validation and test texts that also occur in an earlier split.
    """

    lost: Limit = None
    label_shift: Limit = None
    length_shift: Limit = None
    score_shift: Limit = None
    unknown_words: Limit = None
    duplicates: Limit = None
    leakage: Limit = None


class Comparisons(Strict):
    """Which experiments are tested against each other, on the test split.

    Each experiment is compared with every run in `against`, and the experiments of each of `pairs`,
    `[first, second]`; experiments that differ in one factor alone are compared anyway. `level` is
    the largest probability of any false finding among all of these.
    """

    level: Level = 0.05
    against: list[Name] = []
    pairs: list[Annotated[list[Name], Field(min_length=2, max_length=2)]] = []


class Published(Strict):
    """A figure from the literature that an experiment is compared with.

    `measure` says what it is: the accuracy on validation data at the epoch where that is highest or
    at the last one, or on the test split. Where a part of the train split is held out, that part is the
    validation data.
    """

    experiment: Name
    measure: Literal["best_epoch", "last_epoch", "test"]
    accuracy: Annotated[float, Field(gt=0, lt=1)]
    source: str


class Params(Strict):
    """The whole study. dvc.yaml itself reads its name, and the names under the sections that it runs stages for.

    `train` and each of `experiments` are complete, defaults merged in. `probes`, which may be empty, names
    experiments in whose networks the gradient is followed back through the text.
    """

    study: Name
    corpus: Name
    seeds: Annotated[list[Seed], Field(min_length=1)] = [0, 1, 2]
    prepare: Prepare = Prepare()
    encode: Encode = Encode()
    embeddings: dict[Name, EmbeddingParams]
    baselines: dict[Name, BaselineParams] = {}
    comparisons: Comparisons = Comparisons()
    probes: list[Name]
    promotion: Promotion = Promotion()
    data_check: DataCheck = DataCheck()
    published: list[Published] = []
    train: dict[str, Any] = {}
    experiments: Annotated[dict[Name, Experiment], Field(min_length=1)]
    searches: dict[Name, Search] = {}

    @model_validator(mode="after")
    def _names_lead_somewhere(self) -> Self:
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"seeds: {self.seeds} holds a seed twice, and seeds are unique: delete one")
        kinds: dict[str, dict[str, Any]] = {
            "a baseline": self.baselines,
            "an experiment": self.experiments,
            "a search": self.searches,
        }
        for (kind, these), (other, those) in combinations(kinds.items(), 2):
            for name in sorted(these.keys() & those.keys()):
                raise ValueError(f"{name!r} names {kind} and {other}, and both would write runs/{name}: rename one")
        for name, experiment in self.experiments.items():
            if experiment.embedding not in self.embeddings:
                raise ValueError(
                    f"experiments.{name}.embedding: no embedding {experiment.embedding!r}. "
                    f"Known: {', '.join(sorted(self.embeddings))}"
                )
        for name, search in self.searches.items():
            self._check_search(name, search)
        runs = {*self.experiments, *self.baselines, *self.searches}
        named: dict[str, list[str]] = {"comparisons.against": self.comparisons.against, "probes": self.probes}
        named["published"] = [figure.experiment for figure in self.published]
        named["comparisons.pairs"] = [name for pair in self.comparisons.pairs for name in pair]
        for key, names in named.items():
            known = self.experiments.keys() if key in ("probes", "published") else runs
            for name in names:
                if name not in known:
                    raise ValueError(f"{key}: no run {name!r}. Known: {', '.join(sorted(known))}")
        for name in self.probes:
            if self.experiments[name].padding == "left":
                raise ValueError(
                    f"probes: {name} has padding left, and would be probed on padding: name one with padding right"
                )
        return self

    def _check_search(self, name: str, search: Search) -> None:
        where = f"searches.{name}"
        if search.start not in self.experiments:
            known = ", ".join(sorted(self.experiments))
            raise ValueError(f"{where}.start: no experiment {search.start!r}. Known: {known}")
        search.check(where, self.experiments[search.start])
        embeddings = search.space["embedding"].choices if "embedding" in search.space else []
        for missing in [each for each in embeddings if each not in self.embeddings]:
            known = ", ".join(sorted(self.embeddings))
            raise ValueError(f"{where}.space.embedding: no embedding {missing!r}. Known: {known}")
        if shared := sorted({*search.seeds_in(search.rungs - 1)} & {*self.seeds}):
            raise ValueError(
                f"{where}.seed: seeds {shared} are the study's, and its winner is to be trained with fresh ones: "
                "choose another seed"
            )

    def stage(self, run: str) -> str:
        """Returns the name of the stage that makes a run."""
        if run in self.searches:
            return f"winner@{run}"
        return f"baseline@{run}" if run in self.baselines else f"train@{run}"

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
            if "file_words" in embedding.model_fields_set and source.source == "none":
                raise TextrnnError(
                    f"{where}.file_words: belongs to published vectors, and {embedding.source!r} is made here. "
                    "Delete the key."
                )


def load_params(path: Path = Path("params.yaml"), catalog: Catalog | None = None) -> Params:
    """Returns the validated study at `path`, also checked against `catalog` where that is given.

    Raises:
        TextrnnError: names each key that breaks a rule, the rule, and what was received.
    """
    content = read_yaml(path)
    train, experiments = content.get("train", {}), content.get("experiments")
    if isinstance(train, dict) and isinstance(experiments, dict):
        # Validated first, so that a mistake in `train` is reported once, and not for every experiment.
        complete = validate(Experiment, {"embedding": "of-each-experiment", **train}, f"{path.name}: train")
        merged = {
            name: {**train, **(changes or {})} if isinstance(changes, dict | None) else changes
            for name, changes in experiments.items()
        }
        defaults = complete.model_dump(exclude={"embedding"} - train.keys())
        content = {**content, "train": defaults, "experiments": merged}
    params = validate(Params, content, path.name)
    if catalog is not None:
        params.check_against(catalog)
    return params
