"""The second training of an experiment with `refit`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_experiments import make_experiment
from tiny_models import make_embedding, make_tokens

from textrnn.modeling.checkpoint import Checkpoints
from textrnn.modeling.refit import Refit
from textrnn.modeling.training import Trainer

SPLITS = {
    "train": make_tokens([[2, 3, 4], [6], [3, 3], [5, 1, 2, 4]], [0, 1, 1, 0]),
    "valid": make_tokens([[2], [3, 5, 4], [6, 2]], [0, 1, 1]),
    "test": make_tokens([[4, 4], [1]], [1, 0]),
}
CHANGES: dict[str, Any] = {
    "cell": "feedforward",
    "readout": "mean",
    "refit": True,
    "dropout": 0.3,
    "schedule": "linear",
    "batch_size": 2,
    "epochs": 3,
}


def make_trainer(**changes: Any) -> Trainer:
    return Trainer(make_experiment(**{**CHANGES, **changes}), SPLITS, make_embedding, 2)


def make_refit(trainer: Trainer, folder: Path, targets: np.ndarray | None = None) -> Refit:
    saved = Checkpoints(folder, "abc", epoch_seconds=0, step_seconds=0)
    texts = SPLITS["train"].join(SPLITS["valid"])
    return Refit.of(replace(trainer, checkpoints=saved), texts, targets, SPLITS["test"])


@pytest.mark.parametrize("kept", [2, 3])
def test_trains_on_both_splits_along_the_same_schedule_for_the_epochs_that_were_kept(tmp_path: Path, kept: int) -> None:
    trainer = make_trainer(early_stopping=1)
    first = trainer.run(1)
    again = make_refit(trainer, tmp_path)
    rates: list[float] = []

    result = again.run(first, kept, lambda row: rates.append(row["learning_rate"]))

    whole = replace(again.trainer, checkpoints=None)
    expected = whole.run(1)
    assert whole.experiment.early_stopping is None
    assert rates == [row["learning_rate"] for row in expected.history[:kept]]
    if kept == 3:
        assert all(map(np.array_equal, result.weights, expected.weights))
        assert np.array_equal(result.probabilities["test"], expected.probabilities["test"])
    else:
        short = whole.run(1, until=kept, ends=True)
        assert len(short.history) == kept and short.is_over
        assert all(map(np.array_equal, result.weights, short.weights))
        assert not all(map(np.array_equal, result.weights, expected.weights))
        assert np.array_equal(result.probabilities["test"], short.probabilities["test"])
    assert result.history == first.history
    assert np.array_equal(result.probabilities["valid"], first.probabilities["valid"])
    assert result.seconds == first.seconds + again.results[0].seconds
    assert again.trainer.tokens_read(again.results[0]) == kept * 16


@pytest.mark.parametrize("kept", [2, 3])
def test_a_refit_that_was_killed_continues_and_one_that_had_ended_is_not_repeated(tmp_path: Path, kept: int) -> None:
    trainer = make_trainer()
    first, whole = trainer.run(1), make_refit(trainer, tmp_path / "whole")
    expected = whole.run(first, kept)
    killed = make_refit(trainer, tmp_path / "killed")

    def kill(row: dict[str, Any]) -> None:
        if row["epoch"] == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        killed.run(first, kept, kill)

    for epochs in ([*range(2, 1 + kept)], []):
        rows: list[int] = []
        result = make_refit(trainer, tmp_path / "killed").run(
            first, kept, lambda row, seen=rows: seen.append(row["epoch"])
        )
        assert rows == epochs
        assert all(map(np.array_equal, result.weights, expected.weights))
        assert np.array_equal(result.probabilities["test"], expected.probabilities["test"])


def test_a_refit_that_was_killed_behind_its_last_epoch_predicts_the_test_split(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its checkpoint is that of an epoch, without test probabilities, and the experiment would go on for one more."""
    trainer = make_trainer()
    first = trainer.run(1)
    expected = make_refit(trainer, tmp_path / "whole").run(first, 2)
    killed = make_refit(trainer, tmp_path / "killed")

    def kill(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_end", kill)
        with pytest.raises(KeyboardInterrupt):
            killed.run(first, 2)
    result = make_refit(trainer, tmp_path / "killed").run(first, 2)
    assert all(map(np.array_equal, result.weights, expected.weights))
    assert np.array_equal(result.probabilities["test"], expected.probabilities["test"])


def test_weights_that_are_damaged_in_the_last_step_are_a_failure(tmp_path: Path) -> None:
    """The loss of an epoch is that before each step."""
    trainer = make_trainer(learning_rate=1.0, batch_size=9, epochs=1)
    first = trainer.run(1)
    again = make_refit(trainer, tmp_path)
    again.trainer.experiment = again.trainer.experiment.model_copy(update={"learning_rate": 3e38})

    result = again.run(first, 1)

    assert result.failure == "on train and validation texts together, its predictions are not finite numbers"
    assert result.weights == [] and result.probabilities == {}
    assert result.seconds == first.seconds + again.results[0].seconds


def test_operations_are_the_mean_over_all_seeds(tmp_path: Path) -> None:
    trainer = make_trainer(epochs=1)
    again = make_refit(trainer, tmp_path)
    assert again.training_flops(2) == 0
    again.run(trainer.run(1), 1)
    assert again.training_flops(2) == again.trainer.training_flops(again.results) / 2


def test_a_refit_that_diverges_is_a_failure_of_the_seed(tmp_path: Path) -> None:
    trainer = make_trainer()
    first = trainer.run(1)
    targets = np.full((7, 2), np.nan, np.float32)

    result = make_refit(trainer, tmp_path, targets).run(first, 3)

    assert first.failure is None
    assert result.failure == "on train and validation texts together, the loss is no longer a finite number in epoch 1"
    assert result.weights == [] and result.probabilities == {}
    assert result.history == first.history
