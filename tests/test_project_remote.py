"""What DVC's settings say of its remotes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from textrnn.errors import TextrnnError
from textrnn.project.remote import default_remote, inputs


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


def test_a_stage_reads_what_others_write_also_a_folder_of_outputs_and_a_file_in_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    subprocess.run(["git", "init", "--quiet"], check=True)
    subprocess.run([sys.executable, "-m", "dvc", "init", "--quiet"], check=True)
    stages = {"plan": "plan", "glove": "data/embeddings/glove", "random": "data/embeddings/random", "search": "runs/it"}
    parts = {name: {"cmd": "true", "outs": [out]} for name, out in stages.items()}
    parts["winner"] = {"cmd": "true", "deps": ["plan/winner.json", "runs/it/winner.json", "data/embeddings"]}
    (tmp_path / "dvc.yaml").write_text(yaml.safe_dump({"stages": parts}))
    (tmp_path / "dvc.lock").write_text("schema: '2.0'\n")
    read, lock = inputs("winner")
    assert set(read) == set(stages)
    assert lock == "schema: '2.0'\n"
    with pytest.raises(TextrnnError, match=r"nothing: .*`dvc stage list`"):
        inputs("nothing")
