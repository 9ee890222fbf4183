"""The steps of `.github/workflows` and `.gitlab-ci.yml`, for tests that run them unchanged."""

from __future__ import annotations

import yaml
from tiny_project import PROJECT


def script(workflow: str, job: str, step: str) -> str:
    """What a step of a workflow runs."""
    content = yaml.safe_load((PROJECT / ".github" / "workflows" / f"{workflow}.yml").read_text(encoding="utf-8"))
    (found,) = [each for each in content["jobs"][job]["steps"] if each.get("name") == step]
    return found["run"]


def gitlab_script(job: str, part: str = "script") -> str:
    """What a job of GitLab's runs; lists within the list are flattened, as GitLab does."""
    content = yaml.safe_load((PROJECT / ".gitlab-ci.yml").read_text(encoding="utf-8"))
    lines = [line for each in content[job][part] for line in (each if isinstance(each, list) else [each])]
    return "\n".join(lines)
