"""What a training, and a prediction, costs in floating-point operations, which every machine counts alike.

Counted are the multiplications and additions of matrix products on real tokens, without padding;
a training step costs three times the forward pass (forward, gradients of inputs, gradients of
weights). Hoffmann et al., NeurIPS 2022, appendix F, count the same way.
"""

from __future__ import annotations

from textrnn.config.params import CONVOLUTION_WIDTH, POOLED, Experiment

_GATES = {"simple_rnn": 1, "lstm": 4, "gru": 3}
_FORWARD_AND_BACKWARD = 3


def training_flops(experiment: Experiment, dimension: int, classes: int, tokens: float, examples: float) -> float:
    """Returns the operations spent on `tokens` and `examples`, both counted once per epoch seen."""
    per_token, per_example = _forward_flops(experiment, dimension, classes)
    return float(_FORWARD_AND_BACKWARD * (per_token * tokens + per_example * examples))


def prediction_flops(experiment: Experiment, dimension: int, classes: int, tokens: float) -> float:
    """Returns the operations that one text of `tokens` takes to score."""
    per_token, per_example = _forward_flops(experiment, dimension, classes)
    return float(per_token * tokens + per_example)


def _forward_flops(experiment: Experiment, dimension: int, classes: int) -> tuple[float, float]:
    units, width = experiment.units, dimension
    directions = 2 if experiment.bidirectional else 1
    if experiment.readout == "flatten" and experiment.cell == "feedforward":
        width *= experiment.max_tokens
    layer_flops = 0.0
    for layer in range(experiment.layers):
        if experiment.cell == "conv1d":
            layer_flops += 2 * CONVOLUTION_WIDTH * width * units / POOLED**layer
        elif experiment.cell == "feedforward":
            layer_flops += 2 * width * units
        else:
            layer_flops += 2 * directions * _GATES[experiment.cell] * units * (width + units)
        width = units * directions
    if experiment.readout == "flatten" and experiment.cell != "feedforward":
        width *= experiment.max_tokens
    head = 2 * width * classes
    return (0, layer_flops + head) if experiment.cell == "feedforward" else (layer_flops, head)
