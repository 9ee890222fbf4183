"""The steps of `.github/workflows`, to be run by tests as they stand there."""

from __future__ import annotations

import yaml
from tiny_project import PROJECT


def script(workflow: str, job: str, step: str) -> str:
    """What a step of a workflow runs."""
    content = yaml.safe_load((PROJECT / ".github" / "workflows" / f"{workflow}.yml").read_text(encoding="utf-8"))
    (found,) = [each for each in content["jobs"][job]["steps"] if each.get("name") == step]
    return found["run"]
