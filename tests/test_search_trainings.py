"""The record of what a search has trained."""

from __future__ import annotations

from pathlib import Path

import pytest

from textrnn.config.experiment import Experiment
from textrnn.run_folder import HISTORY_COLUMNS
from textrnn.search.halving import Task, Training
from textrnn.search.trainings import RECORD, Inputs, Record

ROW = {**dict.fromkeys(HISTORY_COLUMNS, 0.1 + 0.2), "seed": 1000, "epoch": 1}
FIRST, SECOND = Training([ROW], 12.5, is_over=False), Training([], 1.0, True, "the loss is no longer a finite number")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    record = Record(tmp_path / "search", "key")
    record.add("first", FIRST)
    record.add("second", SECOND)
    return tmp_path / "search"


def test_everything_comes_back_exactly_and_the_last_of_a_name_counts(
    folder: Path, capsys: pytest.CaptureFixture
) -> None:
    assert Record(folder, "key").known == {"first": FIRST, "second": SECOND}
    longer = Training([ROW, {**ROW, "epoch": 2}], 12.5, is_over=True)
    Record(folder, "key").add("first", longer)
    assert Record(folder, "key").known == {"first": longer, "second": SECOND}
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("cut", [1, 20])
def test_a_line_that_a_kill_cut_off_is_forgotten_and_the_next_one_is_whole(folder: Path, cut: int) -> None:
    content = (folder / RECORD).read_bytes()
    (folder / RECORD).write_bytes(content[:-cut])
    record = Record(folder, "key")
    assert record.known == {"first": FIRST}
    record.add("second", SECOND)
    assert (folder / RECORD).read_bytes() == content
    assert Record(folder, "key").known == {"first": FIRST, "second": SECOND}


@pytest.mark.parametrize("line", [b"\xff\n", b"{}\n", b'{"training": "x", "is": {"steps": 3}}\n', b"[]\n"])
def test_what_another_version_wrote_is_deleted_with_a_warning(
    folder: Path, line: bytes, capsys: pytest.CaptureFixture
) -> None:
    (folder / "of-a-checkpoint").mkdir()
    with (folder / RECORD).open("ab") as stream:
        stream.write(line)
    assert Record(folder, "key").known == {}
    assert [file.name for file in folder.iterdir()] == [RECORD]
    assert "was made with other inputs, code or libraries: deleted" in capsys.readouterr().err


def test_what_was_trained_on_other_inputs_is_deleted(folder: Path, capsys: pytest.CaptureFixture) -> None:
    assert Record(folder, "another key").known == {}
    assert "deleted" in capsys.readouterr().err
    assert Record(folder, "another key").known == {}
    assert capsys.readouterr().err == ""


def test_a_decided_batch_leaves_no_checkpoints(folder: Path) -> None:
    (folder / "one" / "two").mkdir(parents=True)
    Record(folder, "key").delete_checkpoints()
    assert Record(folder, "key").known == {"first": FIRST, "second": SECOND}
    assert [file.name for file in folder.iterdir()] == [RECORD]


def test_a_training_is_known_by_settings_seed_and_vectors() -> None:
    def name(vectors: str = "a", seed: int = 1, trial: int = 0, until: int = 1, **changes: object) -> str:
        experiment = Experiment.model_validate({"embedding": "glove", **changes})
        inputs = Inputs(Path(), Path(), Path(), "", (("glove", vectors),))
        return inputs.name(Task(trial, 0, experiment, seed, until))

    assert name() == name(trial=3, until=9)
    assert len({name(), name("b"), name(seed=2), name(units=33)}) == 4
