"""The command `textrnn`, run as a user runs it: from a shell, in some folder."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest
from tiny_project import PARAMS, PROJECT


def textrnn(folder, *arguments):
    return subprocess.run(
        [sys.executable, "-m", "textrnn", *arguments], cwd=folder, capture_output=True, text=True, timeout=120
    )


def test_help_names_the_commands(tmp_path):
    done = textrnn(tmp_path, "--help")
    assert done.returncode == 0
    assert "repro" in done.stdout
    assert "verify" in done.stdout
    assert "compare" in done.stdout


@pytest.mark.parametrize("module", ["typer.main", "textrnn.errors", "textrnn.project.dvc"])
def test_ctrl_c_while_it_imports_ends_it_without_a_traceback(tmp_path, module):
    command = [sys.executable, "-X", "importtime", "-m", "textrnn", "repro"]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        for line in process.stderr:
            if line.rstrip().endswith(f" {module}"):
                process.send_signal(signal.SIGINT)
                break
        text = process.stderr.read()
    assert process.returncode == 130
    assert "Traceback" not in text


@pytest.mark.parametrize("command", ["repro", "verify", "compare lstm gru"])
def test_in_a_wrong_folder_the_error_is_one_line(tmp_path, command):
    done = textrnn(tmp_path, *command.split())
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_study_with_mistakes_stops_before_anything_runs(tmp_path):
    params = PARAMS.replace("units: 3", "units: 0").replace("corpus: snippets", "corpus: rotten_tomatoes")
    (tmp_path / "params.yaml").write_text(params, encoding="utf-8")
    (tmp_path / "catalog.yaml").write_text((PROJECT / "catalog.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    done = textrnn(tmp_path, "repro")
    assert done.returncode == 1
    assert "train" in done.stderr
    assert "units" in done.stderr
    assert "Traceback" not in done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"params.yaml", "catalog.yaml"}


def test_jobs_must_be_positive(tmp_path):
    done = textrnn(tmp_path, "repro", "--jobs", "0")
    assert done.returncode == 2
    assert "--jobs" in done.stderr


def test_an_address_needs_the_engine_that_it_belongs_to(tmp_path):
    done = textrnn(tmp_path, "repro", "--address", "one:6379")
    assert done.returncode == 1
    assert done.stderr == "error: --address one:6379 is that of a Ray cluster: add --engine ray.\n"


def test_start_up_imports_nothing_heavy():
    code = (
        "import sys, textrnn.cli; "
        "heavy = {'tensorflow', 'keras', 'mlflow', 'pandas', 'polars', 'dvc', 'sklearn'} & set(sys.modules); "
        "sys.exit(str(heavy) if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
