"""The workflows as a runner reads them, whole: GitHub's by `act`, GitLab's by `gitlab-ci-local`.

What a forge has is here in small: git over HTTP that takes pushes with a token only, and comments. DVC's remote and the
MLflow server are real. docs/retraining.md reports what is replaced by what, and what no runner can run.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import requests
from forge import TOKEN, forge
from mlflow_site import mlflow_server
from runners import Team, needs_act, needs_gitlab_ci_local
from tiny_project import make_project

pytestmark = pytest.mark.long

CI_TARGETS = {
    "tests/test_git.py": """import os
import subprocess


def test_git_may_read_and_not_push() -> None:
    environment = {**os.environ, "GIT_TERMINAL_PROMPT": "0"}
    for command, ends in ((["ls-remote", "origin"], 0), (["push", "origin", "HEAD:refs/heads/mine"], 128)):
        assert subprocess.run(["git", *command], env=environment).returncode == ends
""",
    "docs/conf.py": """\"\"\"One page.\"\"\"

extensions = ["myst_parser"]
root_doc = "docs/index"
include_patterns = ["docs/*.md"]
""",
    "docs/index.md": "# One page\n",
    ".ci/packages": "echo nothing is installed here\n",
    ".ci/backends": "test -x .venv/bin/python && echo the backends are tested\n",
    ".ci/audit": "command -v pip-audit && echo the packages are audited\n",
}
"""What the targets of make that `ci.yml` runs find in the tiny project, where one file is checked for types."""


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Team]:
    """A team whose main branch has results."""
    folder = tmp_path_factory.mktemp("team")
    author = make_project(folder / "author", folder / "home")
    for name, text in CI_TARGETS.items():
        (author.folder / name).parent.mkdir(exist_ok=True)
        (author.folder / name).write_text(text)

    settings = author.read("pyproject.toml")
    (author.folder / "pyproject.toml").write_text(settings.replace('files = ["src", "stages"]', 'files = ["tests"]'))

    def study(params: dict) -> None:
        params["embeddings"].pop("glove")
        params["baselines"] = {"majority": {"kind": "majority"}}
        params["comparisons"]["against"] = ["majority"]
        params["probes"] = []
        params["train"].update(cell="feedforward", readout="mean", trainable_embedding=True)
        params["experiments"] = {"mean": {"embedding": "random"}}

    author.edit("params.yaml", study)
    author.dvc("remote", "add", "--quiet", "--default", "shared", str(folder / "remote"))
    origin = folder / "git" / "team" / "texts.git"
    author.run("git", "init", "--quiet", "--bare", "--initial-branch=main", str(origin))
    author.run("git", "remote", "add", "origin", str(origin))
    (folder / "cache").mkdir()
    with ExitStack() as stack:
        variables = stack.enter_context(mlflow_server(folder, f"sqlite:///{folder}/server.db"))
        team = Team(folder, author, stack.enter_context(forge(folder / "git")), variables)
        team.push()
        author.textrnn("retrain", "--report", str(folder / "report.md"), **variables)
        yield team


def refs(team: Team) -> str:
    """All that the forge's repository has."""
    return team.git("ls-remote", "origin")


def pull_request(number: int, branch: str, repository: str) -> dict:
    """What GitHub says about one to main."""
    return {
        "number": number,
        "pull_request": {
            "number": number,
            "head": {"ref": branch, "repo": {"full_name": repository}},
            "base": {"ref": "main", "repo": {"full_name": "team/texts"}},
        },
        "repository": {"default_branch": "main", "full_name": "team/texts"},
    }


def champion(team: Team) -> str | None:
    """Its version in the registry."""
    asked = requests.get(
        f"{team.variables['MLFLOW_TRACKING_URI']}/api/2.0/mlflow/registered-models/alias",
        params={"name": "textrnn-snippets", "alias": "champion"},
        auth=(team.variables["MLFLOW_TRACKING_USERNAME"], team.variables["MLFLOW_TRACKING_PASSWORD"]),
        timeout=60,
    )
    return asked.json()["model_version"]["version"] if asked.ok else None


