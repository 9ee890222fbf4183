"""Which stages run side by side, in which order, and what they cost."""

from __future__ import annotations

from collections.abc import Sequence

from textrnn.config.experiment import Experiment
from textrnn.config.params import Params
from textrnn.config.search import epoch_work

PARALLEL = ("baseline", "search", "train", "winner", "member", "ensemble", "student", "probe", "explain", "teach")
"""Stages that run side by side; those of the same run in this order: the last three read it."""


def run_of(stage: str) -> str:
    """Returns the run, or search, to which a stage belongs."""
    return stage.partition("@")[2].partition("+")[0]


def in_order(stages: Sequence[str], params: Params) -> list[str]:
    """Returns `stages`, which are some of `PARALLEL`, in the order in which they run, with all that reads their runs.

    DVC cannot tell that these have changed before what they read has run.
    """
    due = dict.fromkeys(stages)
    due |= dict.fromkeys(f"winner@{name}" for name in params.searches if f"search@{name}" in due)
    for run in params.by_level:
        reads = {params.stage(part) if run in params.ensembles else f"teach@{part}" for part in params.made_of(run)}
        if reads & due.keys():
            due |= dict.fromkeys(params.stages(run))
        if params.stage(run) in due and run in params.teachers:
            due[f"teach@{run}"] = None
    due |= dict.fromkeys(f"probe@{name}" for name in params.probes if params.stage(name) in due)
    due |= dict.fromkeys(f"explain@{name}" for name in params.explanations if params.stage(name) in due)
    return sorted(due, key=lambda stage: PARALLEL.index(stage.partition("@")[0]))


def relative_cost(stage: str, params: Params) -> float:
    """Returns the relative cost of what trains networks, or lets them teach; 0 for a stage that does neither.

    That of a search, and of its winner, is estimated from the experiment that it starts from.
    """
    group, _, name = stage.partition("@")
    if group == "teach":
        return _prediction_cost(name, params)
    if group not in ("train", "student", "search", "winner"):
        return 0
    experiment = _experiment(name, params)
    epochs = params.searches[name].planned_epochs(experiment) if group == "search" else 0
    return (epochs or len(params.seeds) * experiment.epochs) * epoch_work(experiment)


def _prediction_cost(run: str, params: Params) -> float:
    """A forward pass of each seed: a third of a training step (Kaplan et al. 2020). A baseline's takes no time."""
    if run in params.baselines:
        return 0
    if run in params.ensembles:
        return sum(_prediction_cost(each, params) for each in params.ensembles[run].of)
    return len(params.seeds) * epoch_work(_experiment(run, params)) / 3


def _experiment(name: str, params: Params) -> Experiment:
    return params.experiments[params.searches[name].start if name in params.searches else name]
