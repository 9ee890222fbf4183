"""The one place that calls git; its output does not depend on the user's language and settings.

Paths are relative to the folder in which git is called, which need not be the repository's top.
"""

import os
import subprocess
from pathlib import Path

from textrnn.errors import TextrnnError

SETTINGS = (
    *("color.ui=false", "core.quotePath=false", "log.showSignature=false"),
    *("diff.mnemonicPrefix=false", "diff.noprefix=false", "diff.relative=false"),
)
"""Settings of users that would change the output that is parsed here."""

IGNORED = (
    *("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_COMMON_DIR", "GIT_OBJECT_DIRECTORY"),
    *("GIT_LITERAL_PATHSPECS", "GIT_GLOB_PATHSPECS", "GIT_NOGLOB_PATHSPECS", "GIT_ICASE_PATHSPECS"),
)
"""Variables, as a hook sets them, that point git to another repository, or change what paths mean."""

HINTS = {
    "not a git repository": "Run this in a git clone, or make one of the folder: `git init`, `git add .`, `git commit`",
    "dubious ownership": "Another user owns the folder: if you trust it, `git config --global --add safe.directory {}`",
    "unable to auto-detect email": "Say who commits: `git config user.name NAME` and `git config user.email ADDRESS`",
}
"""What to do next, by a part of git's message."""


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    """Runs git in `folder`, whatever its exit status; 127 where git is not installed."""
    command = ["git", "--no-pager", *(part for each in SETTINGS for part in ("-c", each)), *arguments]
    kept = {key: value for key, value in os.environ.items() if key not in IGNORED}
    # CI has nobody whom git could ask for a password.
    own = {"LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0", "GIT_OPTIONAL_LOCKS": "0", "GIT_PAGER": "cat"}
    try:
        return subprocess.run(
            command, cwd=folder, env={**kept, **own}, capture_output=True, stdin=subprocess.DEVNULL, check=False
        )
    except OSError:
        return subprocess.CompletedProcess(command, 127, b"", b"git is not installed, or not in PATH")


def text(folder: Path, *arguments: str, may_fail: bool = False) -> str:
    """Returns git's output, decoded; nothing where it `may_fail` and does. Raises `TextrnnError`: git failed."""
    done = run(folder, *arguments) if may_fail else _checked(folder, *arguments)
    return done.stdout.decode("utf-8", "replace").rstrip("\n") if done.returncode == 0 else ""


def failure(folder: Path, *arguments: str) -> str | None:
    """Runs git; returns why it failed, None if it did not."""
    done = run(folder, *arguments)
    return None if done.returncode == 0 else reason(folder, done)


def names(folder: Path, *arguments: str) -> list[str]:
    """Returns the paths that git prints, with `-z` where there are several, as this system spells them.

    Raises `TextrnnError`: git failed.
    """
    return [os.fsdecode(name) for name in _checked(folder, *arguments).stdout.split(b"\0") if name]


def changed(folder: Path, *paths: str) -> dict[str, str]:
    """Returns the state, two letters as in `git status --short`, of each of `paths`, or all, that differs from HEAD."""
    asked = ("--porcelain", "-z", "--untracked-files=all", "--no-renames", "--ignore-submodules=none")
    lines = names(folder, "status", *asked, "--", *(paths or (".",)))
    top = prefix(folder)  # `status -z` prints names from git's top
    return {line[3:].removeprefix(top): line[:2] for line in lines}


def holds(folder: Path, path: str) -> bool:
    """Returns whether a file's content is in the repository, under whatever name and in whatever commit."""
    content = text(folder, "hash-object", "--", path, may_fail=True)
    return bool(content) and failure(folder, "cat-file", "-e", content) is None


def prefix(folder: Path) -> str:
    """Returns the path of `folder` from git's top folder, such as `projects/reviews/`; nothing at the top.

    Raises `TextrnnError`: git knows no repository there.
    """
    return "".join(names(folder, "rev-parse", "--show-prefix")).removesuffix("\n")


def content(folder: Path, commit: str, name: str) -> str:
    """Returns the text of a file of `folder` as it is at `commit`; nothing where there is none."""
    done = run(folder, "cat-file", "blob", f"{commit}:./{name}")
    return done.stdout.decode("utf-8", "replace") if done.returncode == 0 else ""


def files(folder: Path, commit: str, below: str) -> list[str]:
    """Returns the names of the files that `folder` has at `commit` in its folder `below`."""
    return names(folder, "ls-tree", "-r", "-z", "--name-only", commit, "--", below)


def reason(folder: Path, done: subprocess.CompletedProcess[bytes]) -> str:
    """Returns git's own reason of a failure, and what to do where that is known."""
    output = (done.stderr or done.stdout).decode("utf-8", "replace")
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    marked = [line for line in lines if line.startswith(("fatal:", "error:", "!", "remote:"))] or lines
    hints = [hint.format(f"'{folder.resolve()}'") for part, hint in HINTS.items() if part in output]
    return ". ".join(["; ".join(marked[:3]).rstrip(".") or f"exit status {done.returncode}", *hints])


def _checked(folder: Path, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    done = run(folder, *arguments)
    if done.returncode != 0:
        raise TextrnnError(f"`git {' '.join(arguments)}` failed: {reason(folder, done)}.")
    return done
