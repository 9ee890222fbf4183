"""git's answers, whatever the user has set, and wherever in the repository the project is."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from textrnn.errors import TextrnnError
from textrnn.project import git
from textrnn.project.origin import Origin

NAMES = ["plain.txt", 'it"s ; a.txt', "낱말 하나.txt", "-dash.txt", "reports/a b.md"]

SETTINGS = """
[status]
    relativePaths = false
    showUntrackedFiles = no
    short = true
    branch = true
[color]
    ui = always
[core]
    quotePath = true
    pager = false
    autocrlf = true
[log]
    showSignature = true
[diff]
    noprefix = true
    relative = true
    mnemonicPrefix = true
    external = false
[user]
    name = tester
    email = t@example.com
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project in a subfolder of a repository, whose user has set what changes git's output."""
    (tmp_path / "config").write_text(SETTINGS, encoding="utf-8")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "config"))
    monkeypatch.setenv("LANGUAGE", "ko")
    project = tmp_path / "mono repo" / "pro ject"
    for name in NAMES:
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_bytes(b"one\n")
    (project / ".gitattributes").write_text("* -text\n", encoding="utf-8")
    (project.parent / "other.txt").write_text("of somebody else", encoding="utf-8")
    git.text(project.parent, "init", "--quiet")
    git.text(project.parent, "add", ".")
    git.text(project.parent, "commit", "--quiet", "--message", "all")
    return project


def test_paths_count_from_the_project_whatever_their_letters(folder: Path) -> None:
    assert git.changed(folder) == {}
    for name in NAMES:
        (folder / name).write_bytes(b"two\n")
    (folder / "새 것.txt").touch()
    (folder.parent / "other.txt").write_text("changed", encoding="utf-8")
    assert git.changed(folder) == {**dict.fromkeys(NAMES, " M"), "새 것.txt": "??"}
    assert git.changed(folder, "reports") == {"reports/a b.md": " M"}
    assert sorted(git.names(folder, "ls-files", "-z")) == sorted([*NAMES, ".gitattributes"])


def test_a_revision_is_read_from_the_project(folder: Path) -> None:
    assert git.prefix(folder) == "pro ject/"
    assert git.files(folder, "HEAD", "reports/") == ["reports/a b.md"]
    assert git.content(folder, "HEAD", "reports/a b.md") == "one\n"
    assert git.content(folder, "HEAD", "none.txt") == ""


def test_bytes_are_checked_out_as_they_were_committed(folder: Path) -> None:
    (folder / "plain.txt").unlink()
    git.text(folder, "checkout", "--", "plain.txt")
    assert (folder / "plain.txt").read_bytes() == b"one\n"


def test_a_patch_applies_whatever_a_user_wants_to_see_of_it(folder: Path) -> None:
    (folder / "plain.txt").write_bytes(b"two\n")
    origin = Origin.of_checkout(folder)
    git.text(folder, "checkout", "--", ".")
    (folder.parent / "changes.patch").write_text(origin.patch, encoding="utf-8")
    git.text(folder, "apply", "../changes.patch")
    assert (folder / "plain.txt").read_bytes() == b"two\n"
    assert Origin.of_result(folder, "no such hash").commit == origin.commit


def test_a_hook_of_another_repository_does_not_lead_there(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_DIR", str(folder.parent / ".git"))
    git.text(tmp_path, "init", "--quiet")
    assert (tmp_path / ".git").is_dir()


def test_without_a_repository_there_is_a_way_out(tmp_path: Path) -> None:
    with pytest.raises(TextrnnError, match=r"not a git repository.*`git init`"):
        git.changed(tmp_path)


def test_the_folder_of_another_user_has_a_way_out(tmp_path: Path) -> None:
    said = b"fatal: detected dubious ownership in repository at '/x'\nTo add an exception: ...\n"
    reason = git.reason(tmp_path, subprocess.CompletedProcess([], 128, b"", said))
    assert reason.startswith("fatal: detected dubious ownership")
    assert f"git config --global --add safe.directory '{tmp_path}'" in reason


def test_without_git_the_message_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", os.devnull)
    assert git.failure(tmp_path, "status") == "git is not installed, or not in PATH"
    assert Origin.of_checkout(tmp_path).commit is None
