"""A sample of `make faults`: the next run leaves what an undisturbed one does. And the comparison can fail."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import faults
import faults.__main__ as command
import pytest
from faults import disks, processes, stores
from faults.outcome import differences, outcome
from faults.study import REPRO, Reference, forget, untrack
from faults.trial import Call, Fault, Trial, attempt
from tiny_project import LIVE, TinyProject

DUE = ("download_corpus", "baseline@nb-svm", "train@lstm", "probe@lstm", "compare")
"""What runs in the study that is broken here."""

SAMPLE = (
    Fault(processes.kill_all, 4),
    Fault(processes.kill_parent, 2),
    Fault(processes.kill_sync, 2),
    Fault(processes.interrupt, 2),
    Fault(disks.cut_lock, 1),
    Fault(disks.flipped_bit, 1),
    Fault(stores.database_corrupt, 2),
)


@pytest.fixture(scope="module")
def reference(finished: TinyProject, tmp_path_factory: pytest.TempPathFactory) -> Reference:
    """The finished project with a few stages due and nothing in MLflow, and after these have run."""
    folder = tmp_path_factory.mktemp("faults")
    before = finished.copy(folder / "before")
    forget(before, *DUE)
    untrack(before)
    before.run("git", "commit", "--quiet", "--all", "--amend", "--no-edit")
    after = before.copy(folder / "after")
    after.textrnn(*REPRO, **LIVE)
    return Reference(before, after, outcome(after))


@pytest.mark.long
@pytest.mark.parametrize("fault", SAMPLE, ids=lambda fault: fault.name)
def test_the_next_run_leaves_what_an_undisturbed_one_does(fault: Fault, reference: Reference) -> None:
    verdict = attempt(fault, reference)
    assert verdict.times == fault.times
    assert verdict.is_good, str(verdict)


@pytest.mark.long
def test_a_fault_after_which_nothing_is_done_is_no_success(
    reference: Reference, monkeypatch: pytest.MonkeyPatch
) -> None:
    def act(trial: Trial, call: Call) -> None:
        for process in trial.processes():
            process.kill()

    def kill(trial: Trial) -> None:
        trial.call(*REPRO, act=act, when=lambda call: "train@lstm" in call.stages)
        trial.compare()

    verdict = attempt(Fault(kill, 1), reference)
    assert verdict.where["train@lstm"] == 1
    assert not verdict.is_good
    assert any(line.startswith("dvc.lock, train@lstm: ") for line in verdict.lost)
    assert any(line.startswith("file runs/lstm/run.json: ") for line in verdict.lost)
    assert any(line.startswith("MLflow's run lstm seed 0: ") for line in verdict.lost)


def sql(statement: str) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        with closing(sqlite3.connect(folder / "mlflow.db")) as database, database:
            assert database.execute(statement).rowcount > 0

    return damage


def delete(pattern: str) -> Callable[[Path], None]:
    return lambda folder: sorted(folder.glob(pattern))[0].unlink()


def change(pattern: str) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        file = sorted(file for file in folder.glob(pattern) if file.is_file())[-1]
        content = file.read_bytes()
        file.chmod(0o644)
        file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))

    return damage


ONE_MORE = (
    "INSERT INTO runs (run_uuid, name, status, lifecycle_stage, artifact_uri, experiment_id) "
    "SELECT 'another', name, status, lifecycle_stage, '', experiment_id FROM runs "
    "WHERE name = 'lstm seed 1' AND lifecycle_stage = 'active'"
)


@pytest.mark.long
@pytest.mark.parametrize(
    ("damage", "lost", "doubled"),
    [
        (lambda folder: None, 0, 0),
        (change("reports/tiny/report.md"), 1, 1),
        (change("runs/lstm/predictions.parquet"), 1, 1),
        (change(".dvc/cache/files/md5/*/*"), 0, 1),
        (lambda folder: shutil.rmtree(folder / "data" / "rehearsal"), 1, 0),
        (lambda folder: (folder / "runs" / ".lstm.abcdefgh").write_text("left by a kill"), 0, 1),
        (sql("UPDATE runs SET lifecycle_stage = 'deleted' WHERE name = 'lstm seed 1'"), 2, 1),  # its model names it
        (sql(ONE_MORE), 0, 1),
        (sql("UPDATE runs SET status = 'RUNNING' WHERE name = 'lstm'"), 1, 1),
        (sql("UPDATE metrics SET value = value + 1e-6 WHERE key = 'val_loss' AND step = 1"), 9, 9),
        (sql("DELETE FROM tags WHERE key = 'dvc.restore'"), 14, 14),
        (sql("UPDATE metrics SET value = value + 1 WHERE key = 'seconds'"), 0, 0),
        (delete("mlartifacts/**/weights.npz"), 1, 1),
        (delete("mlartifacts/**/mistakes.csv"), 1, 1),
    ],
)
def test_the_comparison_sees(
    reference: Reference, tmp_path: Path, damage: Callable[[Path], None], lost: int, doubled: int
) -> None:
    project = reference.after.copy(tmp_path / "project")
    damage(project.folder)
    assert tuple(map(len, differences(reference.holds, outcome(project)))) == (lost, doubled)


def test_the_page_has_a_row_for_every_fault() -> None:
    rows = command.rows(command.PAGE.read_text(encoding="utf-8"))
    assert list(rows) == list(faults.FAULTS)


def test_a_row_is_written_and_the_others_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "PAGE", tmp_path / "reliability.md")
    command.write_row("kill-sync", "first | 1 | 0 | 0 | 0 | 1.0 |")
    command.write_row("kill-all", "not tried here: no root | | | | | |")
    command.write_row("kill-sync", "second | 2 | 0 | 0 | 0 | 1.0 |")
    assert command.rows(command.PAGE.read_text(encoding="utf-8")) == dict.fromkeys(faults.FAULTS, command.UNTRIED) | {
        "kill-all": "not tried here: no root | | | | | |",
        "kill-sync": "second | 2 | 0 | 0 | 0 | 1.0 |",
    }
