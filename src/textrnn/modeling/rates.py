"""Learning rates: of each step (schedules), and of each layer (fine-tuning).

They are variables of the optimizer that are set between steps, so all of them share one traced graph, and a training
that continues from a checkpoint has the same ones.
"""

from __future__ import annotations

import math
from typing import Any

from textrnn.config.experiment import Experiment

RATIO = 32
"""Of the largest to the smallest rate of the slanted triangle, as in Howard & Ruder, ACL 2018."""


def set_rates(optimizer: Any, experiment: Experiment, epoch: int, step: int, steps: int) -> None:
    """Sets the rates of the step `step` of `steps` in the epoch `epoch`, both counted from 1.

    What is the same in every step is left alone.
    """
    if experiment.schedule or experiment.warm_up:
        done = (epoch - 1) * steps + step - 1
        optimizer.learning_rate.assign(learning_rate(experiment, done, experiment.epochs * steps))
    if vary_by_layer(experiment) and step == 1:
        optimizer.layer_rates.assign(layer_rates(experiment, epoch))


def learning_rate(experiment: Experiment, done: int, steps: int) -> float:
    """Returns the rate of a step before which `done` of a training's `steps` were taken. It is never 0."""
    rising = int(experiment.warm_up * steps)
    fallen = (done - rising) / (steps - rising)
    if experiment.schedule == "slanted_triangular":
        height = done / rising if done < rising else 1 - fallen
        return experiment.learning_rate * (1 + height * (RATIO - 1)) / RATIO
    if done < rising:
        return experiment.learning_rate * (done + 1) / (rising + 1)
    if experiment.schedule == "linear":
        return experiment.learning_rate * (1 - fallen)
    if experiment.schedule == "cosine":
        return experiment.learning_rate * (1 + math.cos(math.pi * fallen)) / 2
    return experiment.learning_rate


def vary_by_layer(experiment: Experiment) -> bool:
    """Returns whether layers have rates of their own."""
    return bool(experiment.layer_rate_decay or experiment.gradual_unfreezing)


def layer_rates(experiment: Experiment, epoch: int) -> list[float]:
    """Returns the factor of the learning rate at each depth in `epoch`, counted from 1; 0 freezes a layer.

    At depth 0 is the head, below it layer by layer, and the embedding, if it is trained, is the deepest.
    """
    decay, wait = experiment.layer_rate_decay or 1.0, experiment.gradual_unfreezing or 0
    depths = range(1 + experiment.layers + experiment.trainable_embedding)
    return [decay**depth if depth * wait < epoch else 0.0 for depth in depths]
