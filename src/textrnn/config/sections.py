"""The sections of `params.yaml`, except experiments, searches, language models and ensembles, which have modules."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from textrnn.config.validation import Count, Name, Positive, Strict

Level = Annotated[float, Field(gt=0, lt=0.5)]
Limit = Annotated[float, Field(ge=0, le=1)] | None


class Prepare(Strict):
    """How the splits are drawn, where the corpus does not bring them.

    `valid` and `test` are shares of the groups (films) where groups are known, else of the examples. `leakage` says
    what happens to an example whose text also occurs in a later split (train < valid < test): `drop` it, or `keep`
    it. `unlabelled` also reads the texts without a label, where the corpus has some. `seed` is that of the draw.
    """

    valid: Level = 0.15
    test: Level = 0.2
    seed: Annotated[int, Field(ge=0)] = 0
    leakage: Literal["drop", "keep"] = "drop"
    unlabelled: bool = False


class Encode(Strict):
    """The vocabulary: the most frequent words of the train split.

    It has `vocabulary_size` entries at most, padding and the unknown word among them, and no word that occurs less than
    `min_count` times.
    """

    vocabulary_size: Annotated[int, Field(ge=3)] = 20_000
    min_count: Count = 1


class EmbeddingParams(Strict):
    """One embedding matrix: a `source` from the catalog, and settings of what is made here.

    `dimension` is the length of vectors that are drawn or trained here. word2vec reads the training texts so many
    `epochs`, and takes up to `window` words to the left and to the right of a word as its context.

    A network that starts from published vectors also knows the first `file_words` words of their file that the
    vocabulary lacks (0: none). Training does not change their vectors.
    """

    source: Name
    dimension: Annotated[int, Field(ge=1, le=4096)] | None = None
    epochs: Count | None = None
    window: Count | None = None
    file_words: Annotated[int, Field(ge=0)] = 20_000


class BaselineParams(Strict):
    """A model without a network.

    Its `kind` is `majority`, the most frequent class, or `nb_svm`, the linear model of Wang & Manning (ACL 2012). That
    one counts n-grams of up to `ngrams` words that occur in `min_count` training texts, and
    `inverse_regularization` is the C of its logistic regression.
    """

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


class ExplanationParams(Strict):
    """What the report says of why a run predicts what it does, on validation texts.

    Of its first seed, `mistakes` are explained: those of which it is surest. Words are deleted from `texts`, spread
    evenly over the split, for every seed.
    """

    mistakes: Count = 5
    texts: Count = 200


class Promotion(Strict):
    """When a challenger becomes champion: better beyond chance at `level`, or cheaper and worse by less than `margin`.

    `level` is the largest probability of error, `margin` a difference of accuracy.
    """

    level: Level = 0.05
    margin: Annotated[float, Field(ge=0, lt=0.5)] = 0.005


class Serving(Strict):
    """What a served champion answers: `textrnn serve`.

    It refuses a body of more than `max_bytes`, more than so many `requests` at once, and a body that is not complete
    after so many `seconds`, which is also the longest time that scoring may take.
    """

    max_bytes: Count = 1_000_000
    requests: Count = 128
    seconds: Count = 60


CLUSTER = "TEXTRNN_CLUSTER"
"""The address of the Ray cluster on which a search trains, as `textrnn repro --engine ray` sets it."""


class Resources(Strict):
    """What a stage gets on a Ray cluster: `textrnn repro --engine ray`.

    Of a search each training gets it. A training computes on one of its `cpus`, or on a GPU where `gpus`, which may be
    a fraction, is above 0; a language model uses all its `cpus`. `memory_gb` is reserved, but not enforced: Ray starts
    no task on a node that lacks it.
    """

    cpus: Count = 1
    gpus: Annotated[float, Field(ge=0)] = 0.0
    memory_gb: Positive | None = None


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
    """A figure from the literature that a run is compared with.

    `experiment` names the run, `accuracy` is the figure, and `source` says where it was published. `measure` says what
    it is: the accuracy on validation data at the epoch where that is highest or at the last one, or on the test split.
    Where a part of the train split is held out, that part is the validation data. `uses` says what the figure needed
    besides the labelled texts of the corpus, and `chose_on` on what its settings and its epoch were chosen, as far as
    the source states it.
    """

    experiment: Name
    measure: Literal["best_epoch", "last_epoch", "test"]
    accuracy: Annotated[float, Field(gt=0, lt=1)]
    source: str
    uses: list[Literal["unlabelled texts", "outside texts", "ensemble"]] = []
    chose_on: Literal["validation", "test"] | None = None
