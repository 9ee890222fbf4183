"""Which of the project's own modules a script imports, and a hash of their code."""

import ast
import hashlib
from functools import cache
from pathlib import Path
from typing import Any


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
    names: set[str] = set()
    waiting: list[ast.AST] = [ast.parse(source)]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.update({node.module, *(f"{node.module}.{alias.name}" for alias in node.names)})
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            waiting.extend(node.orelse)
        else:
            waiting.extend(ast.iter_child_nodes(node))
    return frozenset(names)


@cache
def code_hash(source: str) -> str:
    """Returns a SHA-256 of the syntax tree of `source`: comments, docstrings and layout change nothing.

    Nor does the version of Python, because empty fields, which newer versions add, are left out.
    """
    return hashlib.sha256(repr(_code(ast.parse(source))).encode("utf-8", "backslashreplace")).hexdigest()


def _code(node: Any) -> Any:
    if isinstance(node, list):
        return [_code(each) for each in node if not _is_lone_string(each)]
    if isinstance(node, ast.JoinedStr):  # Python 3.12 ends some with an empty part
        node = ast.JoinedStr([each for each in node.values if getattr(each, "value", None) != ""])
    if isinstance(node, ast.AST):
        fields = [(name, _code(value)) for name, value in ast.iter_fields(node) if value is not None]
        return type(node).__name__, [(name, code) for name, code in fields if code != []]
    return repr(node)


def _is_lone_string(node: Any) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
