"""A Python process that a test starts."""

from __future__ import annotations

import os
from pathlib import Path


def environment(**variables: str) -> dict[str, str]:
    """This process' variables and these, for a process that may also import the modules of this folder.

    It does not pass `sys.path` on: MLflow puts the code of every model that it loads in front of that, and leaves it.
    """
    path = os.pathsep.join(filter(None, [str(Path(__file__).parent), os.environ.get("PYTHONPATH")]))
    return {**os.environ, "PYTHONPATH": path, **variables}