@needs_act
def test_ci(team: Team) -> None:
    before = refs(team)
    done = team.github("ci", "push", {"ref": "refs/heads/main"})
    assert done.status == 0, done.log
    assert done.jobs == dict.fromkeys(["test 3.11", "test 3.12", "test 3.13", "backends", "audit"], "success")
    assert [done.log.count(words) for words in ("1 passed", "open site/index.html")] == [3, 3]
    assert [done.log.count(words) for words in ("the backends are tested", "the packages are audited")] == [1, 1]
    assert refs(team) == before


@needs_act
def test_retrain_for_a_pull_request(team: Team) -> None:
    team.branch("better")
    team.author.edit("params.yaml", lambda params: params["experiments"]["mean"].update(epochs=3))
    team.push()
    done = team.github("retrain", "pull_request", pull_request(1, "better", "team/texts"), "better")
    assert done.status == 0, done.log
    assert done.jobs == {"retrain": "success", "fork": "skipped"}
    (path, comment) = team.site.comments.pop()
    assert path == "/api/pulls/1/comments"
    assert "| `experiments.mean.epochs` |" in comment
    assert done.summary == comment
    team.git("fetch", "--quiet")
    (commit,) = team.git("log", "--format=%an: %s", "better..origin/better").splitlines()
    assert commit == "github-actions[bot]: Bring results up to date of mean"
    changed = team.git("diff", "--name-only", "better", "origin/better").splitlines()
    assert {name.partition("/")[0] for name in changed} == {"dvc.lock", "reports"}
    assert f"saved dvc-{team.runs}-1" in done.log
    assert TOKEN not in done.log


@needs_act
def test_retrain_for_a_fork(team: Team) -> None:
    """GitHub gives it no secrets, and a token that may not push: here, none."""
    team.git("switch", "--quiet", "main")
    team.git("switch", "--quiet", "--create", "theirs")
    team.author.edit("params.yaml", lambda params: params["experiments"]["mean"].update(epochs=1))
    team.author.commit()
    team.git("push", "--quiet", "origin", "HEAD:refs/pull/2/merge")
    before = refs(team)
    done = team.github("retrain", "pull_request", pull_request(2, "theirs", "somebody/texts"), secrets=False)
    assert done.status == 0, done.log
    assert done.jobs == {"retrain": "skipped", "fork": "success"}
    assert "| `experiments.mean.epochs` |" in done.summary
    assert refs(team) == before
    assert team.site.comments == []


@needs_act
def test_retrain_with_chosen_params(team: Team) -> None:
    payload = {"inputs": {"params": "train.units=2 seeds=[1]"}, "repository": {"default_branch": "main"}}
    entries = sorted((team.folder / "cache").iterdir(), key=lambda entry: entry.stat().st_mtime_ns)
    done = team.github("retrain", "workflow_dispatch", payload)
    assert done.status == 0, done.log
    assert done.jobs == {"retrain": "success", "fork": "skipped"}
    assert f"restored {entries[-1].stem}\n" in done.log
    assert "`[0, 1]`" in done.summary and "`[1]`" in done.summary
    assert team.site.comments == []
    team.git("fetch", "--quiet")
    changed = team.git("diff", "--name-only", "main", f"origin/retrain-{team.runs}").splitlines()
    assert {name.partition("/")[0] for name in changed} == {"dvc.lock", "params.yaml", "reports"}


@needs_act
def test_promote(team: Team) -> None:
    team.merge("better")
    before = refs(team)
    assert champion(team) is None
    done = team.github("promote", "push", {"ref": "refs/heads/main"})
    assert done.status == 0, done.log
    assert done.jobs == {"promote": "success"}
    assert "becomes the first champion" in done.summary
    assert champion(team) == "1"
    assert refs(team) == before


@needs_act
def test_from_zero(team: Team) -> None:
    done = team.github("from-zero", "schedule", {"schedule": "43 1 * * 0"})
    assert done.status == 0, done.log
    assert done.jobs == {"verify": "success"}
    assert f"{len(team.author.lock())} stages: same bytes, 0 stages: metrics" in done.log


def detached(team: Team, branch: str) -> Path:
    """A clone as GitLab makes it: at a commit, and at no branch."""
    folder = team.clone(branch)
    team.git("-C", str(folder), "checkout", "--quiet", "--detach")
    return folder


EVERY_CHANGE = ["audit", "backends", "test: [3.11]", "test: [3.12]", "test: [3.13]"]


