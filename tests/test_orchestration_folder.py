"""What a kill has left is repaired before a call begins: files that were cut off, and DVC processes that are ending."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from threading import Timer

import pytest
from zc.lockfile import LockFile

from textrnn.errors import TextrnnError
from textrnn.orchestration.folder import IN_USE, alone

LOCK = "schema: '2.0'\nstages:\n  plan:\n    cmd: python plan.py\n    outs:\n    - path: plan\n      md5: abc\n"


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("dvc.yaml").write_text("stages: {}\n", encoding="utf-8")
    Path(".dvc").mkdir()
    Path(".dvc/config").write_text("[core]\n    no_scm = true\n", encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize("left", ["", LOCK[:20], LOCK[:-3], LOCK[:-1]])
def test_a_lock_that_is_cut_off_is_what_the_last_call_found(left: str, capsys: pytest.CaptureFixture[str]) -> None:
    lock = Path("dvc.lock")
    lock.write_text(LOCK, encoding="utf-8")
    with alone():
        lock.write_text(left, encoding="utf-8")
    assert capsys.readouterr().err == ""
    with alone():
        assert lock.read_text(encoding="utf-8") == LOCK
    assert capsys.readouterr().err.startswith("warning: dvc.lock was cut off, as by a kill. It is again what it was")
    with alone():
        assert lock.read_text(encoding="utf-8") == LOCK
    assert capsys.readouterr().err == ""


def test_a_lock_that_the_last_call_did_not_find_is_deleted() -> None:
    with alone():
        Path("dvc.lock").write_text(LOCK[:20], encoding="utf-8")
    with alone():
        assert not Path("dvc.lock").exists()


def test_what_is_half_merged_or_was_never_whole_is_an_error() -> None:
    lock = Path("dvc.lock")
    lock.write_text("", encoding="utf-8")
    with pytest.raises(TextrnnError, match="`git restore dvc"), alone():
        pass
    lock.write_text(LOCK, encoding="utf-8")
    with alone():
        pass
    lock.write_text(f"<<<<<<< ours\n{LOCK}=======\n>>>>>>> theirs\n", encoding="utf-8")
    with pytest.raises(TextrnnError, match="merge"), alone():
        pass
    assert lock.read_text(encoding="utf-8").startswith("<<<<<<<")


@pytest.mark.parametrize("content", ["", '{"write": {"/', '{"write": {"/a": {"pid": 99999999, "cmd": ""}}}'])
def test_a_list_of_files_in_use_that_a_kill_left_is_deleted(content: str) -> None:
    IN_USE.parent.mkdir()
    IN_USE.write_text(content, encoding="utf-8")
    with alone():
        assert not IN_USE.exists()


@pytest.mark.parametrize("kind", ["write", "read"])
def test_a_call_waits_for_the_dvc_processes_of_a_killed_one(kind: str) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as orphan:
        user = {"pid": orphan.pid, "cmd": "dvc"}
        IN_USE.parent.mkdir()
        IN_USE.write_text(json.dumps({kind: {"/a": user if kind == "write" else [user]}}), encoding="utf-8")
        timer = Timer(1.0, orphan.kill)
        timer.start()
        with alone():  # it has ended, and as a zombie nobody has waited for it
            assert not timer.is_alive()
            assert not IN_USE.exists()


@pytest.mark.parametrize("shared", [False, True])
def test_parts_of_files_in_the_cache_that_a_kill_left_are_deleted(
    shared: bool, project: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    cache = tmp_path_factory.mktemp("shared") if shared else project / ".dvc" / "cache"
    if shared:
        Path(".dvc/config.local").write_text(f"[cache]\n    dir = {cache}\n", encoding="utf-8")
    records, files = cache / "runs", cache / "files" / "md5" / "36"
    kept = [records / "ab" / "abc" / "whole", files / "whole"]
    parts = [records / "ab" / "abc" / ".cut.tmp", records / "cd" / "cde" / ".cut.tmp", files / ".cut.tmp"]
    empty = records / "ef" / "efg"
    for path in (*kept, *parts):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    empty.mkdir(parents=True)
    gone = [*parts, empty, records / "cd" / "cde"]
    if shared:
        with alone():
            assert all(path.exists() for path in (*kept, *gone)), "another project may be writing them"
        for folder in (files, *records.glob("*/*")):
            os.utime(folder, (0, 0))
    Path(".dvc/tmp").mkdir(exist_ok=True)
    with closing(LockFile(".dvc/tmp/lock")), alone():
        assert all(path.exists() for path in (*kept, *gone)), "DVC is at work here, as `dvc pull` in another terminal"
    with alone():
        assert all(path.exists() for path in kept)
        assert not any(path.exists() for path in gone)
