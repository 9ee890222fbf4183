"""Learning rates against values worked out by hand."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_experiments import make_experiment

from textrnn.modeling.rates import layer_rates, learning_rate, set_rates

SCHEDULES = (None, "linear", "cosine", "slanted_triangular")


@pytest.mark.parametrize(
    ("schedule", "warm_up", "expected"),
    [
        (None, 0.0, [0.6, 0.6, 0.6, 0.6, 0.6]),
        (None, 0.5, [0.2, 0.4, 0.6, 0.6, 0.6]),  # two and a half steps: two
        ("linear", 0.0, [0.6, 0.48, 0.36, 0.24, 0.12]),
        ("linear", 0.4, [0.2, 0.4, 0.6, 0.4, 0.2]),
        ("cosine", 0.0, [0.6, 0.542705, 0.392705, 0.207295, 0.057295]),
        ("cosine", 0.2, [0.3, 0.6, 0.512132, 0.3, 0.087868]),  # half, then cos 0, 45, 90 and 135 degrees
        # 0.01875 is 0.6 / 32; half way up, then down by thirds.
        ("slanted_triangular", 0.4, [0.01875, 0.309375, 0.6, 0.40625, 0.2125]),
        ("slanted_triangular", 0.1, [0.6, 0.48375, 0.3675, 0.25125, 0.135]),  # half a step is none
    ],
)
def test_schedules_by_hand(schedule: str | None, warm_up: float, expected: list[float]) -> None:
    experiment = make_experiment(learning_rate=0.6, schedule=schedule, warm_up=warm_up)
    assert [learning_rate(experiment, done, 5) for done in range(5)] == pytest.approx(expected, abs=1e-6)


@given(
    schedule=st.sampled_from(SCHEDULES),
    warm_up=st.floats(0.01, 0.99),
    steps=st.integers(1, 60),
)
def test_a_rate_rises_to_the_experiments_own_falls_from_there_and_is_never_0(
    schedule: str | None, warm_up: float, steps: int
) -> None:
    experiment = make_experiment(learning_rate=0.25, schedule=schedule, warm_up=warm_up)
    rates = [learning_rate(experiment, done, steps) for done in range(steps)]
    top = int(warm_up * steps)
    assert min(rates) > 0
    assert max(rates) == rates[top] == 0.25
    assert rates[: top + 1] == sorted(rates[: top + 1])
    assert rates[top:] == sorted(rates[top:], reverse=True)


@pytest.mark.parametrize(
    ("changes", "by_epoch"),
    [
        ({"layer_rate_decay": 0.5}, [[1, 0.5, 0.25, 0.125]] * 3),
        ({"gradual_unfreezing": 1}, [[1, 0, 0, 0], [1, 1, 0, 0], [1, 1, 1, 0], [1, 1, 1, 1], [1, 1, 1, 1]]),
        ({"gradual_unfreezing": 2, "trainable_embedding": False}, [[1, 0, 0]] * 2 + [[1, 1, 0]] * 2 + [[1, 1, 1]]),
        ({"gradual_unfreezing": 1, "layer_rate_decay": 0.1, "layers": 1}, [[1, 0, 0], [1, 0.1, 0], [1, 0.1, 0.01]]),
    ],
)
def test_rates_by_layer(changes: dict[str, Any], by_epoch: list[list[float]]) -> None:
    experiment = make_experiment(**{"layers": 2, "epochs": 5, **changes})
    for epoch, expected in enumerate(by_epoch, start=1):
        assert layer_rates(experiment, epoch) == pytest.approx(expected)


class Variable:
    """Remembers what it was set to."""

    def __init__(self) -> None:
        self.values: list[Any] = []

    def assign(self, value: Any) -> None:
        self.values.append(value)


class Optimizer:
    def __init__(self) -> None:
        self.learning_rate, self.layer_rates = Variable(), Variable()


@pytest.mark.parametrize(
    ("changes", "rates", "of_layers"),
    [
        ({}, [], []),
        ({"schedule": "linear"}, [0.6, 0.5, 0.4, 0.3, 0.2, 0.1], []),
        ({"warm_up": 0.34}, [0.2, 0.4, 0.6, 0.6, 0.6, 0.6], []),
        ({"gradual_unfreezing": 1}, [], [[1, 0, 0], [1, 1, 0], [1, 1, 1]]),
    ],
)
def test_what_never_changes_is_not_set_and_the_schedule_spans_all_epochs(
    changes: dict[str, Any], rates: list[float], of_layers: list[list[float]]
) -> None:
    optimizer, experiment = Optimizer(), make_experiment(learning_rate=0.6, epochs=3, **changes)
    for epoch in (1, 2, 3):
        for step in (1, 2):
            set_rates(optimizer, experiment, epoch, step, 2)
    assert optimizer.learning_rate.values == pytest.approx(rates)
    assert optimizer.layer_rates.values == of_layers
