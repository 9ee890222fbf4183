"""What searches tried, which trials are the best, and how optimistic a search was of its winner."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from fake_searches import write_search
from scipy.stats import t
from tiny_experiments import PLAIN

from textrnn.analysis.searches import COLUMNS, searches
from textrnn.report.rendering import write_csv
from textrnn.search.result import SearchResult

SPACE: dict[str, dict[str, Any]] = {
    "units": {"low": 2, "high": 64, "log": True, "optional": False},
    "early_stopping": {"low": 1, "high": 9, "log": False, "optional": True},
    "bidirectional": {"choices": [False, True]},
}


def make(folder: Path, name: str = "tuned", seeds: tuple[int, ...] = (1000, 1001), **changes: Any) -> SearchResult:
    """Two trials reach the second rung, one is cut in the first, one diverges there, and one is refused."""
    rows = [
        (0, 16, None, False, "cut", 1, 0.50, ""),
        (1, 8, 2, True, "finished", 2, 0.44, ""),
        (2, 32, 3, True, "diverged", 1, None, "loss became NaN in epoch 1"),
        (3, 64, 4, False, "finished", 2, 0.40, ""),
        (4, 2, 5, True, "refused", None, None, "layers is 0"),
    ]
    columns = ("trial", *SPACE, "outcome", "rung", "value", "reason")
    spent = {"batch": 0, "seeds": "1000 1001", "flops": 1e9}
    trials = [
        {
            **dict(zip(columns, row, strict=True)),
            **spent,
            "trained_epochs": row[5],
            "val_accuracy": row[6] and 1 - row[6],
        }
        for row in rows
    ]
    content: dict[str, Any] = {
        "winner": 3,
        "value": 0.4,
        "val_accuracy": 0.79,
        "seeds": list(seeds),
        "experiment": PLAIN,
        "space": SPACE,
        "settings": {"trials": 5},
        "outcomes": {"finished": 2, "cut": 1, "diverged": 1, "refused": 1},
        "flops": 4e9,
        "best": [{"trial": 1, "flops": 2e9, "value": 0.44}, {"trial": 3, "flops": 3e9, "value": 0.4}],
        "importance": {"units": 0.25, "early_stopping": 0.0, "bidirectional": 0.75},
    }
    values = [(0, 1, 1, 1, 0.5, 0.5), (1, 1, 1, 1, 0.6, 0.5), (3, 1, 1, 1, 0.55, 0.5)]
    values += [(1, 2, 3, 2, 0.44, 0.56), (3, 2, 3, 2, 0.4, 0.6)]
    return write_search(folder / name, trials, values, **{**content, **changes})


def again(*accuracy: float, name: str = "tuned", loss: float = 0.5) -> pd.DataFrame:
    """The scores of the run of that name, of which those on the test split are not to be read."""
    rows = [(name, seed, "valid", each, loss) for seed, each in enumerate(accuracy)]
    rows += [(name, seed, "test", 0.1, 9.0) for seed in range(len(accuracy))] + [("other", 0, "valid", 0.2, 8.0)]
    return pd.DataFrame(rows, columns=["experiment", "seed", "split", "accuracy", "log_loss"])


def test_optimism_is_what_the_search_shows_over_fresh_seeds(tmp_path: Path) -> None:
    table = searches([make(tmp_path)], again(0.76, 0.78, 0.77))["searches"]

    row = table.iloc[0]
    assert (row["search"], row["winner"], row["rungs"], row["flops"]) == ("tuned", 3, 2, 4e9)
    assert row[["trials", "finished", "cut", "diverged", "refused"]].tolist() == [5, 2, 1, 1, 1]
    assert (row["search_seeds"], row["seeds"]) == (2, 3)
    assert row[["accuracy", "accuracy_again", "accuracy_optimism"]].tolist() == pytest.approx([0.79, 0.77, 0.02])
    # Fresh seeds spread by 0.01, as the two of the search do, so the difference does by 0.01 * sqrt(1/3 + 1/2).
    reach = 4.302653 * 0.01 * np.sqrt(5 / 6)
    assert t.isf(0.025, 2) == pytest.approx(4.302653)
    assert row[["accuracy_low", "accuracy_high"]].tolist() == pytest.approx([0.02 - reach, 0.02 + reach])
    # A log loss that rises from 0.4 to 0.5 was too low in the search; seeds that agree leave no doubt.
    assert row[["loss", "loss_again", "loss_optimism", "loss_low", "loss_high"]].tolist() == pytest.approx(
        [0.4, 0.5, 0.1, 0.1, 0.1]
    )


def test_a_single_fresh_seed_has_no_interval_and_a_failed_winner_no_optimism(tmp_path: Path) -> None:
    results = [make(tmp_path, "one"), make(tmp_path, "failed")]

    one, failed = searches(results, again(0.8, name="one"))["searches"].to_dict("records")

    assert (one["seeds"], one["accuracy_optimism"]) == (1, pytest.approx(-0.01))
    assert np.isnan([one["accuracy_low"], one["accuracy_high"], one["loss_low"], one["loss_high"]]).all()
    assert (failed["seeds"], failed["accuracy"]) == (0, 0.79)
    assert np.isnan([failed[f"accuracy_{what}"] for what in ("again", "optimism", "low", "high")]).all()


def test_the_last_rung_ranks_before_the_value_and_settings_stay_what_they_are(tmp_path: Path) -> None:
    other = make(tmp_path, "other", space={"units": SPACE["units"]})

    trials = searches([make(tmp_path), other], again())["search_trials"]

    own = trials[trials["search"] == "tuned"]
    assert own["rank"].fillna(0).tolist() == [3, 2, 0, 1, 0]
    write_csv(tmp_path / "own.csv", own[["trial", "units", "early_stopping", "bidirectional", "rung", "rank"]])
    _, first, *_, last = (tmp_path / "own.csv").read_text().splitlines()
    assert (first, last) == ("0,16,,False,1,3", "4,2,5.0,True,,")
    assert trials["search"].tolist() == ["tuned"] * 5 + ["other"] * 5


def test_knobs_are_in_the_order_of_their_importance_with_their_ranges_and_choices(tmp_path: Path) -> None:
    results = [make(tmp_path), make(tmp_path, "unknown", importance={})]

    knobs = searches(results, again())["search_knobs"]

    table = knobs.astype(object).where(knobs.notna(), None).to_numpy().tolist()
    assert table[:3] == [
        ["tuned", "bidirectional", 0.75, None, None, None, None, "false, true"],
        ["tuned", "units", 0.25, 2, 64, True, False, ""],
        ["tuned", "early_stopping", 0.0, 1, 9, False, True, ""],
    ]
    assert [row[1:3] for row in table[3:]] == [[knob, None] for knob in SPACE]


def test_values_by_rung_and_the_best_by_cost_are_those_of_the_searches(tmp_path: Path) -> None:
    tables = searches([make(tmp_path)], again())

    assert tables["search_best"].to_numpy().tolist() == [["tuned", 1, 2e9, 0.44], ["tuned", 3, 3e9, 0.4]]
    assert tables["search_values"][["trial", "rung", "value"]].to_numpy().tolist()[-1] == [3, 2, 0.4]
    assert len(tables["search_values"]) == 5


def test_tables_have_the_same_columns_with_and_without_searches(tmp_path: Path) -> None:
    without, found = searches([], again()), searches([make(tmp_path)], again())

    assert all(table.empty for table in without.values())
    for name, columns in COLUMNS.items():
        assert without[name].columns.tolist() == list(columns)
        assert set(columns) <= set(found[name].columns)
