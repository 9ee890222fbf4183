"""A language model: what of it an experiment can start from, and how it is trained on texts without their labels."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from textrnn.config.experiment import Experiment
from textrnn.config.validation import Count, Fraction, Name, Positive, Seed, Strict

SHARED = ("cell", "units", "layers", "reverse", "bidirectional")
"""The settings in which an experiment has to agree with a language model to take over its recurrent layers."""


class Pretraining(Strict):
    """One recurrent language model (Mikolov et al., Interspeech 2010) of the train and unlabelled texts.

    It starts from an `embedding` of the study, and its trained vectors are another one, in which experiments find its
    recurrent layers, too. `bidirectional` trains a second model, which reads from the other end, on the same vectors.

    The `target` `next_word` is to predict each word of a text but the first from those before it. A text is read from
    zero states, as a classifier reads it, in windows of `window` words: the state is carried from one to the next, the
    gradient is not. `autoencoder` is to write down the first `window` words of a text after having read them (Dai & Le,
    NeurIPS 2015).

    The network has `layers` of `units` of a `cell`, and reads texts from their end with `reverse`. It is trained for so
    many `epochs` of batches of `batch_size` texts; `seed` is that of all that is drawn.

    Scores of words are products with their vectors: input and output share these (Press & Wolf, EACL 2017; Inan et al.,
    ICLR 2017), through a projection where `units` is another number than the vectors' dimension. Training compares the
    right word with `samples` others, drawn for each step (sampled softmax, see `language_model.py`); 0 takes all.

    `spatial_dropout` drops channels of the vectors, and `dropout` those of each layer's outputs, the same ones for all
    words of a window (Gal & Ghahramani, NeurIPS 2016). `recurrent_weight_dropout` is DropConnect on the recurrent
    kernels (Merity et al., ICLR 2018). The `learning_rate` of Adam falls exponentially, step by step, to `decay` times
    as much at the end. `gradient_clip` is the largest global norm of the gradient of the mean loss of a word.
    """

    embedding: Name
    target: Literal["next_word", "autoencoder"] = "next_word"
    cell: Literal["simple_rnn", "lstm", "gru"] = "lstm"
    units: Annotated[int, Field(ge=1, le=4096)] = 256
    layers: Annotated[int, Field(ge=1, le=8)] = 1
    reverse: bool = False
    bidirectional: bool = False
    window: Count = 100
    samples: Annotated[int, Field(ge=0)] = 1024
    spatial_dropout: Fraction = 0.0
    dropout: Fraction = 0.0
    recurrent_weight_dropout: Fraction = 0.0
    gradient_clip: Positive | None = 1.0
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 0.002
    decay: Annotated[float, Field(gt=0, le=1)] = 0.1
    batch_size: Count = 128
    epochs: Count = 4
    seed: Seed = 0

    @model_validator(mode="after")
    def _settings_fit_each_other(self) -> Self:
        if self.bidirectional and self.layers > 1:
            raise ValueError(
                f"layers is {self.layers}, and a bidirectional model has one: each direction is a model of its own, "
                "which must not see the words that the other has read. Set layers to 1, or switch bidirectional off"
            )
        return self

    def check_start_of(self, experiment: Experiment) -> None:
        """Raises a `ValueError` if the recurrent layers of `experiment` cannot start from those of this model."""
        for key in SHARED:
            wanted, given = getattr(self, key), getattr(experiment, key)
            if wanted != given:
                raise ValueError(
                    f"pretrained_layers takes the recurrent layers of {experiment.embedding}, which has {key} "
                    f"{wanted}, and {key} is {given}: give both the same, or switch pretrained_layers off"
                )
