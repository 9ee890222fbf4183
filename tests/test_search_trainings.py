"""The record of what a search has trained."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path

import pytest
from fake_trainings import START, search

from textrnn.config.experiment import Experiment
from textrnn.run_folder import HISTORY_COLUMNS
from textrnn.search.halving import Task, Training
from textrnn.search.progress import Progress
from textrnn.search.trainings import RECORD, Inputs, Record, Workers

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


class Nodes:
    """An executor of `jobs` nodes, each of which trains at once and at most one task."""

    def __init__(self, jobs: int) -> None:
        self.jobs, self.running = jobs, 0
        self.started: list[int] = []

    def start(self, waiting: Sequence[Task]) -> tuple[Task, Future[Training]]:
        self.running += 1
        assert self.running <= self.jobs
        future: Future[Training] = Future()
        future.set_result(Training([{**ROW, "val_loss": 0.25}], 1.0, is_over=True))
        self.started.append(waiting[0].trial)
        return waiting[0], future

    def result(self, task: Task, future: Future[Training]) -> tuple[Training, str]:
        self.running -= 1
        return future.result(), f"node-{task.trial % self.jobs}"


def test_it_is_kept_and_said_on_which_node_a_training_ran(folder: Path, capsys: pytest.CaptureFixture) -> None:
    inputs, nodes = Inputs(Path(), Path(), folder, "key", (("any", ""),)), Nodes(2)
    workers = Workers(nodes, inputs, Record(folder, "key"), Progress(search(), START, []))
    tasks = [Task(trial, 0, START, seed=trial, until=1) for trial in range(3)]
    done = workers.train(tasks[:1])
    assert workers.train(tasks) == {task.key: done[tasks[0].key] for task in tasks}
    assert nodes.started == [0, 1, 2], "what is known is not trained again"
    said = [line.split("epochs  ")[1].split(",")[0] for line in capsys.readouterr().out.splitlines()]
    assert sorted(said) == [f"trial {trial} on node-{trial % 2}: 0.2500 after epoch 1" for trial in range(3)]
    assert (folder / RECORD).read_text().count('"on": "node-1"') == 1
    assert Record(folder, "key").known.items() >= {inputs.name(task): done[tasks[0].key] for task in tasks}.items()


def test_the_longest_training_starts_first(folder: Path) -> None:
    inputs, nodes = Inputs(Path(), Path(), folder, "key", (("any", ""),)), Nodes(1)
    workers = Workers(nodes, inputs, Record(folder, "key"), Progress(search(), START, []))
    changes: list[tuple[dict[str, object], int]] = [
        ({}, 2),
        ({}, 3),
        ({"layers": 2, "bidirectional": True}, 1),
        ({}, 3),
    ]
    workers.train(
        [Task(trial, 0, START.model_copy(update=each), trial, until) for trial, (each, until) in enumerate(changes)]
    )
    assert nodes.started == [2, 1, 3, 0]


def test_a_node_trains_for_its_own_search_alone_and_ends_with_what_asks() -> None:
    code = "from pathlib import Path; from textrnn.search.trainings import Inputs, serve; place = Path();"
    command = [sys.executable, "-c", f"{code} serve(Inputs(place, place, place, 'key', ()))"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as node:
        assert node.stdin and node.stdout and node.stderr
        node.stdin.write(pickle.dumps(("another", (), None)))
        node.stdin.flush()
        assert b"this node has other code, inputs or libraries than the head" in node.stderr.read()
        assert node.stdout.read() == b""
