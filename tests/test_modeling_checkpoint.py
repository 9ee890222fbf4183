"""Checkpoint files: what comes back, when one is due, and files that are half, damaged or of another training."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from textrnn.modeling import checkpoint
from textrnn.modeling.backend import keras
from textrnn.modeling.checkpoint import Checkpoints

STATE: dict[str, Any] = {
    "result": {"history": [{"loss": 0.1 + 0.2, "norm": float("inf")}], "failure": None, "weights": []},
    "position": {
        "rng": np.random.default_rng(3).bit_generator.state,
        "variables": [np.arange(6, dtype=np.float32).reshape(2, 3), np.array([7, 2**32 - 1], np.uint32), np.int64([8])],
    },
}


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What `time.monotonic` returns."""
    now = [1000.0]
    monkeypatch.setattr(checkpoint.time, "monotonic", lambda: now[0])
    return now


def of(number: int) -> dict[str, Any]:
    """A state that differs from others."""
    return {"number": number, "weights": [np.full(5, number, np.float32)]}


def number_in(checkpoints: Checkpoints, seed: int) -> int | None:
    state = checkpoints.load(seed)
    return None if state is None else int(state["number"])


def test_everything_comes_back_exactly(tmp_path: Path) -> None:
    Checkpoints(tmp_path / "deep" / "lstm", "abc").save(4, STATE)
    found = Checkpoints(tmp_path / "deep" / "lstm", "abc").load(4)
    assert found is not None
    assert found["result"] == STATE["result"]
    assert found["position"]["rng"] == STATE["position"]["rng"]
    for array, expected in zip(found["position"]["variables"], STATE["position"]["variables"], strict=True):
        assert (array.dtype, array.shape) == (expected.dtype, expected.shape)
        np.testing.assert_array_equal(array, expected)
    assert [path.name for path in (tmp_path / "deep" / "lstm").iterdir()] == ["4.npz"]


def test_without_a_file_there_is_nothing_and_nothing_to_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert Checkpoints(tmp_path / "lstm", "abc").load(0) is None
    assert not (tmp_path / "lstm").exists()
    assert capsys.readouterr().err == ""


def test_what_is_due_depends_on_the_last_one(tmp_path: Path, clock: list[float]) -> None:
    checkpoints = Checkpoints(tmp_path, "abc", epoch_seconds=30, step_seconds=300)
    for seconds, at_end, within in [(0, False, False), (29, False, False), (30, True, False), (300, True, True)]:
        clock[0] = 1000.0 + seconds
        assert (checkpoints.due(), checkpoints.due(within_epoch=True)) == (at_end, within)
    checkpoints.save(0, of(1))
    assert not checkpoints.due()
    clock[0] += 30
    assert checkpoints.due()


def test_a_finished_seed_is_written_when_due_or_with_the_next_one(tmp_path: Path, clock: list[float]) -> None:
    checkpoints = Checkpoints(tmp_path, "abc", epoch_seconds=30)
    clock[0] += 29
    checkpoints.finish(0, of(10))
    assert list(tmp_path.iterdir()) == []
    clock[0] += 1
    checkpoints.finish(1, of(11))
    assert [number_in(checkpoints, seed) for seed in (0, 1)] == [10, 11]
    checkpoints.finish(2, of(12))
    assert number_in(checkpoints, 2) is None
    checkpoints.save(3, of(13))
    assert [number_in(checkpoints, seed) for seed in (0, 1, 2, 3)] == [10, 11, 12, 13]


def test_while_one_is_written_the_old_one_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever ends the process then: what is at the file's name is whole."""
    checkpoints = Checkpoints(tmp_path, "abc")
    checkpoints.save(0, of(1))
    numbers: list[int | None] = []
    savez, replace = np.savez, Path.replace

    def watched(write: Any) -> Any:
        def watch(*arguments: Any, **named: Any) -> Any:
            numbers.append(number_in(checkpoints, 0))
            return write(*arguments, **named)

        return watch

    monkeypatch.setattr(np, "savez", watched(savez))
    monkeypatch.setattr(Path, "replace", watched(replace))
    checkpoints.save(0, of(2))
    assert numbers == [1, 1]
    assert number_in(checkpoints, 0) == 2


@pytest.mark.parametrize("other", ["fingerprint", "keras", "precision"])
def test_one_of_another_training_is_reported_and_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], other: str
) -> None:
    Checkpoints(tmp_path, "abc").save(2, of(1))
    if other == "keras":
        monkeypatch.setattr(keras, "__version__", "2.0")
    if other == "precision":
        monkeypatch.setattr(keras.config, "dtype_policy", lambda: keras.DTypePolicy("mixed_bfloat16"))
    assert Checkpoints(tmp_path, "abd" if other == "fingerprint" else "abc").load(2) is None
    assert capsys.readouterr().err == (
        f"warning: {tmp_path / '2.npz'} was made with other params, inputs, code, precision or libraries: deleted, "
        "seed 2 starts from the beginning\n"
    )
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_one_is_reported_and_deleted_and_never_believed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoints = Checkpoints(tmp_path, "abc")
    checkpoints.save(0, of(1))
    file = tmp_path / "0.npz"
    whole = file.read_bytes()
    rng = random.Random(0)
    damaged = [whole[:length] for length in range(0, len(whole), 97)]
    for _ in range(200):
        place = rng.randrange(len(whole))
        damaged.append(whole[:place] + bytes([whole[place] ^ 1 << rng.randrange(8)]) + whole[place + 1 :])
    refused = 0
    for content in damaged:
        file.write_bytes(content)
        found = checkpoints.load(0)
        printed = capsys.readouterr().err
        if found is None:
            refused += 1
            assert printed == f"warning: {file} is damaged: deleted, seed 0 starts from the beginning\n"
            assert not file.exists()
        else:  # a bit of the archive's own that means nothing, such as a date
            assert found["number"] == 1
            np.testing.assert_array_equal(found["weights"][0], np.ones(5, np.float32))
    assert refused > len(damaged) / 2


def test_a_full_disk_stops_the_checkpoints_and_not_the_training(
    tmp_path: Path, clock: list[float], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoints = Checkpoints(tmp_path, "abc")
    checkpoints.save(0, of(1))

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    checkpoints.save(0, of(2))
    clock[0] += 1e6
    assert not checkpoints.due()
    checkpoints.finish(0, of(3))
    printed = capsys.readouterr().err
    assert printed.splitlines() == [
        "warning: no checkpoint can be written, training continues without: [Errno 28] No space left on device"
    ]
    assert number_in(checkpoints, 0) == 1


def test_what_neither_json_nor_an_array_can_hold_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"Received: \{1\}"):
        Checkpoints(tmp_path, "abc").save(0, {"set": {1}})
    with pytest.raises(ValueError, match="Object arrays cannot be saved"):
        Checkpoints(tmp_path, "abc").save(0, {"array": np.array([{}], object)})


def test_deleting_leaves_nothing(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path / "lstm", "abc")
    checkpoints.delete()
    checkpoints.save(0, of(1))
    (tmp_path / "lstm" / "0.tmp").write_bytes(b"half")
    checkpoints.delete()
    assert list(tmp_path.iterdir()) == []
