"""A process does not depend on the user's home, shell and terminal."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from textrnn.errors import TextrnnError
from textrnn.process import COMPUTING, own_environment
from textrnn.stage import check_writable, readable_errors

FOREIGN = {
    "OMP_NUM_THREADS": "3",
    "OPENBLAS_CORETYPE": "Prescott",
    "MKL_CBWR": "AVX",
    "TF_ENABLE_ONEDNN_OPTS": "1",
    "TF_XLA_FLAGS": "--tf_xla_auto_jit=2",
    "NVIDIA_TF32_OVERRIDE": "1",
    "POLARS_STREAMING_CHUNK_SIZE": "7",
    "MPLBACKEND": "tkagg",
    "PYTHONWARNINGS": "error",
    "PYTHONOPTIMIZE": "2",
}
OWN = {"HOME": "/h", "KERAS_BACKEND": "jax", "TEXTRNN_PRECISION": "float32", "CUDA_VISIBLE_DEVICES": "1"} | {
    "POLARS_MAX_THREADS": "2",
    "TF_CPP_MIN_LOG_LEVEL": "0",
    **COMPUTING,
}
ENTRY_POINT = """
import os, sys
from textrnn.stage import run_stage

def main() -> None:
    "Prints."
    foreign = {name for name in os.environ if name.startswith(("OMP_", "TF_", "PYTHONW"))}
    print(sorted(foreign), os.environ["KERAS_BACKEND"], sys.flags.optimize, "79.4 ± 0.3 − ≈ 한 é")

run_stage(main)
"""


def test_what_other_projects_set_for_libraries_is_left_out() -> None:
    assert own_environment(FOREIGN | OWN | {"TF_ENABLE_ONEDNN_OPTS": "1"}) == {
        key: value for key, value in OWN.items() if key != "TF_ENABLE_ONEDNN_OPTS"
    }
    assert own_environment(OWN) == OWN


def run(code: str, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    library = str(Path(__file__).parents[1] / "src")
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env={"PATH": "", "PYTHONPATH": library, **variables},
        capture_output=True,
        encoding="latin-1",
    )


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_stage_starts_without_them_and_prints_on_any_terminal(tmp_path: Path, encoding: str) -> None:
    file = tmp_path / "entry point.py"
    file.write_text(ENTRY_POINT, encoding="utf-8")
    code = f"import runpy, sys; sys.argv = sys.argv[:1]; runpy.run_path({str(file)!r}, run_name='__main__')"
    done = run(code, **FOREIGN, KERAS_BACKEND="jax", PYTHONIOENCODING=encoding)
    plus = "±" if encoding == "latin-1" else "+/-"
    acute = "é" if encoding == "latin-1" else "\\xe9"
    assert done.stdout == f"[] jax 0 79.4 {plus} 0.3 - ~ \\ud55c {acute}\n"
    assert done.stderr == ""


def test_what_nothing_can_override_is_said() -> None:
    code = "from textrnn.stage import run_stage\nrun_stage(lambda: None)"
    done = run(code, LD_PRELOAD="", DYLD_INSERT_LIBRARIES="/x.dylib")
    assert done.stderr.startswith("warning: DYLD_INSERT_LIBRARIES=/x.dylib may replace libraries that compute")
    assert done.stderr.count("\n") == 1


def test_a_reader_that_has_enough_ends_the_output_quietly() -> None:
    code = "from textrnn.stage import readable_errors\nwith readable_errors(): print('x' * 1_000_000)"
    environment = {"PYTHONPATH": str(Path(__file__).parents[1] / "src")}
    pipe = subprocess.PIPE
    writer = subprocess.Popen([sys.executable, "-c", code], stdout=pipe, stderr=pipe, env=environment)
    assert writer.stdout and writer.stderr
    writer.stdout.close()
    assert writer.stderr.read() == b""
    assert writer.wait() == 1
    writer.stderr.close()


@pytest.mark.parametrize(
    "error", [OSError(28, "No space left on device", "runs/x"), OSError(30, "Read-only", "runs/x")]
)
def test_a_disk_that_takes_nothing_is_a_message(error: OSError, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit), readable_errors():
        raise error
    assert capsys.readouterr().err.startswith(f"error: runs/x: {error.strerror}. ")


def test_a_file_is_checked_before_the_work_whose_result_it_holds(tmp_path: Path) -> None:
    check_writable(tmp_path / "my report.md")
    with pytest.raises(TextrnnError, match="nodir is no folder"):
        check_writable(tmp_path / "nodir" / "r.md")
    with pytest.raises(TextrnnError, match="is a folder"):
        check_writable(tmp_path)


def test_an_argument_in_another_encoding_is_a_message() -> None:
    done = subprocess.run([sys.executable, "-m", "textrnn", "predict", b"caf\xe9"], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("error: the argument 'caf\\udce9' is not in this terminal's encoding")
