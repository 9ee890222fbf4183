"""`textrnn verify`: the study again from nothing, compared stage by stage."""

from __future__ import annotations

import io
import json
import shutil

import pytest
import yaml
from rich.console import Console
from tiny_project import STAGES

from textrnn.errors import TextrnnError
from textrnn.orchestration import verify as module
from textrnn.orchestration.verify import CLOSE, DIFFERENT, SAME, against_commit, compare_locks, repeat, verify
from textrnn.project import git


@pytest.fixture
def in_project(project, monkeypatch):
    """The project; what this process starts runs in its environment."""
    for key, value in project.environment().items():
        monkeypatch.setenv(key, value)
    monkeypatch.chdir(project.folder)
    return project


@pytest.mark.long
def test_again_from_nothing_gives_the_same_lock_and_report(in_project, tmp_path):
    """`dvc repro`, one stage after the other, against `textrnn repro` with trainings side by side."""
    again = tmp_path / "again"
    repeat(in_project.folder, again, jobs=2)
    assert (again / "dvc.lock").read_bytes() == (in_project.folder / "dvc.lock").read_bytes()
    reports = in_project.report()
    assert len(reports) > 10
    assert {name: (again / name).read_bytes() for name in reports} == reports
    verdicts = compare_locks(in_project.folder, again, tolerance=0.0)
    assert verdicts == dict.fromkeys(STAGES, SAME)


@pytest.fixture
def verified(in_project, monkeypatch):
    """Runs verify against a copy changed by `change`, in place of a whole run; returns verdict and words."""

    def run(change, tolerance=0.02):
        def repeated(project, copy, jobs):
            shutil.copytree(project, copy)
            change(copy)

        monkeypatch.setattr(module, "repeat", repeated)
        screen = io.StringIO()
        verdict = verify(in_project.folder, 1, tolerance, Console(file=screen, width=100))
        return verdict, screen.getvalue().splitlines()

    return run


def change_outs(copy, *stages):
    lock = yaml.safe_load((copy / "dvc.lock").read_text(encoding="utf-8"))
    for stage in stages:
        lock["stages"][stage]["outs"][0]["md5"] = "f" * 32
    (copy / "dvc.lock").write_text(yaml.safe_dump(lock, sort_keys=False), encoding="utf-8")


def change_metric(copy, name, by):
    file = copy / "reports" / "tiny" / "metrics" / f"{name}.json"
    metrics = json.loads(file.read_text(encoding="utf-8"))
    metrics["valid_accuracy"] += by
    file.write_text(json.dumps(metrics), encoding="utf-8")


def line(lines, stage):
    (found,) = [one for one in lines if one.startswith(f"{stage} ")]
    return found.removeprefix(stage).strip()


def test_same_bytes_everywhere(verified):
    passed, lines = verified(lambda copy: None)
    assert passed
    assert line(lines, "train@lstm") == SAME
    assert lines[-1] == f"16 stages: {SAME}, 0 stages: {CLOSE}, 0 stages: {DIFFERENT}"


def test_another_machine_within_tolerance(verified):
    def change(copy):
        change_outs(copy, "train@lstm", "compare")
        change_metric(copy, "lstm", 0.015)

    passed, lines = verified(change)
    assert passed
    assert line(lines, "train@lstm") == CLOSE
    assert line(lines, "compare") == CLOSE
    assert line(lines, "train@gru") == SAME


def test_metrics_out_of_tolerance_are_different(verified):
    def change(copy):
        change_outs(copy, "train@lstm")
        change_metric(copy, "lstm", -0.015)

    passed, lines = verified(change, tolerance=0.01)
    assert not passed
    assert line(lines, "train@lstm") == DIFFERENT


def test_data_with_other_bytes_is_different(verified):
    passed, lines = verified(lambda copy: change_outs(copy, "encode_corpus"))
    assert not passed
    assert line(lines, "encode_corpus") == DIFFERENT
    assert lines[-1] == f"15 stages: {SAME}, 0 stages: {CLOSE}, 1 stages: {DIFFERENT}"


def test_a_stage_of_only_one_side_is_different(verified):
    def change(copy):
        lock = yaml.safe_load((copy / "dvc.lock").read_text(encoding="utf-8"))
        lock["stages"]["train@new"] = lock["stages"].pop("train@gru")
        (copy / "dvc.lock").write_text(yaml.safe_dump(lock), encoding="utf-8")

    passed, lines = verified(change)
    assert not passed
    assert line(lines, "train@gru") == line(lines, "train@new") == DIFFERENT


def test_without_a_lock_there_is_nothing_to_compare(tmp_path):
    with pytest.raises(TextrnnError, match=r"has no dvc\.lock to compare with\. Run `make repro` first"):
        verify(tmp_path, 1, 0.02, Console())


def test_outside_of_git_the_files_to_copy_are_unknown(tmp_path):
    (tmp_path / "dvc.lock").write_text("schema: '2.0'\nstages: {}\n")
    with pytest.raises(TextrnnError, match="not a git repository"):
        verify(tmp_path, 1, 0.02, Console())


def commit_lock(folder, plan="p", out="a", accuracy=0.75, data="e"):
    """A project with one run; its report has a metric."""
    stages = {
        "encode_corpus": {"deps": [{"path": "plan/encode_corpus.json", "md5": data}], "outs": []},
        "train@gru": {
            "deps": [{"path": "plan/train@gru.json", "md5": plan}],
            "outs": [{"path": "runs/gru", "md5": out}],
        },
        "baseline@majority": {"deps": [{"path": "plan/baseline@majority.json", "md5": "m"}], "outs": []},
        "compare": {"outs": [{"path": "reports/tiny", "md5": out}]},
    }
    (folder / "reports/tiny/metrics").mkdir(parents=True, exist_ok=True)
    (folder / "dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": stages}), encoding="utf-8")
    (folder / "reports/tiny/metrics/gru.json").write_text(json.dumps({"test_accuracy": accuracy}), encoding="utf-8")


@pytest.fixture
def committed(tmp_path):
    """A project in a subfolder of its repository."""
    folder = tmp_path / "sub folder"
    commit_lock(folder)
    git.text(tmp_path, "init", "--quiet")
    git.text(tmp_path, "add", ".")
    who = ("-c", "user.name=t", "-c", "user.email=t@example.com")
    git.text(tmp_path, *who, "commit", "--quiet", "--message", "results")
    return folder


def test_other_bytes_than_committed_are_counted_and_explained(committed):
    commit_lock(committed, out="b", accuracy=0.7503)
    said = against_commit(committed)
    assert said.startswith("1 of 2 results are the same bytes as those committed; ")
    assert "at most 0.0003 (test_accuracy of gru): another kind of processor gives other last digits." in said
    assert said.endswith("`git restore dvc.lock reports` keeps the committed results; or commit these.")
    commit_lock(committed, out="b", accuracy=0.5)
    assert "at most 0.25 (test_accuracy of gru): no processor does that much" in against_commit(committed)


def test_the_same_bytes_are_reported(committed):
    assert against_commit(committed) == "2 of 2 results are the same bytes as those committed."


def test_results_of_another_plan_do_not_count(committed, tmp_path):
    commit_lock(committed, plan="other", out="b")
    assert against_commit(committed) == "1 of 1 results are the same bytes as those committed."
    commit_lock(committed, data="other")
    assert against_commit(committed) is None
    (tmp_path / "outside").mkdir()
    commit_lock(tmp_path / "outside")
    assert against_commit(tmp_path / "outside") is None
