"""A corpus that changes after a champion was trained on it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from tiny_project import Result, TinyProject, sha256

CSV = "tiny/snippets.csv"
PREPARE = ("repro", "--quiet", "prepare_corpus")


@pytest.fixture(scope="module")
def championed(finished: TinyProject, tmp_path_factory: pytest.TempPathFactory) -> TinyProject:
    """The finished project with a champion, and a remote that has its data."""
    project = finished.copy(tmp_path_factory.mktemp("championed") / "project")
    project.textrnn("sync")
    project.textrnn("register")
    project.textrnn("promote")
    project.dvc("remote", "add", "--quiet", "--default", "elsewhere", str(project.folder.parent / "remote"))
    project.dvc("push", "--quiet")
    project.commit()
    return project


@pytest.fixture
def project(championed: TinyProject, tmp_path: Path) -> TinyProject:
    return championed.copy(tmp_path / "project")


def change(project: TinyProject, edit: Callable[[list[str]], list[str]]) -> None:
    """Gives the corpus other rows, and prepares them."""
    file = project.folder / CSV
    header, *rows = file.read_text(encoding="utf-8").splitlines()
    file.write_text("\n".join([header, *edit(rows)]) + "\n", encoding="utf-8")
    project.edit("catalog.yaml", lambda catalog: catalog["corpora"]["snippets"].update(sha256=sha256(file)))
    project.dvc(*PREPARE)


def check(project: TinyProject, ok: bool = True) -> Result:
    return project.textrnn("data", "check", "--markdown", "check.md", ok=ok)


def more(rows: list[str]) -> list[str]:
    return [*rows, *(f"a quite {word} thing,good,film 99" for word in ("lovely", "moving", "bright", "clever"))]


def test_without_a_champion_there_is_nothing_to_compare_with(finished: TinyProject, tmp_path: Path) -> None:
    project = finished.copy(tmp_path / "project")
    said = "Corpus snippets: textrnn-snippets has no champion yet, so there is nothing to compare it with."
    assert check(project).text == said + "\n"
    assert project.read("check.md") == f"## Corpus\n\n{said}\n"


def test_the_champions_own_corpus_is_one_line(project: TinyProject) -> None:
    (line,) = check(project).lines
    assert "is the one that the champion" in line


def test_new_rows_are_reported_and_allowed(project: TinyProject) -> None:
    change(project, more)
    said = check(project).text
    assert "differs from the version that the champion" in said
    assert "by nothing that the study forbids." in said
    (texts,) = [line.split() for line in said.splitlines() if line.startswith("texts  ")]
    assert texts[1:3] == ["60", "64"]
    assert "| texts lost" in project.read("check.md")
    assert (
        project.git_status() == "".join(f" M {name}\n" for name in ("catalog.yaml", "dvc.lock", CSV)) + "?? check.md\n"
    )


def test_what_the_study_forbids_fails_and_says_what(project: TinyProject) -> None:
    project.edit("params.yaml", lambda params: params.update(data_check={"lost": 0.1, "label_shift": 0.1}))
    change(project, lambda rows: [row for row in rows if ",bad," not in row or int(row.rsplit(" ", 1)[1]) < 6])
    result = check(project, ok=False)
    assert result.status == 1
    assert result.text.count("forbidden") == 2
    assert "Forbidden: texts lost, by share of the old" in result.text
    assert "raise data_check.lost, data_check.label_shift in params.yaml." in result.text
    assert "Forbidden: classes, by total variation distance" in project.read("check.md")


def test_the_champions_corpus_comes_from_the_remote_where_the_cache_lacks_it(project: TinyProject) -> None:
    change(project, more)
    shutil.rmtree(project.folder / ".dvc" / "cache")
    assert "by nothing that the study forbids." in check(project).text
    shutil.rmtree(project.folder / ".dvc" / "cache")
    project.dvc("remote", "remove", "elsewhere")
    result = check(project, ok=False)
    assert result.status == 1
    assert "is neither in DVC's cache nor does the default remote give it" in result.text
    assert "Traceback" not in result.text


def test_a_corpus_that_is_not_prepared_is_refused(project: TinyProject) -> None:
    project.edit("params.yaml", lambda params: params["prepare"].update(seed=1))
    result = check(project, ok=False)
    assert (result.status, result.text) == (
        1,
        "error: data/corpus is not the corpus that catalog.yaml and params.yaml ask for. "
        "Run `dvc repro prepare_corpus`, then this again.\n",
    )
