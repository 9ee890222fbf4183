"""Which study is the active one."""

from __future__ import annotations

from pathlib import Path

import pytest

from textrnn.config.studies import activate
from textrnn.errors import TextrnnError
from textrnn.project import git


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "studies").mkdir()
    for name in ("cells", "book"):
        (tmp_path / "studies" / f"{name}.yaml").write_text(f"study: {name} # é\n", encoding="utf-8")
    (tmp_path / "params.yaml").write_bytes((tmp_path / "studies" / "cells.yaml").read_bytes())
    return tmp_path


def test_a_study_becomes_active_and_the_other_again(project: Path) -> None:
    for name in ("book", "cells", "cells"):
        activate(name, project)
        assert (project / "params.yaml").read_bytes() == (project / "studies" / f"{name}.yaml").read_bytes()


def test_the_active_study_is_not_touched_when_it_is_the_one(project: Path) -> None:
    before = (project / "params.yaml").stat().st_mtime_ns
    activate("cells", project)
    assert (project / "params.yaml").stat().st_mtime_ns == before


def test_no_params_yet(project: Path) -> None:
    (project / "params.yaml").unlink()
    activate("book", project)
    assert (project / "params.yaml").read_text(encoding="utf-8").startswith("study: book")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("boook", "studies: no study 'boook'. Did you mean 'book'? Known: book, cells."),
        ("../params", "studies: no study '../params'. Known: book, cells."),
    ],
)
def test_an_unknown_study_is_reported(project: Path, name: str, message: str) -> None:
    with pytest.raises(TextrnnError) as error:
        activate(name, project)
    assert str(error.value) == message


def test_edits_are_not_overwritten(project: Path) -> None:
    (project / "params.yaml").write_text("study: mine\n", encoding="utf-8")
    with pytest.raises(TextrnnError, match=r"params\.yaml is none of the studies.*cp params\.yaml studies/mine\.yaml"):
        activate("book", project)
    assert (project / "params.yaml").read_text(encoding="utf-8") == "study: mine\n"


def test_what_git_has_is_not_lost(project: Path) -> None:
    """An edited study takes the place of its copy from before the edit, once that was committed."""
    edited = project / "studies" / "cells.yaml"
    for each in (["init", "--quiet"], ["add", "studies"]):
        git.run(project, *each)
    edited.write_text("study: cells # again\n", encoding="utf-8")
    activate("cells", project)
    assert (project / "params.yaml").read_bytes() == edited.read_bytes()
    (project / "params.yaml").write_text("study: cells # by hand\n", encoding="utf-8")
    with pytest.raises(TextrnnError, match="git does not have it"):
        activate("cells", project)
