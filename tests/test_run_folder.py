"""A run as it is written and read back, and what changes a digest or a fingerprint."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from textrnn.config.experiment import OFF
from textrnn.errors import TextrnnError
from textrnn.run_folder import (
    HISTORY_COLUMNS,
    PREDICTION_SCHEMA,
    Run,
    RunFolder,
    digest,
    fingerprint,
    prediction_rows,
    write_run,
)

PROBABILITIES = np.array([[0.5, 0.25, 0.25], [0.125, 0.75, 0.125]], np.float32)
LABELS = np.array([0, 2])


def make_run(**changes: Any) -> Run:
    plain: dict[str, Any] = {
        "name": "lstm",
        "kind": "experiment",
        "params": {"cell": "lstm", "ema": None},
        "seeds": [4, 2],
        "classes": ["a", "b", "c"],
        "inputs": {"tokens": "12"},
        "fingerprint": "34",
        "parameters": {"total": 5, "trainable": 3},
        "flops": {"training": 6.0, "prediction": 2.0},
    }
    return Run(**{**plain, **changes})


def make_rows(seed: int, split: str, shift: float = 0.0) -> Any:
    return prediction_rows(seed, split, ["x", "y"], LABELS, PROBABILITIES + np.float32(shift))


def make_history(seed: int) -> list[dict[str, Any]]:
    return [dict(zip(HISTORY_COLUMNS, (seed, epoch, 0.5, 0.6, 0.7, 0.8, 0.01, 1.5), strict=True)) for epoch in (1, 2)]


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    run = make_run()
    rows = [make_rows(seed, split, seed) for seed in (4, 2) for split in ("valid", "test")]
    write_run(tmp_path, run, rows, [*make_history(4), *make_history(2)])
    loaded = RunFolder.load(tmp_path)
    assert {key: getattr(loaded, key) for key in vars(run)} == vars(run) | {"params": {**OFF, **run.params}}
    assert loaded.status == "finished"
    assert loaded.path == tmp_path

    assert dict(loaded.predictions.schema) == PREDICTION_SCHEMA
    ids, labels, probabilities = loaded.probabilities(2, "test")
    assert ids == ["x", "y"]
    assert labels.tolist() == [0, 2]
    assert probabilities.dtype == np.float32
    np.testing.assert_array_equal(probabilities, PROBABILITIES + 2)

    assert tuple(loaded.history.columns) == HISTORY_COLUMNS
    assert loaded.history["seed"].tolist() == [4, 4, 2, 2]
    assert loaded.history["val_loss"].tolist() == [0.7] * 4


def test_equal_runs_have_equal_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        write_run(tmp_path / name, make_run(), [make_rows(4, "valid")], make_history(4))
    for file in ("run.json", "history.csv", "predictions.parquet"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_a_failed_seed_has_a_reason_and_no_predictions(tmp_path: Path) -> None:
    write_run(tmp_path, make_run(failures={"4": "diverged"}), [make_rows(2, "valid")], make_history(2))
    loaded = RunFolder.load(tmp_path)
    assert loaded.status == "failed"
    assert loaded.failures == {"4": "diverged"}
    assert loaded.finished_seeds == [2]
    assert json.loads((tmp_path / "run.json").read_text())["status"] == "failed"


def test_a_run_whose_every_seed_failed_can_be_read(tmp_path: Path) -> None:
    write_run(tmp_path, make_run(failures={"4": "no", "2": "no"}), [], [])
    loaded = RunFolder.load(tmp_path)
    assert loaded.finished_seeds == []
    assert loaded.predictions.is_empty()
    assert dict(loaded.predictions.schema) == PREDICTION_SCHEMA
    assert loaded.history.empty
    assert tuple(loaded.history.columns) == HISTORY_COLUMNS


def test_a_baseline_has_no_history(tmp_path: Path) -> None:
    write_run(tmp_path, make_run(kind="baseline", params={"kind": "majority"}, seeds=[0]), [make_rows(0, "valid")], [])
    assert not (tmp_path / "history.csv").exists()
    assert RunFolder.load(tmp_path).history.empty


def test_a_folder_without_a_run(tmp_path: Path) -> None:
    with pytest.raises(TextrnnError) as error:
        RunFolder.load(tmp_path / "lstm")
    assert str(error.value) == f"{tmp_path / 'lstm'} holds no finished run (no run.json). Run `dvc repro`."


def test_digest_follows_names_and_content_and_nothing_else(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name / "deep").mkdir(parents=True)
        for file, text in (("a", "alpha"), ("deep/b", "beta")):
            (tmp_path / name / file).write_text(text)
    before = digest(tmp_path / "one")
    assert len(before) == 64
    assert digest(tmp_path / "two") == before

    (tmp_path / "two" / "deep" / "b").write_text("Beta")
    assert digest(tmp_path / "two") != before
    (tmp_path / "two" / "deep" / "b").write_text("beta")
    assert digest(tmp_path / "two") == before
    (tmp_path / "two" / "a").rename(tmp_path / "two" / "c")
    assert digest(tmp_path / "two") != before


def test_fingerprint_follows_plan_and_inputs(tmp_path: Path) -> None:
    plan = tmp_path / "train@lstm.json"
    plan.write_text("units: 3")
    before = fingerprint(plan, {"tokens": "12"})
    assert fingerprint(plan.rename(tmp_path / "train@other.json"), {"tokens": "12"}) == before
    plan = tmp_path / "train@other.json"
    assert fingerprint(plan, {"tokens": "13"}) != before
    plan.write_text("units: 4")
    assert fingerprint(plan, {"tokens": "12"}) != before
