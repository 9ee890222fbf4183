"""How a process of ours begins: settings that change results are fixed here, whatever the user's environment has."""

import codecs
import os
import re
import sys
import unicodedata
from collections.abc import Mapping

COMPUTING = {
    "TF_ENABLE_ONEDNN_OPTS": "0",  # oneDNN picks kernels by processor: other bytes elsewhere
    "CUBLAS_WORKSPACE_CONFIG": ":4096:2",  # with one size alone cuDNN's layers repeat their results
}
"""Variables that change results, and always have these values."""

FOREIGN = re.compile(
    "OMP_|OPENBLAS_|GOTO_|MKL_|BLIS_|VECLIB_|KMP_|NPY_|NUMEXPR_|TF_|XLA_|KERAS_|DNNL_|ONEDNN_|CUBLAS_|CUDNN_|JAX_|TORCH_"
    "|PYTORCH_|NVIDIA_TF32_|MPL|MATPLOTLIBRC|POLARS_|PYTHONWARNINGS|PYTHONOPTIMIZE"
)
"""Beginnings of variables that change what libraries compute or draw."""

HARMLESS = re.compile(
    "KERAS_BACKEND|KERAS_HOME|KERAS_TORCH_DEVICE|JAX_PLATFORM|TF_CPP_|TF2_BEHAVIOR|KMP_DUPLICATE_|KMP_INIT_"
    "|TF_FORCE_GPU_ALLOW_GROWTH|TF_GPU_ALLOCATOR|XLA_PYTHON_CLIENT_|PYTORCH_CUDA_ALLOC_CONF|MPLCONFIGDIR"
    "|POLARS_MAX_THREADS|POLARS_TEMP_DIR|POLARS_SKIP_CPU_CHECK"
    "|TF_CLI_|TF_DATA_DIR|TF_IN_AUTOMATION|TF_INPUT|TF_LOG|TF_PLUGIN_|TF_TOKEN_|TF_VAR_|TF_WORKSPACE"
)
"""Those of them that choose where to compute and with how much, that libraries set themselves, or are Terraform's."""

INSERTED = ("LD_PRELOAD", "DYLD_INSERT_LIBRARIES")
"""Variables that load other code in place of libraries before this process starts."""

RESTARTED = "TEXTRNN_RESTARTED"

PLAIN = {"±": "+/-", "≈": "~", "−": "-", "–": "-", "→": "->", "…": "...", "×": "x", "≥": ">=", "≤": "<=", "·": "."}


def own_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Returns `environment` without what other projects set for the libraries that compute here."""
    return {
        name: value
        for name, value in environment.items()
        if not FOREIGN.match(name) or HARMLESS.match(name) or COMPUTING.get(name) == value
    }


JOBS = "TEXTRNN_JOBS"
"""How many processes a search has, as `textrnn repro --jobs` sets it: on a command line it would change results."""


def cores() -> int:
    """Returns the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def begin() -> None:
    """Makes this process independent of the user's settings, and its output printable on any terminal.

    Libraries read most settings when they are loaded. So a process with foreign settings starts once more
    without them: same command, same process id.
    """
    is_second = os.environ.pop(RESTARTED, None) is not None
    own = own_environment(os.environ)
    if own != dict(os.environ) and not is_second:
        if sys.stdout is not None:  # closed, as by `>&-`
            sys.stdout.flush()
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], {**own, RESTARTED: "1"})
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors=degraded.__name__)


def warn_of_inserted_code() -> None:
    """Warns of settings that nothing here can override."""
    for name in INSERTED:
        if value := os.environ.get(name):
            sys.stderr.write(f"warning: {name}={value} may replace libraries that compute: results may differ by it\n")


def degraded(error: UnicodeError) -> tuple[str, int]:
    """Handles characters that an encoding lacks: symbols get a plain form, others are escaped, as in `\\xe9`."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(map(_plain, error.object[error.start : error.end])), error.end


def _plain(character: str) -> str:
    if character in PLAIN:
        return PLAIN[character]
    if unicodedata.name(character, "").startswith(("BRAILLE", "BOX DRAWINGS")):  # rich's spinner and rules
        return "-"
    return character.encode("ascii", "backslashreplace").decode()


codecs.register_error(degraded.__name__, degraded)
