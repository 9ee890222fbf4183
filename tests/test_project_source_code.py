"""What counts as code, and which of it a script imports."""

from __future__ import annotations

import ast
import subprocess
import sys

import pytest

from textrnn.config.plan import PROJECT
from textrnn.project.source_code import code_hash, import_closure, imported_modules

SOURCES = sorted(file for folder in ("src", "stages") for file in (PROJECT / folder).rglob("*.py"))


def test_imports_are_found_everywhere_except_for_type_checking():
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
    assert {code_hash(source) for source in packages} == {code_hash("")}
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


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (PLAIN, REMARKED),
        (PLAIN, REMARKED.rstrip()),
        ("", '"""Why."""\n'),
        ('class E(F):\n    """Why."""\n', 'class E(F):\n    """Because."""\n'),
        ("def f():\n    'one'\n", "def f():\n    'one'\n    'two'\n"),
        ("x = [1, 2]\n", "x = [\n    1,\n    2,\n]\n"),
    ],
)
def test_remarks_are_not_code(before: str, after: str):
    assert code_hash(before) == code_hash(after)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("x = 1\n", "x = 2\n"),
        ("x = 1\n", "x = 1\nx = 1\n"),
        ("x = 1\n", "x = True\n"),
        ("x = 1\n", "x = 1.0\n"),
        ("x = 'a'\n", "x = b'a'\n"),
        ("x + y\n", "x - y\n"),
        ("if x:\n    y()\n    z()\n", "if x:\n    y()\nz()\n"),
        ("if x:\n    y()\n", "if x:\n    pass\nelse:\n    y()\n"),
        ("x = '''a\n\nb'''\n", "x = '''a\nb'''\n"),
        ("x = '''a\n# b'''\n", "x = '''a\n'''\n"),
        ("x = ['a',\n'b']\n", "x = ['a',\n'c']\n"),
        ("'a'.join(x)\n", "'b'.join(x)\n"),
        ("f'{x.pop()}'\n", "f'{y.pop()}'\n"),
        ("def f(a, b): pass\n", "def f(a, *, b): pass\n"),
        ("def f(a=None): pass\n", "def f(a): pass\n"),
        ("x = 'ä'; 'doc'; y = 1\n", "x = 'ä'; 'doc'; y = 2\n"),
        ("x = '\\udcff'\n", "x = '\\udcfe'\n"),
    ],
)
def test_everything_else_is(before: str, after: str):
    assert code_hash(before) != code_hash(after)


def test_the_hash_is_the_same_in_every_version_of_python():
    """Newer versions add fields, such as `type_params`, which are empty here. Compared on 3.11, 3.12 and 3.13."""
    assert code_hash(PLAIN) == "d219a3e8ceeb4c2b50a835aee02260c2a226a5c62698334a25d013d00c03beb4"
