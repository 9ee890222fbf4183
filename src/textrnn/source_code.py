"""Which of the project's own modules a script imports, and what their code says."""

from __future__ import annotations

import ast
import io
import tokenize
from functools import cache
from pathlib import Path

PROJECT = Path(__file__).parents[2]

SOURCE = PROJECT / "src"


def import_closure(script: Path) -> list[Path]:
    """Returns `script` and every module of this project that it imports, and that those import, sorted.

    Imports inside of functions count, those for type checking alone do not.
    """
    found: set[Path] = set()
    waiting = [script]
    while waiting:
        file = waiting.pop()
        if file not in found:
            found.add(file)
            names = imported_modules(file.read_text(encoding="utf-8"))
            modules = (SOURCE / Path(*name.split(".")).with_suffix(".py") for name in names)
            waiting.extend(module for module in modules if module.is_file())
    return sorted(found)


@cache
def imported_modules(source: str) -> frozenset[str]:
    """Returns the names in `textrnn` that `source` imports, and those of the modules that it imports them from."""
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
    return frozenset(name for name in names if name.startswith("textrnn."))


@cache
def without_remarks(source: str) -> str:
    """Returns `source` without comments, blank lines, and strings that stand by themselves, such as docstrings.

    A block of nothing else becomes `...`. The text is cut and not written anew from its syntax tree, which another
    version of Python would write differently.
    """
    tokens = list(tokenize.generate_tokens(io.StringIO(source).readline))
    cuts = [(token, "") for token in tokens if token.type == tokenize.COMMENT]
    whole: set[int] = set()  # lines with parts of longer strings, where blanks have a meaning
    code = [token for token in tokens if token.type not in (tokenize.COMMENT, tokenize.NL)]
    kinds = [tokenize.NEWLINE, *(token.type for token in code), tokenize.ENDMARKER]
    for token, before, after, then in zip(code, kinds, kinds[2:], kinds[3:], strict=False):
        begins = before in (tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT)
        if begins and token.type == tokenize.STRING and after == tokenize.NEWLINE:
            cuts.append((token, "..." if before == tokenize.INDENT and then == tokenize.DEDENT else ""))
        elif token.start[0] != token.end[0]:
            whole.update(range(token.start[0] - 1, token.end[0]))
    lines = source.splitlines(keepends=True)
    for token, instead in sorted(cuts, key=lambda cut: cut[0].start, reverse=True):
        (first, left), (last, right) = token.start, token.end
        kept = lines[first - 1][:left] + instead + lines[last - 1][right:]
        lines[first - 1 : last] = [kept, *[""] * (last - first)]
    return "".join(line if number in whole else _trimmed(line) for number, line in enumerate(lines))


def _trimmed(line: str) -> str:
    return line.rstrip() + "\n" if line.strip() else ""
