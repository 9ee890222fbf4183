"""Results as git has them at a commit, or as the working tree has them now."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from textrnn.config.yaml_file import parse_json, parse_yaml, read_text
from textrnn.project import git
from textrnn.project.dvc_lock import Stages, outputs, parse_stages

REPORT_AGAIN = "`git restore reports`, or delete it and run `textrnn repro`, which writes the report anew."


@dataclass(frozen=True)
class Revision:
    """The study's settings and results at one time."""

    label: str  # what to call it
    commit: str  # its hash, which stays when a branch moves on; empty for the working tree
    params: dict[str, Any]  # the content of `params.yaml`
    stages: Stages  # each stage's entry in `dvc.lock`
    metrics: dict[str, dict[str, float]]  # by run, those of the report that the stage `compare` wrote

    @classmethod
    def read(cls, project: Path, label: str = "this branch", commit: str = "") -> Self:
        """Reads what the working tree has now, or what git has at a commit.

        Raises `TextrnnError`: a file there is broken.
        """

        def content(name: str) -> str | None:
            if commit:
                return git.content(project, commit, name) or None
            return read_text(project / name) if (project / name).is_file() else None

        def files(folder: str) -> list[str]:
            if commit:
                return git.files(project, commit, f"{folder}/")
            return sorted(file.relative_to(project).as_posix() for file in (project / folder).glob("*.json"))

        where = f" at {label}" if commit else ""
        params, lock = content("params.yaml"), content("dvc.lock")
        stages = {} if lock is None else parse_stages(lock, f"dvc.lock{where}")
        report = next(iter(outputs({"compare": stages.get("compare", {})})), None)
        return cls(
            label,
            commit,
            (parse_yaml(params, f"params.yaml{where}") if params else None) or {},
            stages,
            {
                Path(name).stem: parse_json(content(name) or "", f"{name}{where}", REPORT_AGAIN)
                for name in (files(f"{report}/metrics") if report else ())
            },
        )

    @property
    def runs(self) -> dict[str, str]:
        """DVC's hash of each run's folder."""
        found = outputs(self.stages)
        # Probes, explanations and searches, whose names have an @, are there, too.
        paths = {path: md5 for path, md5 in found.items() if path.startswith("runs/") and "@" not in path}
        return {path.removeprefix("runs/"): md5 for path, md5 in paths.items()}

    @property
    def best(self) -> str | None:
        """The experiment or ensemble with the highest accuracy on validation."""
        names = [
            name for section in ("experiments", "students", "ensembles") for name in self.params.get(section) or ()
        ]
        scores = {name: self.metrics.get(name, {}).get("valid_accuracy") for name in names}
        ranked = {name: score for name, score in scores.items() if score is not None}
        return max(ranked, key=ranked.__getitem__, default=None)
