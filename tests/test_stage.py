"""What every stage shares: all-or-nothing folders, readable errors, the code that a result depends on."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from textrnn import stage
from textrnn.errors import TextrnnError
from textrnn.stage import only_file, readable_errors, write_folder


def test_write_folder_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "out"
    for content in ("first", "second"):
        with write_folder(folder) as scratch:
            assert list(scratch.iterdir()) == []
            assert scratch.parent.parent == folder.parent
            (scratch / content).write_text(content)
        assert [path.name for path in folder.iterdir()] == [content]
    assert list(folder.parent.iterdir()) == [folder]


def test_write_folder_removes_what_a_killed_process_left(tmp_path: Path) -> None:
    for name in (".lstm.k1l_ed12", ".lstm-big.k1l_ed12"):
        (tmp_path / name / "lstm").mkdir(parents=True)
    with write_folder(tmp_path / "lstm"):
        pass
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lstm-big.k1l_ed12", "lstm"]


@pytest.mark.parametrize("error", [TextrnnError, KeyboardInterrupt, ZeroDivisionError])
def test_write_folder_leaves_nothing_of_a_failure(tmp_path: Path, error: type[BaseException]) -> None:
    folder = tmp_path / "out"

    def fail() -> None:
        with write_folder(folder) as scratch:
            (scratch / "half").write_text("half")
            raise error

    with pytest.raises(error):
        fail()
    assert list(tmp_path.iterdir()) == []

    folder.mkdir()
    (folder / "old").write_text("old")
    with pytest.raises(error):
        fail()
    assert list(tmp_path.iterdir()) == [folder]
    assert [path.name for path in folder.iterdir()] == ["old"]


def test_a_full_disk_is_named_with_the_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit), readable_errors(), write_folder(tmp_path / "lstm"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert capsys.readouterr().err.startswith(f"error: {tmp_path / 'lstm'}: No space left on device. Make room there")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has /dev/full, which is always full")
@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_full_disk_is_named_where_polars_writes(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit), readable_errors(), write_folder(tmp_path / "lstm"):
        getattr(pl.DataFrame({"text": ["a"]}), f"write_{kind}")("/dev/full")
    assert capsys.readouterr().err.startswith(f"error: {tmp_path / 'lstm'}: No space left on device. Make room there")


def test_only_file(tmp_path: Path) -> None:
    (tmp_path / "archive.zip").write_text("")
    assert only_file(tmp_path) == tmp_path / "archive.zip"


@pytest.mark.parametrize(("names", "found"), [((), "nothing"), (("b.zip", "a.zip"), "a.zip, b.zip")])
def test_only_file_says_what_it_found(tmp_path: Path, names: tuple[str, ...], found: str) -> None:
    for name in names:
        (tmp_path / name).write_text("")
    with pytest.raises(TextrnnError) as error:
        only_file(tmp_path)
    message = f"{tmp_path} must hold one downloaded archive. Found: {found}. Run `dvc repro`."
    assert str(error.value) == message


def test_only_file_of_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(TextrnnError, match="Found: nothing"):
        only_file(tmp_path / "none")


def test_readable_errors(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_, readable_errors():
        raise TextrnnError("units: 0 is too small. Take 1.")
    assert exit_.value.code == 1
    assert capsys.readouterr().err == "error: units: 0 is too small. Take 1.\n"
    with pytest.raises(ZeroDivisionError), readable_errors():
        raise ZeroDivisionError


def run_entry_point(folder: Path, body: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    file = folder / "entry_point.py"
    file.write_text(
        "from pathlib import Path\n"
        "from textrnn.errors import TextrnnError\n"
        "from textrnn.stage import run_stage\n"
        f'def main(source: Path, name: str) -> None:\n    "Copies."\n    {body}\n'
        'if __name__ == "__main__":\n    run_stage(main)\n'
    )
    library = str(Path(stage.__file__).parents[1])
    return subprocess.run(
        [sys.executable, file.name, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": library},
        capture_output=True,
        text=True,
        check=False,
    )


def test_run_stage_reads_arguments_off_the_signature(tmp_path: Path) -> None:
    done = run_entry_point(tmp_path, "print(repr(source.name), name)", "data/raw", "lstm")
    assert (done.returncode, done.stdout, done.stderr) == (0, "'raw' lstm\n", "")
    assert run_entry_point(tmp_path, "pass", "data/raw").returncode == 2


def test_run_stage_turns_a_mistake_into_one_line_and_status_1(tmp_path: Path) -> None:
    done = run_entry_point(tmp_path, "raise TextrnnError(f'{name}: no. Try another.')", "raw", "lstm")
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "error: lstm: no. Try another.\n")


def test_run_stage_keeps_the_traceback_of_a_defect(tmp_path: Path) -> None:
    done = run_entry_point(tmp_path, "1 / 0", "raw", "lstm")
    assert done.returncode == 1
    assert "ZeroDivisionError" in done.stderr
    assert "entry_point.py" in done.stderr
