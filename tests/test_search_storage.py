"""The copy of a search in Optuna's storage: a file, a PostgreSQL server, the dashboard."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from pathlib import Path

import optuna
import pytest
from fake_trainings import START, Lab, search
from mlflow_site import free_port, postgresql

from textrnn.config.search import Search
from textrnn.errors import TextrnnError
from textrnn.search.halving import Halving
from textrnn.search.proposals import Trial
from textrnn.search.result import write
from textrnn.search.storage import ADDRESS, Storage

NAME = "study/tuned"


def run(project: Path, wanted: Search, fingerprint: str = "mine") -> dict[str, bytes]:
    """Runs a search; returns the bytes of its files."""
    folder = project / "result"
    folder.mkdir(parents=True, exist_ok=True)
    storage = Storage(project, NAME, fingerprint, wanted)
    halving = Halving(wanted, START, Lab().train, storage.add)
    write(folder, "tuned", halving, halving.run())
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def outcomes(url: str) -> Counter[str]:
    return Counter(trial.user_attrs["outcome"] for trial in optuna.load_study(study_name=NAME, storage=url).trials)


@pytest.fixture(autouse=True)
def own_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(ADDRESS, raising=False)


def test_the_file_in_the_project_keeps_the_last_search_of_a_name(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/optuna.db"
    first = run(tmp_path, search())
    result = json.loads(first["search.json"])
    assert outcomes(url) == result["outcomes"]
    best = optuna.load_study(study_name=NAME, storage=url).best_trial
    assert (best.number, best.value) == (result["winner"], result["value"])
    assert run(tmp_path, search()) == first
    assert outcomes(url) == result["outcomes"], "the same again adds nothing"
    run(tmp_path, search(trials=27))
    assert outcomes(url).total() > sum(result["outcomes"].values()), "more trials continue it"
    run(tmp_path, search(reduction=2), "another")
    assert outcomes(url)["finished"] == 4


def test_a_search_that_was_interrupted_goes_on_in_the_storage(tmp_path: Path) -> None:
    def interrupt(trials: list[Trial]) -> None:
        storage.add(trials)
        raise KeyboardInterrupt

    storage = Storage(tmp_path, NAME, "mine", search())
    with pytest.raises(KeyboardInterrupt):
        Halving(search(), START, Lab().train, interrupt).run()
    run(tmp_path, search())
    run(tmp_path / "whole", search())
    assert outcomes(f"sqlite:///{tmp_path}/optuna.db") == outcomes(f"sqlite:///{tmp_path}/whole/optuna.db")


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("nowhere", "OPTUNA_STORAGE: not the address of a database, such as postgresql://user@host/name."),
        (
            "postgresql://me:secret@127.0.0.1:1/none",
            r"postgresql://me:\*\*\*@127.0.0.1:1/none, Optuna's storage",
        ),
        ("oracle://host/name", "oracle://host/name, Optuna's storage, cannot be used: "),
        ("sqlite:////no/such/folder/optuna.db", "unable to open database file"),
    ],
)
def test_a_storage_that_cannot_be_reached_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str, message: str
) -> None:
    monkeypatch.setenv(ADDRESS, address)
    with pytest.raises(TextrnnError, match=message) as raised:
        Storage(tmp_path, NAME, "mine", search())
    assert "secret" not in str(raised.value)


@pytest.mark.long
def test_on_postgresql_the_result_is_the_same_and_another_search_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    local = run(tmp_path / "local", search())
    with postgresql() as url:
        monkeypatch.setenv(ADDRESS, url)
        assert run(tmp_path / "first", search()) == local
        assert run(tmp_path / "second", search()) == local
        assert outcomes(url) == json.loads(local["search.json"])["outcomes"]
        with pytest.raises(TextrnnError, match=f"holds another search under the name {NAME}. Rename"):
            run(tmp_path / "third", search(reduction=2), "another")
        subprocess.run(
            [Path(sys.executable).parent / "optuna", "delete-study", "--study-name", NAME, "--storage", url], check=True
        )
        run(tmp_path / "third", search(reduction=2), "another")
    with pytest.raises(TextrnnError, match=r"Optuna's storage, cannot be used.*What was trained is kept"):
        run(tmp_path / "fourth", search())


@pytest.mark.long
def test_the_dashboard_opens_it(tmp_path: Path) -> None:
    run(tmp_path, search())
    port = free_port()
    program = Path(sys.executable).parent / "optuna-dashboard"
    with subprocess.Popen([program, f"sqlite:///{tmp_path}/optuna.db", "--port", str(port)]) as process:
        try:
            deadline = time.monotonic() + 120
            while True:
                try:
                    with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/studies", timeout=10) as answer:
                        [study] = json.load(answer)["study_summaries"]
                    break
                except OSError:
                    assert process.poll() is None and time.monotonic() < deadline
                    time.sleep(0.2)
        finally:
            process.terminate()
    assert study["study_name"] == NAME
