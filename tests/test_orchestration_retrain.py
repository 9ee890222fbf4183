"""What `textrnn retrain` refuses, and what it leaves as it was. tests/test_retraining_story.py has what it does."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_project import TinyProject

from textrnn.orchestration.retrain import _pictures_address
from textrnn.project.revision import Revision


def refused(project: TinyProject, *arguments: str) -> str:
    before = project.git_status()
    result = project.textrnn("retrain", *arguments, ok=False)
    assert result.status == 1
    assert "Traceback" not in result.text
    assert project.git_status() == before
    return result.text


def test_what_git_does_not_have_is_not_retrained(project: TinyProject) -> None:
    project.append("params.yaml", "# a thought\n")
    (project.folder / "src" / "textrnn" / "idea.py").write_text("")
    said = refused(project, "--no-publish", "--base", "HEAD")
    assert said.startswith("error: not committed: params.yaml, src/textrnn/idea.py. ")
    assert "git stash" in said


def test_an_uncommitted_report_and_results_are_allowed(project: TinyProject) -> None:
    (project.folder / "report.md").write_text("the last one")
    (project.folder / "reports" / "tiny" / "report.md").write_text("half written")
    project.textrnn("retrain", "--no-publish", "--base", "HEAD", "--report", "report.md")
    assert project.read("report.md").startswith("# Retraining: nothing differs from HEAD\n")
    assert project.git_status() == "?? report.md\n"


def test_there_must_be_a_branch_and_an_origin_to_publish_to(project: TinyProject) -> None:
    assert "git knows no remote origin" in refused(project)
    project.run("git", "checkout", "--quiet", "--detach")
    assert "HEAD is detached" in refused(project)


def test_the_base_must_be_known(project: TinyProject) -> None:
    said = refused(project, "--no-publish")
    assert "--base 'origin/main': git knows no such revision here." in said


def test_origin_must_answer_and_must_not_be_ahead(project: TinyProject, tmp_path: Path) -> None:
    project.run("git", "remote", "add", "origin", str(tmp_path / "nowhere"))
    assert "`git fetch --quiet origin` failed: fatal: " in refused(project)
    project.run("git", "clone", "--quiet", "--bare", str(project.folder), str(tmp_path / "nowhere"))
    project.append("README.md", "more\n")
    project.commit()
    project.run("git", "push", "--quiet", "origin", "main")
    project.run("git", "reset", "--quiet", "--hard", "HEAD~1")
    assert "origin/main has commits that are not here. `git pull` first." in refused(project)


def test_another_folder_and_another_notation_are_reported(project: TinyProject, tmp_path: Path) -> None:
    project.run("git", "switch", "--quiet", "--create", "other")
    said = refused(project, "--no-publish", "--base", "HEAD", "--set", "train.unit=3")
    assert "--set train.unit=3: " in said
    assert "starts with +" in said
    (tmp_path / "empty").mkdir()
    result = TinyProject(tmp_path / "empty", project.home).textrnn("retrain", ok=False)
    assert (result.status, result.text.partition(":")[0]) == (1, "error")
    assert "Run this in the project's top folder" in result.text


def test_a_value_that_the_study_does_not_allow_is_not_left_behind(project: TinyProject) -> None:
    said = refused(project, "--no-publish", "--base", "HEAD", "--set", "train.units=-1")
    assert "units" in said


def test_without_credentials_it_compares_what_is_here_and_publishing_refuses(project: TinyProject) -> None:
    """The base has another run, as if a colleague had trained it; the remote does not answer."""
    lock = project.read("dvc.lock")
    ours = project.lock()["train@mean"]["outs"][0]["md5"]
    (project.folder / "dvc.lock").write_text(lock.replace(ours, "0" * 32 + ".dir"), encoding="utf-8")
    project.commit()
    (project.folder / "dvc.lock").write_text(lock, encoding="utf-8")
    project.dvc("remote", "add", "--quiet", "--default", "away", "s3://nobody/here")
    project.dvc("remote", "modify", "away", "endpointurl", "http://127.0.0.1:9")
    project.commit()
    credentials = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "y", "AWS_MAX_ATTEMPTS": "1"}
    said = project.textrnn("retrain", "--no-publish", "--base", "HEAD~1", "--report", "report.md", **credentials).text
    assert "warning: " in said
    assert "Traceback" not in said
    report = project.read("report.md")
    assert "Cannot be compared: `mean`." in report
    assert "at HEAD~1 is not in DVC's cache" in report
    project.run("git", "init", "--quiet", "--bare", str(project.folder.parent / "origin.git"))
    project.run("git", "remote", "add", "origin", str(project.folder.parent / "origin.git"))
    refused = project.textrnn("retrain", "--base", "HEAD~1", "--report", "report.md", ok=False, **credentials)
    assert refused.status == 1
    assert "failed" in refused.text
    assert project.run("git", "ls-remote", "origin").text == ""


@pytest.mark.parametrize(
    ("variables", "address"),
    [
        ({"GITHUB_REPOSITORY": "us/reviews"}, "https://github.com/us/reviews/raw/abc"),
        (
            {"GITHUB_REPOSITORY": "us/reviews", "GITHUB_SERVER_URL": "https://git.example.org"},
            "https://git.example.org/us/reviews/raw/abc",
        ),
        (
            {"CI_PROJECT_URL": "https://gitlab.example.org/us/reviews"},
            "https://gitlab.example.org/us/reviews/-/raw/abc",
        ),
        ({}, None),
    ],
)
def test_pictures_are_links_to_the_pushed_commit(
    variables: dict[str, str], address: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("GITHUB_REPOSITORY", "GITHUB_SERVER_URL", "CI_PROJECT_URL"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert _pictures_address("abc") == address
    assert _pictures_address(None) is None


def test_a_commit_and_the_working_tree_are_read_alike(finished: TinyProject) -> None:
    commit = finished.run("git", "rev-parse", "HEAD").text.strip()
    there, here = Revision.read(finished.folder, "main", commit), Revision.read(finished.folder)
    assert there.runs == here.runs
    assert set(there.runs) == {"lstm", "gru", "mean", "majority", "nb-svm"}
    assert there.metrics == here.metrics
    assert there.best == here.best
    assert there.best in {"lstm", "gru", "mean"}
