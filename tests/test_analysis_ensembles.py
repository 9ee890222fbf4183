"""What the report says of ensembles."""

from __future__ import annotations

from pathlib import Path

from fake_runs import make_run

from textrnn.analysis.ensembles import ensembles
from textrnn.modeling.model_files import Member, write_ensemble


def test_a_row_per_member_of_each_finished_ensemble(tmp_path: Path) -> None:
    params = {"of": ["lstm", "nb-svm"], "weights": "fitted"}
    vote = make_run(tmp_path, "vote", kind="ensemble", params=params)
    (vote.path / "model" / "0").mkdir(parents=True)
    write_ensemble(vote.path / "model" / "0", [Member("lstm", 0.75, [0, 2]), Member("nb-svm", 0.25, [0])])
    lost = make_run(tmp_path, "lost", kind="ensemble", params=params, failures={"0": "no member"})
    assert ensembles([make_run(tmp_path, "lstm"), vote, lost]).to_numpy().tolist() == [
        ["vote", "fitted", "lstm", 2, 0.75],
        ["vote", "fitted", "nb-svm", 1, 0.25],
    ]
