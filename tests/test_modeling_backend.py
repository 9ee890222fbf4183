"""How the backend is set up."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from pathlib import Path

import pytest

FAULTS_OF_A_SECOND_STEP = """
import resource
import textrnn.modeling.backend
from ctypes import memset
import numpy as np

def step():
    for array in [np.empty(1 << 24, np.uint8) for _ in range(8)]:
        memset(array.ctypes.data, 1, array.nbytes)

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

step()
before = faults()
step()
print(faults() - before)
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="the malloc here is not glibc's")
def test_what_a_step_frees_the_next_one_has_without_asking_the_system() -> None:
    command = [sys.executable, "-c", FAULTS_OF_A_SECOND_STEP]
    faults = int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert faults < 100  # of 32,768 pages, or of 64 large ones and what Python needs


def test_keras_own_file_has_no_say(tmp_path: Path) -> None:
    file = tmp_path / "keras.json"
    file.write_text('{"floatx": "float16", "epsilon": 0.1, "backend": "jax", "image_data_format": "channels_first"}')
    before = file.read_bytes()
    code = (
        "from textrnn.modeling.backend import keras; import os; config = keras.config; "
        "print(config.floatx(), config.epsilon(), config.image_data_format(), config.backend(), "
        "config.dtype_policy().name, os.environ['TF_ENABLE_ONEDNN_OPTS'])"
    )
    variables = {**os.environ, "KERAS_HOME": str(tmp_path), "TF_ENABLE_ONEDNN_OPTS": "1"}
    variables.pop("KERAS_BACKEND", None)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=variables)
    assert done.stdout == "float32 1e-07 channels_last tensorflow float32 0\n"
    assert file.read_bytes() == before


def test_a_backend_that_is_not_there_is_a_message() -> None:
    command = [sys.executable, "-c", "import textrnn.modeling.backend"]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "KERAS_BACKEND": "abacus"})
    assert done.returncode == 1
    assert done.stderr.startswith("error: KERAS_BACKEND=abacus: ")
    assert done.stderr.count("\n") == 1
