"""How the backend is set up."""

from __future__ import annotations

import ctypes
import subprocess
import sys

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
