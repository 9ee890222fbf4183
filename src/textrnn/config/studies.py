"""`studies/`: complete, ready-made studies, of which one at a time is active, as `params.yaml`."""

import difflib
from pathlib import Path

from textrnn.config.yaml_file import read_yaml
from textrnn.errors import TextrnnError
from textrnn.project import git

FOLDER = "studies"


def activate(name: str, project: Path) -> None:
    """Makes `studies/<name>.yaml` the active study: `params.yaml` becomes a copy of it.

    Raises `TextrnnError`: there is no such study, or `params.yaml` holds what would be lost, being neither a study
    nor in git.
    """
    folder, active = project / FOLDER, project / "params.yaml"
    known = {file.stem: file for file in sorted(folder.glob("*.yaml"))}
    if name not in known:
        close = difflib.get_close_matches(name, known, 1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise TextrnnError(f"{FOLDER}: no study {name!r}.{hint} Known: {', '.join(known) or 'none'}.")
    wanted = known[name].read_bytes()
    present = active.read_bytes() if active.is_file() else None
    if present == wanted:
        return
    kept = present is None or present in [file.read_bytes() for file in known.values()]
    if not kept and not git.holds(project, active.name):
        raise TextrnnError(
            f"params.yaml is none of the studies in {FOLDER}/, git does not have it, and study {name!r} would take "
            f"its place. Keep it first, `cp params.yaml {FOLDER}/mine.yaml`, or give it up, "
            f"`cp {FOLDER}/{name}.yaml params.yaml`."
        )
    read_yaml(known[name])  # what is half merged stays out of params.yaml
    active.write_bytes(wanted)
