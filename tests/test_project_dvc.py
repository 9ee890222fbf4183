"""What DVC is asked."""

from __future__ import annotations

from pathlib import Path

import pytest

from textrnn.errors import TextrnnError
from textrnn.project import dvc


def test_what_is_due_and_what_dvc_cannot_say(tmp_path: Path) -> None:
    assert dvc.ask("init", "--no-scm", folder=tmp_path).returncode == 0
    (tmp_path / "dvc.yaml").write_text("stages: {copy: {cmd: cp a b, deps: [a, c], outs: [b]}}", encoding="utf-8")
    for name in "ac":
        (tmp_path / name).touch()
    assert dvc.is_due(folder=tmp_path)
    assert dvc.ask("repro", folder=tmp_path).returncode == 0
    assert not dvc.is_due(folder=tmp_path)
    (tmp_path / "a").write_text("other", encoding="utf-8")
    (tmp_path / "c").unlink()  # DVC fails: it is due, and lacks an input
    assert dvc.is_due("copy", folder=tmp_path)
    with pytest.raises(TextrnnError, match=r"`dvc repro --dry` failed:\nERROR: .*'other'"):
        dvc.is_due("other", folder=tmp_path)
    (tmp_path / "dvc.yaml").write_text("stages: [", encoding="utf-8")
    with pytest.raises(TextrnnError, match=r"dvc.yaml' is invalid"):
        dvc.is_due(folder=tmp_path)
