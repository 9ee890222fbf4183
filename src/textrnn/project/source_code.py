"""Which of the project's own modules a script imports, and what their code says."""

from __future__ import annotations

import ast
import io
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path

Place = tuple[int, int]
"""Line, from 1, and character, from 0."""


def import_closure(script: Path, library: Path) -> list[Path]:
    """Returns `script` and every module in the folder `library` that it imports, and that those import, sorted.

    Imports inside of functions count, those for type checking alone do not.
    """
    found: set[Path] = set()
    waiting = [script]
    while waiting:
        file = waiting.pop()
        if file not in found:
            found.add(file)
            names = imported_modules(file.read_text(encoding="utf-8"))
            modules = (library / Path(*name.split(".")).with_suffix(".py") for name in names)
            waiting.extend(module for module in modules if module.is_file())
    return sorted(found)


@cache
def imported_modules(source: str) -> frozenset[str]:
    """Returns the full names of the modules that `source` may import: in `from a import b` both `a` and `a.b`."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            node.body = [ast.Pass()]
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.update({node.module, *(f"{node.module}.{alias.name}" for alias in node.names)})
    return frozenset(names)


@cache
def without_remarks(source: str) -> str:
    """Returns `source` without comments, blank lines, and strings that stand by themselves, such as docstrings.

    A block of nothing else becomes `...`. The text is cut and not written anew from its syntax tree, which another
    version of Python would write differently.
    """
    lines = io.StringIO(source).readlines()
    cuts = {start: (end, instead) for start, end, instead in _lone_strings(source, lines)}
    whole: set[int] = set()  # lines with parts of longer strings, where blanks have a meaning
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            cuts[token.start] = (token.end, "")
        elif token.start[0] != token.end[0] and token.start not in cuts:
            whole.update(range(token.start[0], token.end[0] + 1))
    for (first, left), ((last, right), instead) in sorted(cuts.items(), reverse=True):
        before = lines[first - 1][:left] + instead if instead else lines[first - 1][:left].rstrip()
        lines[first - 1 : last] = [before + lines[last - 1][right:], *[""] * (last - first)]
    return "".join(line if number in whole else _trimmed(line) for number, line in enumerate(lines, 1))


def _lone_strings(source: str, lines: list[str]) -> Iterator[tuple[Place, Place, str]]:
    """Start and end of each statement that is a string, and what takes its place."""

    def place(line: int | None, byte: int | None) -> Place:
        assert line is not None
        return line, len(lines[line - 1].encode()[:byte].decode())

    for node in ast.walk(ast.parse(source)):
        for field in ("body", "orelse", "finalbody"):
            block = getattr(node, field, None)
            strings = [each for each in block if _is_string(each)] if isinstance(block, list) else []
            for each in strings:
                is_all_that_is_left = len(strings) == len(block or ()) and each is strings[-1]
                instead = "..." if is_all_that_is_left else ""
                yield place(each.lineno, each.col_offset), place(each.end_lineno, each.end_col_offset), instead


def _is_string(statement: ast.stmt) -> bool:
    value = statement.value if isinstance(statement, ast.Expr) else None
    return isinstance(value, ast.Constant) and isinstance(value.value, str)


def _trimmed(line: str) -> str:
    return line.rstrip() + "\n" if line.strip() else ""
