"""`textrnn repro`: what it says and does when all is well, and when not."""

from __future__ import annotations

import json
from pathlib import Path

from fake_runs import make_run
from tiny_project import PARAMS, sha256

from textrnn.orchestration.repro import diverged
from textrnn.params import load_params


def test_with_nothing_to_do_it_shows_the_leaderboard(project):
    done = project.textrnn("repro")
    assert done.stages == []
    assert "mean ranks first of 3 experiments" in done.text
    assert done.text.count("More in reports/tiny/leaderboard.md") == 1
    assert project.git_status() == ""


def test_what_the_study_drops_is_named_and_pruned(project):
    project.edit("params.yaml", lambda params: params["experiments"].pop("lstm"))
    done = project.textrnn("repro", "--jobs", "2")
    assert "pruned train@lstm: the study no longer declares it" in done.text
    assert "mean ranks first of 2 experiments" in done.text
    assert done.text.count("More in reports/tiny/leaderboard.md") == 1
    assert not (project.folder / "runs/lstm").exists()
    assert "train@lstm" not in project.lock()


def test_failing_stages_are_named_and_the_others_kept(project):
    broken = 'raise SystemExit("error: no baseline today")\n'
    script = project.folder / "stages" / "baseline.py"
    script.write_text(broken, encoding="utf-8")
    failed = project.textrnn("repro", "--jobs", "2", ok=False)
    assert failed.status == 1
    assert "error: 2 of 2 stages failed:" in failed.text
    for name in ("majority", "nb-svm"):
        assert f"baseline@{name} failed in" in failed.text
        assert f"  baseline@{name}: " in failed.text
    assert "error: no baseline today" in failed.text
    assert "Traceback" not in failed.text
    assert project.run("git", "status", "--porcelain", "dvc.lock", "reports").text == ""
    project.run("git", "checkout", "--quiet", ".")
    assert project.textrnn("repro").status == 0
    assert project.git_status() == ""


def test_a_failing_download_is_named(project):
    wrong = "0" * 64
    project.edit("catalog.yaml", lambda catalog: catalog["vectors"]["tiny-glove"].update(sha256=wrong))
    failed = project.textrnn("repro", ok=False)
    assert failed.status == 1
    assert "failed to reproduce 'download_vectors@glove'" in failed.text
    assert wrong in failed.text
    assert failed.text.splitlines()[-1].startswith("error: `dvc repro encode_corpus build_embeddings` failed")


def test_a_diverging_training_is_named_and_the_others_stand(project):
    """Vectors so large that their sum overflows: the loss is no number from the first epoch on."""
    vectors = project.folder / "tiny" / "huge.txt"
    words = [line.split()[0] for line in project.read("tiny/vectors.txt").splitlines()]
    vectors.write_text("".join(f"{word} 3e38 3e38 3e38 3e38 3e38\n" for word in words), encoding="utf-8")
    project.edit(
        "catalog.yaml",
        lambda catalog: catalog["vectors"].update(
            huge={**catalog["vectors"]["tiny-glove"], "source": "file:tiny/huge.txt", "sha256": sha256(vectors)}
        ),
    )

    def diverge(params):
        params["embeddings"]["huge"] = {"source": "huge"}
        params["experiments"]["mean"]["embedding"] = "huge"

    project.edit("params.yaml", diverge)
    failed = project.textrnn("repro", "--jobs", "2", ok=False)
    assert failed.status == 1
    assert "error: the study is complete, but trainings failed:" in failed.text
    reason = "the loss is no longer a finite number in epoch 1"
    assert f"  mean: seed 0: {reason}; seed 1: {reason}" in failed.text
    assert "Lower learning_rate, or set gradient_clip" in failed.text
    assert "Traceback" not in failed.text

    run = json.loads(project.read("runs/mean/run.json"))
    assert (run["status"], run["failures"]) == ("failed", {"0": reason, "1": reason})
    board = project.read("reports/tiny/leaderboard.md")
    assert "`mean` failed and has no rank" in board
    assert board.index("`gru`") > 0
    # It failed, and that is the result: the next call trains nothing, and says so again.
    again = project.textrnn("repro", ok=False)
    assert (again.status, again.stages) == (1, [])
    assert f"  mean: seed 0: {reason}" in again.text


def test_diverged_names_experiment_seed_and_reason(tmp_path: Path):
    file = tmp_path / "params.yaml"
    file.write_text(PARAMS, encoding="utf-8")
    make_run(tmp_path, "lstm", seeds=[0, 1], failures={"1": "no number"})
    for name in ("gru", "mean"):
        make_run(tmp_path, name, seeds=[0, 1])
    assert diverged(load_params(file), tmp_path) == {"lstm": "seed 1: no number"}