@needs_gitlab_ci_local
def test_gitlab_chooses_jobs(team: Team) -> None:
    folder = team.clone("main")

    def chosen(**variables: str) -> list[str]:
        rows = team.gitlab(folder, "--list-csv", **variables).log.partition("name;stage;")[2].splitlines()[1:]
        return sorted(row.partition(";")[0] for row in rows if ";" in row)

    assert chosen() == EVERY_CHANGE
    assert chosen(CI_PIPELINE_SOURCE="web") == ["retrain"]
    assert chosen(CI_PIPELINE_SOURCE="schedule") == ["retrain"]
    assert chosen(CI_PIPELINE_SOURCE="schedule", FROM_ZERO="yes") == ["from-zero"]
    assert chosen(CI_PIPELINE_SOURCE="schedule", FAULTS="yes") == ["faults"]


@needs_gitlab_ci_local
def test_gitlab_for_a_merge_request_and_for_a_fork_of_which_the_token_is_missing(team: Team) -> None:
    team.branch("other")
    team.author.edit("params.yaml", lambda params: params["experiments"]["mean"].update(batch_size=4))
    team.push()
    folder, before = detached(team, "other"), refs(team)
    variables = {
        "CI_PIPELINE_SOURCE": "merge_request_event",
        "CI_COMMIT_REF_NAME": "other",
        "CI_MERGE_REQUEST_IID": "5",
        "CI_MERGE_REQUEST_SOURCE_BRANCH_NAME": "other",
        "CI_MERGE_REQUEST_TARGET_BRANCH_NAME": "main",
    }
    without = team.gitlab(folder, "--unset-variable", "CI_COMMIT_BRANCH", "retrain", **variables)
    assert without.jobs == {"retrain": "PASS"}, without.log
    assert refs(team) == before
    assert team.site.comments == []
    folder = detached(team, "other")
    done = team.gitlab(
        folder, "--unset-variable", "CI_COMMIT_BRANCH", **variables, RETRAIN_TOKEN=TOKEN, **team.variables
    )
    assert done.jobs == dict.fromkeys([*EVERY_CHANGE, "retrain"], "PASS"), done.log
    assert [done.log.count(words) for words in ("1 passed", "open site/index.html")] == [3, 3]
    ((path, comment),) = team.site.comments
    team.site.comments.clear()
    assert path == "/api/v4/projects/1217/merge_requests/5/notes"
    assert "| `experiments.mean.batch_size` |" in comment
    assert (folder / ".gitlab-ci-local" / "artifacts" / "retrain" / "report.md").read_text() == comment
    team.git("fetch", "--quiet")
    (commit,) = team.git("log", "--format=%an: %s", "other..origin/other").splitlines()
    assert commit.startswith("retraining: Bring results up to date")


@needs_gitlab_ci_local
def test_gitlab_with_chosen_params(team: Team) -> None:
    folder = team.clone("main")
    done = team.gitlab(
        folder,
        CI_PIPELINE_SOURCE="web",
        CI_PIPELINE_ID="77",
        PARAMS="train.units=2 seeds=[0]",
        RETRAIN_TOKEN=TOKEN,
        **team.variables,
    )
    assert done.jobs == {"retrain": "PASS"}, done.log
    team.git("fetch", "--quiet")
    changed = team.git("diff", "--name-only", "origin/main", "origin/retrain-77").splitlines()
    assert {name.partition("/")[0] for name in changed} == {"dvc.lock", "params.yaml", "reports"}


@needs_gitlab_ci_local
def test_gitlab_after_a_merge(team: Team) -> None:
    team.merge("other")
    folder, before = team.clone("main"), champion(team)
    team.git("-C", str(folder), "update-ref", "refs/remotes/origin/main", "HEAD~1")  # where main was before the push
    done = team.gitlab(folder, CI_PIPELINE_SOURCE="push", RETRAIN_TOKEN=TOKEN, **team.variables)
    assert done.jobs == dict.fromkeys([*EVERY_CHANGE, "promote"], "PASS"), done.log
    assert ("becomes the first champion" in done.log) == (before is None)
    assert champion(team) is not None


@needs_gitlab_ci_local
def test_gitlab_from_zero(team: Team) -> None:
    done = team.gitlab(team.clone("main"), CI_PIPELINE_SOURCE="schedule", FROM_ZERO="yes")
    assert done.jobs == {"from-zero": "PASS"}, done.log
    assert "0 stages: metrics within tolerance, 0 stages: different" in done.log
