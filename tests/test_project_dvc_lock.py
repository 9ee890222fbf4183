"""`dvc.lock` as DVC writes it, and as a merge or a crash leaves it."""

from __future__ import annotations

from pathlib import Path

import pytest

from textrnn.config.params import load_params
from textrnn.config.yaml_file import read_yaml
from textrnn.errors import TextrnnError
from textrnn.orchestration.verify import compare_locks
from textrnn.project import dvc_lock
from textrnn.project.prune import prune_lock
from textrnn.project.remote import locked_stages
from textrnn.project.revision import Revision
from textrnn.run_folder import RunFolder

LOCK = """\
schema: '2.0'
stages:
  train@lstm:
    cmd: python stages/train.py
    deps:
    - path: data/tokens
      hash: md5
      md5: a.dir
    outs:
    - path: runs/lstm
      hash: md5
      md5: b.dir
"""

MERGE = """\
<<<<<<< HEAD
      md5: b.dir
=======
      md5: c.dir
>>>>>>> other
"""

MERGED = LOCK.replace("      md5: b.dir\n", MERGE)

READERS = [
    lambda: dvc_lock.hashes(Path("dvc.lock"), [Path("runs/lstm")]),
    lambda: dvc_lock.data_by_stage(Path("dvc.lock")),
    lambda: prune_lock(Path("dvc.lock"), load_params(Path(__file__).parents[1] / "params.yaml")),
    locked_stages,
    lambda: compare_locks(Path(), Path(), 0),
    lambda: Revision.read(Path()),
]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr(dvc_lock, "PATIENCE", 0.0)
    Path("dvc.lock").write_text(LOCK, encoding="utf-8")


def test_it_is_read() -> None:
    assert dvc_lock.hashes(Path("dvc.lock"), [Path("runs/lstm"), Path("runs/gru")]) == {"runs/lstm": "b.dir"}
    assert dvc_lock.data_by_stage(Path("dvc.lock")) == {"train@lstm": {"data/tokens": "a.dir"}}
    assert dvc_lock.read_stages(Path("none.lock")) == {}


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize(
    ("text", "what", "way_out"),
    [
        (
            LOCK.replace("      md5: b.dir\n", MERGE),
            r"dvc\.lock, line 12: a merge left",
            r"git checkout --theirs dvc\.lock",
        ),
        ("\n", r"dvc\.lock does not hold", r"git restore dvc\.lock"),
        (LOCK[: LOCK.index("cmd") + 3], r"dvc\.lock", r"git restore dvc\.lock"),
        (LOCK[: LOCK.index("path: runs") + 4], r"dvc\.lock", r"git restore dvc\.lock"),
        ("stages:\n  a: [1]\n", r"dvc\.lock does not hold", r"git restore dvc\.lock"),
    ],
    ids=["merged", "empty", "cut off", "cut off later", "of another kind"],
)
def test_a_broken_one_is_named_with_a_way_out(read, text: str, what: str, way_out: str) -> None:
    Path("dvc.lock").write_text(text, encoding="utf-8")
    with pytest.raises(TextrnnError) as error:
        read()
    assert error.match(what)
    assert error.match(f"(?s).*{way_out}")


def test_a_cut_off_one_that_speaks_of_git_checkout_gets_the_way_out_too() -> None:
    with pytest.raises(TextrnnError, match=r"(?s)git checkout.*\n.*git restore"):
        dvc_lock.parse_stages("stages:\n  a: [git checkout\n", "git checkout/../dvc.lock")


@pytest.mark.parametrize("name", ["params.yaml", "studies/mine.yaml"])
def test_a_half_merged_study_is_named_with_its_line(name: str) -> None:
    Path("studies").mkdir()
    Path(name).write_text(f"study: tiny\n{MERGE}", encoding="utf-8")
    with pytest.raises(TextrnnError, match=rf"{name}, line 2: a merge left .*git checkout --ours {name}"):
        read_yaml(Path(name))


@pytest.mark.parametrize(
    "text", ["", "{", f"{{\n{MERGE}", "[]", '{"name": "lstm", "status": "finished"}', '{"new": 1}']
)
def test_a_broken_run_is_named_with_a_way_out(text: str) -> None:
    Path("runs/lstm").mkdir(parents=True)
    Path("runs/lstm/run.json").write_text(text, encoding="utf-8")
    with pytest.raises(TextrnnError, match=r"(?s)runs/lstm/run\.json.*(dvc checkout|git checkout)"):
        RunFolder.load(Path("runs/lstm"))
