"""Stage `member@<ensemble>+<run>`: copies a run to where an ensemble reads it."""

from __future__ import annotations

import shutil
from pathlib import Path

from textrnn.config.plan import load_planned_stage
from textrnn.config.validation import Strict
from textrnn.run_folder import RunFolder
from textrnn.stage import run_stage, write_folder


def main(plan: Path, run: Path, member: Path) -> None:
    """Copies RUN to MEMBER."""
    load_planned_stage(plan, Strict)
    RunFolder.load(run)
    with write_folder(member) as folder:
        shutil.copytree(run, folder, dirs_exist_ok=True)


if __name__ == "__main__":
    run_stage(main)
