"""A bare git repository, and one clone of it in which a person works."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tiny_project import TinyProject


@dataclass
class Repository:
    """The folder that everything of a team is in, and the person's clone."""

    folder: Path
    author: TinyProject

    def git(self, *arguments: str) -> str:
        return self.author.run("git", *arguments).text.strip()

    def branch(self, name: str) -> None:
        self.git("switch", "--quiet", "main")
        self.git("pull", "--quiet", "--ff-only")
        self.git("switch", "--quiet", "--create", name)

    def push(self) -> None:
        self.author.commit()
        self.git("push", "--quiet", "--set-upstream", "origin", "HEAD")

    def merge(self, name: str) -> None:
        self.git("switch", "--quiet", "main")
        self.git("pull", "--quiet", "--ff-only")
        self.git("fetch", "--quiet")
        self.git("merge", "--quiet", "--no-ff", "--message", f"Merge {name}", f"origin/{name}")
        self.git("push", "--quiet", "origin", "main")

    def head(self, branch: str) -> str:
        return self.author.run("git", "ls-remote", "origin", f"refs/heads/{branch}").text.split()[0]
