"""The workflows for GitHub and GitLab: valid, safe, and made of commands that run anywhere."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from tiny_project import PROJECT
from workflow_steps import gitlab_script, script

WORKFLOWS = sorted((PROJECT / ".github" / "workflows").glob("*.yml"))


def program(name: str) -> str:
    return str(Path(sys.executable).with_name(name))


def steps(workflow: Path) -> Iterator[dict[str, Any]]:
    for job in yaml.safe_load(workflow.read_text(encoding="utf-8"))["jobs"].values():
        yield from job["steps"]


def test_there_are_the_five() -> None:
    assert [workflow.stem for workflow in WORKFLOWS] == ["ci", "faults", "from-zero", "promote", "retrain"]


def test_github_and_gitlab_can_read_them() -> None:
    for arguments in (
        ["--builtin-schema", "vendor.github-workflows", *map(str, WORKFLOWS)],
        ["--builtin-schema", "vendor.gitlab-ci", "--data-transform", "gitlab-ci", str(PROJECT / ".gitlab-ci.yml")],
    ):
        done = subprocess.run([program("check-jsonschema"), *arguments], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


def test_a_security_linter_finds_nothing() -> None:
    """Unpinned actions, wide permissions, pasted inputs, leaked credentials, dangerous triggers."""
    done = subprocess.run(
        [program("zizmor"), "--offline", "--no-progress", "--strict-collection", *map(str, WORKFLOWS)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_linters_do_find_what_is_wrong(tmp_path: Path) -> None:
    """Else the two tests above would prove nothing."""
    workflow = (PROJECT / ".github" / "workflows" / "retrain.yml").read_text(encoding="utf-8")
    pasted = tmp_path / "pasted.yml"
    pasted.write_text(workflow.replace('"$PARAMS"', "${{ inputs.params }}"), encoding="utf-8")
    unpinned = tmp_path / "unpinned.yml"
    unpinned.write_text(re.sub(r"@[0-9a-f]{40}", "@main", workflow), encoding="utf-8")
    for file, finding in ((pasted, "template-injection"), (unpinned, "unpinned-uses")):
        done = subprocess.run(
            [program("zizmor"), "--offline", "--no-progress", str(file)], capture_output=True, text=True
        )
        assert done.returncode != 0
        assert finding in done.stdout
    broken = tmp_path / "broken.yml"
    broken.write_text(workflow.replace("runs-on:", "run-on:"), encoding="utf-8")
    done = subprocess.run(
        [program("check-jsonschema"), "--builtin-schema", "vendor.github-workflows", str(broken)], capture_output=True
    )
    assert done.returncode != 0


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda workflow: workflow.stem)
def test_actions_are_githubs_own_and_what_runs_is_a_valid_script(workflow: Path) -> None:
    for step in steps(workflow):
        if "uses" in step:
            assert step["uses"].startswith("actions/"), step
            continue
        checked = subprocess.run(["bash", "-n"], input=step["run"], capture_output=True, text=True)
        assert checked.returncode == 0, checked.stderr
        assert "${{" not in step["run"], "an expression pasted into a shell line"


@pytest.mark.parametrize("workflow", ["ci", "from-zero"])
def test_what_needs_no_repository_of_a_team_runs_targets_that_make_has(workflow: str, tmp_path: Path) -> None:
    """With a `make` that says what it would do. tests/test_workflows_in_runners.py runs them whole."""
    make = tmp_path / "make"
    make.write_text(f'#!/bin/sh\nexec {shutil.which("make")} --dry-run "$@"\n')
    make.chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
    scripts = [step["run"] for step in steps(PROJECT / ".github" / "workflows" / f"{workflow}.yml") if "run" in step]
    said = ""
    for script_ in scripts:
        done = subprocess.run(
            ["bash", "-e", "-c", script_], cwd=PROJECT, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        said += done.stdout
    expected = {
        "ci": ["bash .ci/packages\n", "-m pytest\n", "-m sphinx ", "bash .ci/backends\n", "bash .ci/audit\n"],
        "from-zero": ["-m textrnn verify "],
    }
    for words in expected[workflow]:
        assert words in said


def test_a_report_is_posted_once_and_updated(tmp_path: Path) -> None:
    """With a `gh` that notes how it is called."""
    (tmp_path / "report.md").write_text("# Retraining\n")
    gh = tmp_path / "gh"
    gh.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/called\n')
    gh.chmod(0o755)
    tell = script("retrain", "retrain", "Tell")

    def run(number: str, temporary: Path) -> None:
        subprocess.run(
            ["bash", "-e", "-o", "pipefail", "-c", tell],
            env={
                "PATH": f"{tmp_path}:/usr/bin:/bin",
                "NUMBER": number,
                "RUNNER_TEMP": str(temporary),
                "GITHUB_STEP_SUMMARY": str(tmp_path / "summary.md"),
            },
            check=True,
        )

    run("", tmp_path)
    assert not (tmp_path / "called").exists()
    run("12", tmp_path)
    called = (tmp_path / "called").read_text()
    assert called == f"pr comment 12 --edit-last --create-if-none --body-file {tmp_path}/report.md\n"
    assert (tmp_path / "summary.md").read_text() == "# Retraining\n" * 2
    run("12", tmp_path / "nothing")
    assert (tmp_path / "called").read_text() == called


def test_gitlab_posts_a_report_with_the_token_out_of_sight(tmp_path: Path) -> None:
    """With a `curl` that notes how it is called."""
    (tmp_path / "report.md").write_text("# Retraining\n")
    curl = tmp_path / "curl"
    curl.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/called\ncat > {tmp_path}/config\n')
    curl.chmod(0o755)
    variables = {
        "PATH": f"{tmp_path}:/usr/bin:/bin",
        "RETRAIN_TOKEN": "secret",
        "CI_MERGE_REQUEST_IID": "12",
        "CI_PROJECT_ID": "3",
        "CI_API_V4_URL": "https://gitlab.example.org/api/v4",
    }
    tell = ["bash", "-e", "-o", "pipefail", "-c", gitlab_script("retrain", "after_script")]
    subprocess.run(tell, cwd=tmp_path, env=variables, check=True)
    called = (tmp_path / "called").read_text()
    assert "body@report.md https://gitlab.example.org/api/v4/projects/3/merge_requests/12/notes" in called
    assert "secret" not in called
    assert (tmp_path / "config").read_text() == 'header = "PRIVATE-TOKEN: secret"\n'
    (tmp_path / "called").unlink()
    subprocess.run(tell, cwd=tmp_path, env={**variables, "RETRAIN_TOKEN": ""}, check=True)
    assert not (tmp_path / "called").exists()


def test_gitlab_runs_the_same_commands() -> None:
    assert gitlab_script("test") == "make packages\nmake test-all PYTHON=python\nmake docs"
    assert gitlab_script("backends") == "make backends PYTHON=python"
    assert gitlab_script("audit") == "make audit PYTHON=python"
    assert gitlab_script("promote").splitlines()[-1] == "make promote"
    assert gitlab_script("from-zero").splitlines()[-1] == "make verify"
    assert gitlab_script("faults").splitlines()[-1] == "make faults"
    for job in ("test", "backends", "audit", "retrain", "promote", "from-zero", "faults"):
        assert subprocess.run(["bash", "-n"], input=gitlab_script(job), text=True).returncode == 0
