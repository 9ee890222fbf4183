"""A sample of `make faults`: after each fault the next run ends as an undisturbed one."""

from __future__ import annotations

from pathlib import Path

import faults
import pytest

SAMPLE = ("kill", "kill-parent", "kill-sync", "interrupt", "at-once", "cache", "database-corrupt")


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> faults.Undisturbed:
    return faults.undisturbed(tmp_path_factory.mktemp("undisturbed"))


@pytest.mark.long
@pytest.mark.parametrize("name", SAMPLE)
def test_the_next_run_ends_as_an_undisturbed_one(name: str, reference: faults.Undisturbed, tmp_path: Path) -> None:
    _, repeated = faults.attempt(name, 0, reference, tmp_path)
    assert repeated == 0
