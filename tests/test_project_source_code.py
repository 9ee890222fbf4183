"""What counts as code, and which of it a script imports."""

from __future__ import annotations

import ast
import io
import subprocess
import sys
import tokenize

import pytest

from textrnn.config.plan import PROJECT
from textrnn.project.source_code import import_closure, imported_modules, without_remarks

SOURCES = sorted(file for folder in ("src", "stages") for file in (PROJECT / folder).rglob("*.py"))


def test_imports_are_found_wherever_they_stand_but_for_type_checking():
    source = "from textrnn.a import b\nimport os\nfrom os import path\ndef f():\n    import textrnn.c\n"
    assert imported_modules(source) == {*("os", "os.path", "textrnn.a", "textrnn.a.b", "textrnn.c")}
    assert imported_modules("if TYPE_CHECKING:\n    from textrnn.a import b\n") == set()


def closure(stage: str) -> list[str]:
    files = import_closure(PROJECT / "stages" / f"{stage}.py", PROJECT / "src")
    return [file.relative_to(PROJECT).as_posix() for file in files]


def test_closure_follows_imports_of_imports():
    found = closure("download_corpus")
    assert found == sorted(found)
    assert {"stages/download_corpus.py", "src/textrnn/config/plan.py", "src/textrnn/config/yaml_file.py"} <= set(found)
    assert "src/textrnn/modeling/training.py" not in found


@pytest.mark.parametrize("stage", sorted(path.stem for path in (PROJECT / "stages").glob("*.py")))
def test_closure_has_whatever_is_loaded(stage):
    code = (
        f"import runpy, sys; runpy.run_path('stages/{stage}.py')\n"
        "print(*(m.__file__ for n, m in list(sys.modules.items()) if n.startswith('textrnn.')))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True)
    loaded = {file.removeprefix(f"{PROJECT}/") for file in done.stdout.split() if not file.endswith("__init__.py")}
    assert loaded
    assert loaded <= set(closure(stage))


def test_packages_have_no_code_of_their_own_and_imports_are_absolute():
    """A closure has neither."""
    packages = [file.read_text(encoding="utf-8") for file in SOURCES if file.name == "__init__.py"]
    assert {without_remarks(source) for source in packages} <= {"", "...\n"}
    nodes = [node for file in SOURCES for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))]
    assert not [node for node in nodes if isinstance(node, ast.ImportFrom) and node.level]


PLAIN = """\
import os
class Shape:
    sides = 4
    def area(self, side):
        text = "# no comment"
        return (side
                * side)
"""
REMARKED = '''\
"""A module,

over lines.
"""
import os  # a comment

# one of its own


class Shape:
    r"""A raw docstring with # in it."""

    sides = 4
    """An attribute's."""

    def area(self, side):
        """A method's."""

        text = "# no comment"
        # before
        return (side  # within

                * side)
'''


def test_a_block_of_a_docstring_alone_stays_one():
    assert without_remarks('class E(E):\n    """Why."""\n\n\nx = 1\n') == "class E(E):\n    ...\nx = 1\n"
    assert without_remarks('def f():\n    """\n    Why.\n    """\n') == "def f():\n    ...\n"
    assert without_remarks("def f():\n    'one'\n    'two'\n") == "def f():\n    ...\n"


def test_remarks_are_not_code():
    assert without_remarks(REMARKED) == PLAIN
    assert without_remarks(PLAIN) == PLAIN
    assert without_remarks(REMARKED.rstrip()) == PLAIN
    assert without_remarks("") == ""
    assert without_remarks('x = """a\nb"""  # why\n') == 'x = """a\nb"""\n'


SEPARATED = '"""Done."""\nx = "\u2028"\ny = 1\n"""One.\n\nTwo."""\n'
"""With a character that ends a line for `str.splitlines`, and none for Python."""


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("x = 1\n", "x = 2\n"),
        ("x = 1\n", "x = 1\nx = 1\n"),
        ("if x:\n    y()\n    z()\n", "if x:\n    y()\nz()\n"),
        ("x = '''a\n\nb'''\n", "x = '''a\nb'''\n"),
        ("x = '''a \nb'''\n", "x = '''a\nb'''\n"),
        ("x = f'''a\n\n{b}'''\n", "x = f'''a\n{b}'''\n"),
        ("x = '''a\n# b'''\n", "x = '''a\n'''\n"),
        ("f(\n    'a')\n", "f(\n    'b')\n"),
        ("return_ = (\n    'a'\n)\n", "return_ = (\n    'b'\n)\n"),
        ("x = ['a',\n'b']\n", "x = ['a',\n'c']\n"),
        ("'a'.join(x)\n", "'b'.join(x)\n"),
        ("f'{x.pop()}'\n", "f'{y.pop()}'\n"),
        (SEPARATED, SEPARATED.replace("y = 1", "y = 2")),
        ("x = 'ä'; 'doc'; y = 1\n", "x = 'ä'; 'doc'; y = 2\n"),
    ],
)
def test_everything_else_is(before: str, after: str):
    assert without_remarks(before) != without_remarks(after)


@pytest.mark.parametrize("file", SOURCES, ids=lambda file: file.relative_to(PROJECT).as_posix())
def test_of_every_module_the_syntax_is_left(file):
    """As the compiler sees it with -OO: without strings that stand by themselves."""
    source = file.read_text(encoding="utf-8")
    code = without_remarks(source)
    assert dump(code) == dump(source)
    assert without_remarks(code) == code
    assert tokenize.COMMENT not in {token.type for token in tokenize.generate_tokens(io.StringIO(code).readline)}


def dump(source: str) -> str:
    tree = ast.parse(source)
    for node in ast.walk(tree):
        for field in ("body", "orelse", "finalbody"):
            body = getattr(node, field, None)
            if isinstance(body, list):
                kept = [statement for statement in body if not is_string(statement)]
                setattr(node, field, kept or [ast.Expr(ast.Constant(...))] if body else [])
    return ast.dump(tree)


def is_string(statement: ast.AST) -> bool:
    value = statement.value if isinstance(statement, ast.Expr) else None
    return isinstance(value, ast.Constant) and isinstance(value.value, str)
