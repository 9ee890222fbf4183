"""Floating-point operations of a training and of a prediction: a measure of cost that does not depend on the machine.

Counted are the multiplications and additions of matrix products on real tokens, without padding; a training step costs
three times the forward pass (forward, gradients of inputs, gradients of weights). Hoffmann et al., NeurIPS 2022,
appendix F, count the same way.
"""

import math

from textrnn.modeling.backend import keras
from textrnn.modeling.convolution import POOLED
from textrnn.modeling.layers import Attention, PoolText

FORWARD_AND_BACKWARD = 3
"""What a plain training step costs, in forward passes."""


def training_flops(model: keras.Model, tokens: float, examples: float, passes: float = FORWARD_AND_BACKWARD) -> float:
    """Returns the operations spent on `tokens` and `examples`, both counted once per epoch seen.

    `passes` are what a step costs, in forward passes.
    """
    per_token, per_example = _forward_flops(model)
    return passes * (per_token * tokens + per_example * examples)


def prediction_flops(model: keras.Model, tokens: float) -> float:
    """Returns the operations that one text of `tokens` takes to score."""
    per_token, per_example = _forward_flops(model)
    return per_token * tokens + per_example


def _forward_flops(model: keras.Model) -> tuple[float, float]:
    """Each number of a kernel takes one multiplication and one addition: per example in dense layers, else per step."""
    per_token, per_example, tokens_per_step = 0.0, 0.0, 1
    for layer in model.layers:
        flops = 2 * sum(math.prod(weight.shape) for weight in layer.weights if "kernel" in weight.name)
        if isinstance(layer, keras.layers.Dense):
            per_example += flops
        else:
            if isinstance(layer, Attention):
                flops += 2 * layer.query.shape[0]  # the weighted sum: each number of a state is multiplied and added
            per_token += flops / tokens_per_step
        if isinstance(layer, PoolText):
            tokens_per_step *= POOLED
    return per_token, per_example
