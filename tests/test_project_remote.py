"""What DVC's settings say of its remotes."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from textrnn.errors import TextrnnError
from textrnn.project.remote import default_remote


def test_the_default_remote_and_why_it_is_not_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    subprocess.run(["git", "init", "--quiet"], check=True)
    config = tmp_path / ".dvc" / "config"
    config.parent.mkdir()
    config.write_text("")
    assert default_remote() is None
    config.write_text("[core]\n    remote = team\n['remote \"team\"']\n    url = /srv/dvc\n")
    assert default_remote() == "team"
    config.write_text("[core\n")
    with pytest.raises(TextrnnError, match=r"DVC cannot read its settings: .*Invalid line.* Correct \.dvc/config or"):
        default_remote()
