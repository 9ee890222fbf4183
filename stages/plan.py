"""Stage `plan`: params.yaml, catalog.yaml and the code -> what each of the other stages depends on."""

from __future__ import annotations

from pathlib import Path

from textrnn.config.catalog import load_catalog
from textrnn.config.ensemble import MEMBERS, write_members
from textrnn.config.params import load_params
from textrnn.config.plan import make_plan
from textrnn.errors import TextrnnError
from textrnn.stage import run_stage, write_folder


def main(folder: Path) -> None:
    """Validates the whole study, and writes FOLDER: for each stage a file with its settings and its code."""
    catalog = load_catalog()
    params = load_params(catalog=catalog)
    if write_members(Path(), params.ensembles, params.teachers):
        raise TextrnnError(
            f"{MEMBERS} was not that of params.yaml. Now it is, but DVC has read it before: repeat this."
        )
    with write_folder(folder) as fresh:
        for stage, text in make_plan(params, catalog).items():
            (fresh / f"{stage}.json").write_text(text, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    run_stage(main)
