"""The Markdown files of the project, and the commands in them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from tiny_project import PROJECT

DOCUMENTS = [*sorted(PROJECT.glob("*.md")), *sorted((PROJECT / "docs").glob("*.md"))]
PROGRAMS = (
    *("cat", "curl", "docker", "dvc", "git", "kubectl", "make", "mlflow", "npm", "optuna-dashboard", "pip", "python"),
    *("pytest", "ray", "rm", "sbatch", "sha256sum", "textrnn"),
)
"""What a command in a sentence begins with. In a block of its own any program is one."""

NO_COMMANDS = ("dvc.yaml", "h", "ids", "params.yaml,", "runs/<name>/")
"""First words of the blocks without a language that are listings and formulas."""


def blocks(document: Path) -> list[tuple[str, str]]:
    """The blocks of code: language, and text."""
    return re.findall(r"^ *```(\S*)\n(.*?)^ *```$", document.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def prose(document: Path) -> str:
    """The text without the blocks of code."""
    return re.sub(r"^ *```.*?^ *```$", "", document.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)


def block_commands(document: Path) -> Iterator[str]:
    """Every command of a block, without its comment; one that goes on in the next lines, or in quotes, is one."""
    for language, block in blocks(document):
        if language in ("", "sh", "bash") and block.split()[0] not in NO_COMMANDS:
            command = ""
            for line in block.splitlines():
                command += re.sub(r"(^|\s)\s*#.*", "", line) if command.count('"') % 2 == 0 else line
                if command.endswith("\\"):
                    command = command[:-1]
                elif command.count('"') % 2:
                    command += "\n"
                else:
                    yield from filter(None, (part.strip() for part in command.split(" && ")))
                    command = ""


def prose_commands(document: Path) -> Iterator[str]:
    """Every command in a sentence, or the beginning of one: what is in backquotes and begins with a program."""
    for code in re.findall(r"`([^`]+)`", prose(document)):
        words = code.split()
        if len(words) > 1 and words[0] in PROGRAMS:
            yield " ".join(words)
