"""One trained model: every setting of an experiment, its default, and the rules between settings.

To add a setting, add a field whose default is off (0, None, false or empty) and means what the code did before: then
studies stay valid, and plans and runs stay current.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from textrnn.config.validation import Count, Fraction, Name, Positive, Strict

RECURRENT_CELLS = ("simple_rnn", "lstm", "gru")


class Experiment(Strict):
    """One trained model: what it starts from, what it reads, its architecture, regularization and training.

    The defaults train a small LSTM that learns its embedding. What regularizes is off, except `rare_word_dropout`.

    Of a text longer than `max_tokens`, `keep` says which end is read; `reverse` reads it from there backwards. With
    `padding: right` a network never sees padding, whose length is that of the batch; with `left` every text is filled
    up to `max_tokens` with zeros in front, which the network reads like a word, as Keras' `pad_sequences` and layers
    without a mask do. The readout `flatten` joins all positions, so it needs `left`.

    `train_examples` trains on so many examples, drawn anew for every seed; `held_out` is the share of the train split
    that is drawn, also for every seed, to measure each epoch on instead: validation at random, to compare with the
    validation split, which is drawn by group.

    `gradient_clip` is the largest global norm, `ema` the momentum of the averaged weights, `early_stopping` the number
    of epochs without a better validation loss after which training stops and the best epoch's weights come back;
    `null` switches each off. `embedding_dropout` drops whole words, `spatial_dropout` whole embedding channels,
    `dropout` parts of the readout.

    `rare_word_dropout` lets training read unknown words: a word that occurs n times in what is read of the training
    texts is taken as unknown with probability a / (a + n), drawn anew for every batch (Kiperwasser & Goldberg, TACL
    2016). With a = 1 that is one half for a word that occurs once, as in Dyer et al. (ACL 2015). A frozen embedding
    keeps the unknown word's vector, and the layers behind it learn to read it. 0 switches it off; it is on by default,
    because a vocabulary without rare words left out would never train the unknown word, which every new text has.
    """

    embedding: Name
    trainable_embedding: bool = True
    max_tokens: Count = 256
    keep: Literal["start", "end", "both"] = "both"
    reverse: bool = False
    padding: Literal["left", "right"] = "right"
    cell: Literal["simple_rnn", "lstm", "gru", "conv1d", "feedforward"] = "lstm"
    units: Annotated[int, Field(ge=1, le=4096)] = 32
    layers: Annotated[int, Field(ge=0, le=8)] = 1
    bidirectional: bool = False
    readout: Literal["last", "max", "mean", "flatten"] = "last"
    rare_word_dropout: Annotated[float, Field(ge=0)] = 1.0
    embedding_dropout: Fraction = 0.0
    spatial_dropout: Fraction = 0.0
    recurrent_dropout: Fraction = 0.0
    dropout: Fraction = 0.0
    l2: Annotated[float, Field(ge=0)] = 0.0
    label_smoothing: Fraction = 0.0
    gradient_clip: Positive | None = None
    ema: Annotated[float, Field(gt=0, lt=1)] | None = None
    early_stopping: Count | None = None
    train_examples: Count | None = None
    held_out: Fraction = 0.0
    optimizer: Literal["adam", "rmsprop"] = "adam"
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 0.003
    batch_size: Count = 256
    epochs: Count = 4

    @model_validator(mode="after")
    def _settings_fit_each_other(self) -> Self:
        if self.cell not in RECURRENT_CELLS:
            for knob in ("bidirectional", "recurrent_dropout"):
                if getattr(self, knob):
                    raise ValueError(
                        f"{knob} needs a recurrent cell ({', '.join(RECURRENT_CELLS)}), and cell is "
                        f"{self.cell}: switch {knob} off or change the cell"
                    )
        if self.layers == 0 and self.cell != "feedforward":
            raise ValueError(f"layers is 0, which only cell feedforward can do without, and cell is {self.cell}")
        if self.readout == "flatten" and self.padding != "left":
            raise ValueError("readout flatten needs texts of one length: set padding to left, or change the readout")
        if self.readout == "flatten" and self.cell == "conv1d" and self.layers > 1:
            raise ValueError("readout flatten cannot join what conv1d pools: set layers to 1, or change the readout")
        return self


OFF = {name: field.default for name, field in Experiment.model_fields.items() if not field.default}
"""The settings of an experiment that are off by default, and their values."""
