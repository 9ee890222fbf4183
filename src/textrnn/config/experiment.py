"""One trained model: every setting of an experiment, its default, and the rules between settings.

To add a setting, add a field whose default is off (0, None, false or empty) and means what the code did before: then
studies stay valid, and plans name it only where it is set.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from textrnn.config.validation import Count, Fraction, Name, Positive, Strict

Weight = Annotated[float, Field(ge=0)]

RECURRENT_CELLS = ("simple_rnn", "lstm", "gru")
RECURRENT_KNOBS = (
    "pretrained_layers",
    "bidirectional",
    "recurrent_dropout",
    "recurrent_weight_dropout",
    "layer_dropout",
    "temporal_activation_regularization",
)


class Experiment(Strict):
    """One trained model: what it starts from, what it reads, its architecture, regularization and training.

    `embedding` names one of the study's embeddings, and `trainable_embedding` lets training change its vectors. A
    network has so many `layers` of so many `units`. Its `cell` is a recurrent one, `conv1d` (convolutions with max
    pooling between them), or `feedforward` (dense layers behind the readout). `bidirectional` gives every layer a
    second direction with as many units. `readout` makes one vector of all states: the `last`, or their `max` or `mean`
    over time.

    `optimizer` takes one step of size `learning_rate` for every `batch_size` texts, and reads all texts so many
    `epochs`.

    The defaults train a small LSTM that learns its embedding. What regularizes is off, except `rare_word_dropout`.

    An `embedding` may be that of a language model (`pretraining.py`). With `pretrained_layers` the recurrent layers
    start from those of the language model, too (Dai & Le, NeurIPS 2015).

    Of a text longer than `max_tokens`, `keep` says which end is read; `reverse` reads it from there backwards. With
    `padding: right` a network never sees padding, whose length is that of the batch; with `left` every text is filled
    up to `max_tokens` with zeros in front, which the network reads like a word, as Keras' `pad_sequences` and layers
    without a mask do. The readout `flatten` joins all positions, so it needs `left`.

    `train_examples` trains on so many examples, drawn anew for every seed; `held_out` is the share of the train split
    that is drawn, also for every seed, to measure each epoch on instead: validation at random, to compare with the
    validation split, which is drawn by group.

    With `refit` each seed is trained a second time, from its beginning, on the texts of the first training and on the
    validation texts together, for as many epochs as the first one kept. The model that is saved, and what it predicts
    for the test split, are of the second training; everything about validation is of the first.

    The readout makes one vector of the sequence: the state at the end (`last`), the maximum (`max`) or the mean
    (`mean`) over time, or these three side by side (`concat`; Howard & Ruder, ACL 2018). `attention` is the weighted
    mean over time whose weights a learned query gives (Yang et al., NAACL 2016). A bidirectional network is read
    direction by direction, except that attention weighs a word by what both directions make of it, as there.

    `gradient_clip` is the largest global norm, `ema` the momentum of the averaged weights, `early_stopping` the number
    of epochs without a better validation loss after which training stops and the best epoch's weights come back;
    `null` switches each off. `embedding_dropout` drops whole words, `spatial_dropout` whole embedding channels,
    `layer_dropout` whole channels between two recurrent layers (Gal & Ghahramani, NeurIPS 2016), `dropout` parts of
    the readout.

    `recurrent_dropout` drops parts of the state that a step gets from the one before: of each text the same ones at
    every step (Gal & Ghahramani, NeurIPS 2016). `recurrent_weight_dropout` drops weights from state to state instead,
    with one mask for all texts and steps of a batch (DropConnect; Wan et al., ICML 2013; Merity et al., ICLR 2018), so
    it takes no longer than a training without. `temporal_activation_regularization` is the weight, in the loss, of the
    mean squared difference between successive outputs of the last recurrent layer: of each text, then of the batch
    (Merity et al., "Revisiting Activation Regularization for Language RNNs", 2017). `l2` is the weight of the sum of
    the kernels' squares. `label_smoothing` is the share of the target that all classes get in equal parts (Szegedy et
    al., CVPR 2016).

    `rare_word_dropout` lets training read unknown words: a word that occurs n times in what is read of the training
    texts is taken as unknown with probability a / (a + n), drawn anew for every batch (Kiperwasser & Goldberg, TACL
    2016). With a = 1 that is one half for a word that occurs once, as in Dyer et al. (ACL 2015). A frozen embedding
    keeps the unknown word's vector, and the layers behind it learn to read it. 0 switches it off; it is on by default,
    because a vocabulary without rare words left out would never train the unknown word, which every new text has.

    With `class_weights: balanced` the loss of a text weighs n / (k x count), where `count` of the n texts that are
    trained on have its label, one of k (King & Zeng, Political Analysis 2001). The validation loss is not weighted.

    `optimizer: adamw` is Adam with decoupled `weight_decay` (Loshchilov & Hutter, ICLR 2019): a step takes the learning
    rate times `weight_decay` of every kernel away. Like `l2` it leaves out biases and the embedding, of which every
    step would also shrink the words that the batch does not have.

    `schedule` lets the learning rate fall from step to step, over all `epochs`: `linear`, or along a half `cosine`
    (Loshchilov & Hutter, ICLR 2017). Before that it rises for `warm_up`, a fraction of the steps (Goyal et al., 2017).
    `slanted_triangular` (Howard & Ruder, ACL 2018) rises from 1/32 of `learning_rate` and falls to that; its `warm_up`
    is 0.1 in the paper. With `null` the rate stays.

    For fine-tuning (Howard & Ruder, ACL 2018): a layer's learning rate is `layer_rate_decay` times that of the layer
    above it, 1 / 2.6 in the paper. With `gradual_unfreezing` the head (readout and logits) is trained alone for so many
    epochs, and one more layer from the top after each so many; the embedding is the lowest. `null` switches each off.

    `normalize_embedding` reads each dimension of the embedding with mean 0 and variance 1 over the words, weighted by
    how often they occur in the training texts (Miyato, Dai & Goodfellow, ICLR 2017, 2.1). Without it a network can make
    a perturbation small by making its vectors large.

    `adversarial` and `virtual_adversarial` add losses on texts whose sequence of vectors is perturbed by a sequence of
    the L2 norm `perturbation` (ε of the same paper): the cross-entropy of labelled texts, perturbed in the direction in
    which the loss grows most; and the divergence of a text's prediction from that without the perturbation, in the
    direction in which it grows most, which needs no label. `entropy_minimization` adds the entropy of the prediction of
    unlabelled texts (Grandvalet & Bengio, NeurIPS 2004). Each is the weight of its loss (Sachan, Zaheer &
    Salakhutdinov, AAAI 2019, add all three with weight 1). A step also reads `unlabelled_batch` texts without a label,
    on which the last two act. Without a loss that reads them, `perturbation` and `unlabelled_batch` have no effect.

    `teacher` names a run of the study, such as an ensemble. The experiment then learns that run's probabilities, its
    soft targets, instead of labels (Hinton, Vinyals & Dean, Distilling the Knowledge in a Neural Network, 2015): those
    of the training texts, and of the unlabelled ones where `prepare.unlabelled` reads them. A teacher is too sure of
    the texts that it was trained on itself: there it says little more than labels do, and the unlabelled texts are what
    helps. `hard_targets` is the share of the label in the target of a labelled text; 0 switches it off.
    """

    embedding: Name
    trainable_embedding: bool = True
    pretrained_layers: bool = False
    max_tokens: Count = 256
    keep: Literal["start", "end", "both"] = "both"
    reverse: bool = False
    padding: Literal["left", "right"] = "right"
    cell: Literal["simple_rnn", "lstm", "gru", "conv1d", "feedforward"] = "lstm"
    units: Annotated[int, Field(ge=1, le=4096)] = 32
    layers: Annotated[int, Field(ge=0, le=8)] = 1
    bidirectional: bool = False
    readout: Literal["last", "max", "mean", "concat", "attention", "flatten"] = "last"
    rare_word_dropout: Annotated[float, Field(ge=0)] = 1.0
    embedding_dropout: Fraction = 0.0
    spatial_dropout: Fraction = 0.0
    recurrent_dropout: Fraction = 0.0
    recurrent_weight_dropout: Fraction = 0.0
    layer_dropout: Fraction = 0.0
    dropout: Fraction = 0.0
    l2: Annotated[float, Field(ge=0)] = 0.0
    temporal_activation_regularization: Annotated[float, Field(ge=0)] = 0.0
    label_smoothing: Fraction = 0.0
    class_weights: Literal["balanced"] | None = None
    normalize_embedding: bool = False
    perturbation: Annotated[float, Field(ge=0)] = 0.0
    adversarial: Weight = 0.0
    virtual_adversarial: Weight = 0.0
    entropy_minimization: Weight = 0.0
    unlabelled_batch: Annotated[int, Field(ge=0)] = 0
    gradient_clip: Positive | None = None
    ema: Annotated[float, Field(gt=0, lt=1)] | None = None
    early_stopping: Count | None = None
    train_examples: Count | None = None
    held_out: Fraction = 0.0
    refit: bool = False
    teacher: Name | None = None
    hard_targets: Fraction = 0.0
    optimizer: Literal["adam", "adamw", "rmsprop"] = "adam"
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 0.003
    schedule: Literal["linear", "cosine", "slanted_triangular"] | None = None
    warm_up: Fraction = 0.0
    layer_rate_decay: Annotated[float, Field(gt=0, lt=1)] | None = None
    gradual_unfreezing: Count | None = None
    batch_size: Count = 256
    epochs: Count = 4

    @model_validator(mode="after")
    def _settings_fit_each_other(self) -> Self:
        if self.cell not in RECURRENT_CELLS:
            for knob in RECURRENT_KNOBS:
                if getattr(self, knob):
                    raise ValueError(
                        f"{knob} needs a recurrent cell ({', '.join(RECURRENT_CELLS)}), and cell is "
                        f"{self.cell}: switch {knob} off or change the cell"
                    )
        if self.layers == 0 and self.cell != "feedforward":
            raise ValueError(f"layers is 0, which only cell feedforward can do without, and cell is {self.cell}")
        if self.layer_dropout and self.layers == 1:
            raise ValueError(
                "layer_dropout acts between recurrent layers, and layers is 1: set layers to 2 or more, or switch "
                "layer_dropout off"
            )
        if self.readout == "flatten" and self.padding != "left":
            raise ValueError("readout flatten needs texts of one length: set padding to left, or change the readout")
        if self.readout == "flatten" and self.cell == "conv1d" and self.layers > 1:
            raise ValueError("readout flatten cannot join what conv1d pools: set layers to 1, or change the readout")
        self._check_added_losses()
        if self.refit and (self.held_out or self.train_examples):
            raise ValueError(
                "refit trains on all training and validation texts in the end, and train_examples and held_out leave "
                "texts out: switch refit off, or these"
            )
        if self.hard_targets and not self.teacher:
            raise ValueError("hard_targets mixes labels with a teacher's probabilities: name a teacher, or delete it")
        if self.teacher and self.label_smoothing:
            raise ValueError("a teacher's probabilities are smooth already: switch label_smoothing off")
        if self.teacher and self.held_out:
            raise ValueError("held_out would measure on texts that the teacher was trained on: switch it off")
        if self.teacher and self.class_weights:
            raise ValueError("class_weights weigh labels, and a teacher's texts have none: switch class_weights off")
        if self.teacher and self.train_examples:
            raise ValueError("train_examples counts labelled texts, and a teacher teaches all texts: switch it off")
        return self

    @model_validator(mode="after")
    def _rates_fit_each_other(self) -> Self:
        if self.weight_decay and self.optimizer != "adamw":
            raise ValueError(
                f"weight_decay is {self.weight_decay}, which only optimizer adamw applies, and optimizer is "
                f"{self.optimizer}: set optimizer to adamw, or weight_decay to 0"
            )
        if self.optimizer == "adamw" and not self.weight_decay:
            raise ValueError(
                "optimizer adamw without weight_decay is adam: set weight_decay (such as 0.01), or optimizer to adam"
            )
        if self.schedule == "slanted_triangular" and not self.warm_up:
            raise ValueError(
                "schedule slanted_triangular needs warm_up, the fraction of the steps in which the learning rate "
                "rises: set it (0.1 in the paper), or schedule to linear"
            )
        below = self.layers + self.trainable_embedding
        for knob in ("layer_rate_decay", "gradual_unfreezing"):
            if getattr(self, knob) and not below:
                raise ValueError(
                    f"{knob} is about layers below the head, and layers is 0 and the embedding is frozen: switch "
                    f"{knob} off, or set trainable_embedding to true"
                )
        if self.gradual_unfreezing and self.gradual_unfreezing * below >= self.epochs:
            raise ValueError(
                f"gradual_unfreezing {self.gradual_unfreezing} trains the lowest layer from epoch "
                f"{self.gradual_unfreezing * below + 1} on, and epochs is {self.epochs}: raise epochs, or lower "
                "gradual_unfreezing"
            )
        return self

    def _check_added_losses(self) -> None:
        perturbed = self.adversarial or self.virtual_adversarial
        if perturbed and not self.perturbation:
            raise ValueError("adversarial and virtual_adversarial need a perturbation above 0: set it, such as to 5.0")
        if perturbed and self.padding == "left":
            raise ValueError(
                "adversarial and virtual_adversarial perturb words alone, and padding left is read like a word: "
                "set padding to right"
            )
        if self.entropy_minimization and not self.unlabelled_batch:
            raise ValueError("entropy_minimization needs unlabelled texts: set unlabelled_batch, such as to batch_size")


OFF = {name: field.default for name, field in Experiment.model_fields.items() if not field.default}
"""The settings of an experiment that are off by default, and their values."""
