"""Each failure of a store is named for what it is, with what to do; a training goes on."""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from fake_runs import make_run
from filelock import Timeout
from mlflow.exceptions import MlflowException
from tiny_experiments import make_experiment

from textrnn.errors import TextrnnError
from textrnn.run_folder import RunFolder
from textrnn.tracking.failures import explanation, readable_mlflow_errors
from textrnn.tracking.live import LIVE_AFTER, LiveRun
from textrnn.tracking.record import TrackedRun
from textrnn.tracking.store import open_store

RUN = TrackedRun("tiny", "snippets", "lstm", "experiment", "train@lstm", make_experiment().model_dump(), "f" * 64, {})
SERVER = "that the server runs"


@pytest.fixture(autouse=True)
def default_store(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MLFLOW_TRACKING_URI", "DVC_ROOT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(LIVE_AFTER, "0")


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("store")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        open_store(folder, "tiny/snippets")
    return folder / "mlflow.db"


def of_system(number: int, file: str | None = None) -> OSError:
    return OSError(number, os.strerror(number), file)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (of_system(errno.ENOSPC), "No space left on device. Make space there, or name another folder for temporary"),
        (shutil.Error([("a", "b", str(of_system(errno.ENOSPC)))]), "[Errno 28] No space left on device. Make"),
        (of_system(errno.EROFS, "mlflow.db.lock"), "Read-only file system: 'mlflow.db.lock'. Nothing can be written"),
        (of_system(errno.EACCES, "mlflow.sync.lock"), "Permission denied: 'mlflow.sync.lock'. Nothing can be written"),
        (of_system(errno.EISDIR, "mlflow.sync.lock"), "Is a directory: 'mlflow.sync.lock'."),
        (of_system(errno.EMFILE), "Too many open files."),
        (of_system(errno.ENOENT, "runs/x/model/0"), "runs/x/model/0 is missing. Run `dvc pull`, or `dvc repro`."),
        (Timeout("mlflow.db.lock"), "Another process writes there. Wait until it is done, or end it"),
        (MlflowException("(sqlite3.OperationalError) database is locked\n[SQL: x]"), "database is locked. Another"),
        (MlflowException("(sqlite3.OperationalError) attempt to write a readonly database"), "Nothing can be written"),
        (
            MlflowException("(sqlite3.DatabaseError) file is not a database"),
            "Move the database elsewhere: `textrnn sync`",
        ),
        (
            MlflowException("(sqlite3.DatabaseError) malformed database schema (metrics) - orphan index"),
            "Move the database elsewhere: `textrnn sync`",
        ),
        (MlflowException("(sqlite3.OperationalError) database or disk is full"), "Make space there"),
        (MlflowException("no such experiment"), "MLflow refuses: no such experiment."),
    ],
)
def test_a_failure_on_this_machine_is_no_servers(error: Exception, said: str) -> None:
    text = explanation(error)
    assert said in text
    assert SERVER not in text
    assert "\n" not in text


def test_an_unreachable_server_is_named_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:secret@h:1")
    text = explanation(MlflowException("API request to http://me:secret@h:1/api failed"))
    assert text.startswith("MLflow cannot be reached, or refuses: API request to http://@h:1/api failed. Check MLFLOW")
    assert "Make space there" in explanation(of_system(errno.ENOSPC))
    assert "Install the database driver" in explanation(ModuleNotFoundError("No module named 'MySQLdb'"))


@pytest.mark.parametrize("version", ["cc1f77228345", "ffffffffffff"])
def test_a_database_of_another_version_says_how_to_upgrade_it(
    tmp_path: Path, database: Path, version: str, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(database, tmp_path / "mlflow.db")
    with sqlite3.connect(tmp_path / "mlflow.db") as connection:
        connection.execute("UPDATE alembic_version SET version_num = ?", (version,))
    said = r"run `mlflow db upgrade sqlite:///mlflow.db`; .* upgrade MLflow\."
    with pytest.raises(TextrnnError, match=said), readable_mlflow_errors():
        open_store(tmp_path, "tiny/snippets")
    LiveRun(RUN, tmp_path).end({})
    assert capsys.readouterr().err.count("\n") == 1


def test_a_database_without_all_tables_of_an_unknown_version_is_named(tmp_path: Path, database: Path) -> None:
    shutil.copy(database, tmp_path / "mlflow.db")
    with sqlite3.connect(tmp_path / "mlflow.db") as connection:
        connection.execute("UPDATE alembic_version SET version_num = 'ffffffffffff'")
        connection.execute("DROP TABLE logged_model_tags")
    with pytest.raises(TextrnnError, match="mlflow db upgrade"), readable_mlflow_errors():
        open_store(tmp_path, "tiny/snippets")


@pytest.mark.parametrize("uri", ["http://[::1", "http://h:x/", "postgresql://h:port/x"])
def test_a_malformed_address_is_named_and_ends_no_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], uri: str
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with pytest.raises(TextrnnError, match="MLFLOW_TRACKING_URI"), readable_mlflow_errors():
        open_store(tmp_path, "tiny/snippets")
    LiveRun(RUN, tmp_path).end({})
    assert capsys.readouterr().err.startswith("warning: training continues without MLflow: ")


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("run.json", lambda run: run),
        ("predictions.parquet", lambda run: run.predictions),
        ("history.csv", lambda run: run.history),
    ],
)
def test_a_half_merged_file_of_a_run_is_named_with_the_way_out(
    tmp_path: Path, name: str, read: Callable[[RunFolder], object]
) -> None:
    run = make_run(tmp_path, "lstm", epochs=2)
    file = run.path / name
    file.write_bytes(b"<<<<<<< HEAD\n" + file.read_bytes() + b"=======\n>>>>>>> other\n")
    with pytest.raises(TextrnnError, match=rf"{name} is damaged: .* `dvc checkout --force .*lstm`"):
        read(RunFolder.load(run.path))
