"""Which comparisons a study makes, over which pairs, and how they are corrected together."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from fake_runs import alone, make_run
from scipy.stats import t
from tiny_experiments import PLAIN

from textrnn.analysis.comparisons import comparisons
from textrnn.config.ensemble import Ensemble
from textrnn.config.params import Params, load_params
from textrnn.run_folder import RunFolder

EXAMPLES = 40
EXPERIMENTS = {
    "lstm": {"embedding": "drawn"},
    "gru": {"embedding": "drawn", "cell": "gru"},
    "lstm-glove": {"embedding": "glove", "trainable_embedding": False},
    "gru-glove": {"embedding": "glove", "trainable_embedding": False, "cell": "gru"},
    "lstm-tuned": {"embedding": "glove"},
    "lstm-ema": {"embedding": "drawn", "ema": 0.9},
    "wide-gru": {"embedding": "drawn", "cell": "gru", "units": 9, "layers": 2},
}


def make_params(folder: Path, **comparisons: object) -> Params:
    study = {
        "study": "tiny",
        "corpus": "reviews",
        "seeds": [0, 1],
        "prepare": {"valid": 0.2, "test": 0.3, "seed": 0, "leakage": "drop", "unlabelled": False},
        "encode": {"vocabulary_size": 9, "min_count": 1},
        "embeddings": {"drawn": {"source": "random", "dimension": 4}, "glove": {"source": "glove-50d"}},
        "baselines": {"majority": {"kind": "majority"}},
        "comparisons": {"level": 0.05, "against": ["majority"], "pairs": [], **comparisons},
        "probes": ["lstm"],
        "promotion": {"level": 0.05, "margin": 0.005},
        "data_check": {},
        "published": [],
        "train": {key: value for key, value in PLAIN.items() if key != "embedding"} | {"trainable_embedding": True},
        "experiments": EXPERIMENTS,
    }
    (folder / "params.yaml").write_text(yaml.safe_dump(study, sort_keys=False))
    return load_params(folder / "params.yaml")


def make_runs(folder: Path, params: Params, right: dict[str, int], failed: str = "") -> list[RunFolder]:
    """Each is right about the first so many examples, with every seed."""
    runs = []
    for name in (*params.experiments, *params.baselines):
        answers = [[1.0, 0.0] if row < right.get(name, 20) else [0.0, 1.0] for row in range(EXAMPLES)]
        table = [f"{row}" for row in range(EXAMPLES)], [0] * EXAMPLES, answers
        settings = {"predictions": {"valid": table, "test": table}, "failures": {"1": "NaN"} if name == failed else {}}
        if name in params.experiments:
            settings |= {"seeds": [0, 1], "params": params.experiments[name].model_dump()}
        else:
            settings |= {"kind": "baseline", "params": {"kind": "majority"}}
        runs.append(make_run(folder, name, **settings))
    return runs


def about(table: pd.DataFrame, *kinds: str) -> list[tuple[str, str, str, int]]:
    rows = table[table["about"].isin(kinds)]
    return list(rows[["about", "first", "second", "pairs"]].itertuples(index=False, name=None))


def test_factors_are_compared_over_pairs_that_are_equal_but_for_one(tmp_path: Path) -> None:
    params = make_params(tmp_path)
    table = comparisons(make_runs(tmp_path / "runs", params, {}), params, "lstm", alone)
    assert about(table, "cell", "embedding", "ema", "units", "layers", "trainable_embedding") == [
        ("cell", "lstm", "gru", 2),
        ("embedding", "drawn learned", "glove frozen", 2),
        ("embedding", "drawn learned", "glove fine-tuned", 1),
        ("embedding", "glove frozen", "glove fine-tuned", 1),
        ("ema", "off", "0.9", 1),
    ]  # and `wide-gru`, which differs from `gru` in two things, takes part in none
    assert about(table, "baseline") == [("baseline", "majority", name, 1) for name in EXPERIMENTS]
    assert about(table, "best") == [("best", "lstm", name, 1) for name in EXPERIMENTS if name != "lstm"]


def test_differences_are_the_seconds_minus_the_firsts(tmp_path: Path) -> None:
    params = make_params(tmp_path, pairs=[["gru", "wide-gru"]])
    right = {"gru": 24, "gru-glove": 22, "wide-gru": 40, "majority": 10}
    table = comparisons(make_runs(tmp_path / "runs", params, right), params, "wide-gru", alone)
    rows = {(row.about, row.first, row.second): row for row in table.itertuples()}
    cell, declared = rows["cell", "lstm", "gru"], rows["declared", "gru", "wide-gru"]
    baseline, best = rows["baseline", "majority", "lstm"], rows["best", "wide-gru", "lstm"]
    assert cell.difference == pytest.approx((4 / 40 + 2 / 40) / 2)
    assert declared.difference == pytest.approx(16 / 40)
    assert baseline.difference == pytest.approx(10 / 40)
    assert best.difference == pytest.approx(-20 / 40)
    assert (declared.verdict, best.verdict, cell.verdict) == ("better", "worse", "unclear")
    assert all(row.low <= row.difference <= row.high for row in rows.values())


def test_holm_by_hand_over_declared_and_factors_and_over_the_best_by_themselves(tmp_path: Path) -> None:
    params = make_params(tmp_path)
    right = {"lstm": 22, "gru": 26, "lstm-glove": 27, "gru-glove": 29, "lstm-ema": 30, "majority": 17}
    table = comparisons(make_runs(tmp_path / "runs", params, right), params, "lstm-ema", alone)
    for family in (table[table["about"] == "best"], table[table["about"] != "best"]):
        p_values, adjusted = np.sort(family["p_value"]), np.sort(family["p_adjusted"])
        steps = [p * (len(p_values) - rank) for rank, p in enumerate(p_values)]
        assert adjusted == pytest.approx(np.minimum(np.maximum.accumulate(steps), 1), abs=2e-5)  # digits are cut
        assert ((family["p_adjusted"] <= 0.05) == (family["verdict"] != "unclear")).all()


def test_a_run_with_a_failed_seed_is_compared_with_none(tmp_path: Path) -> None:
    params = make_params(tmp_path, pairs=[["gru", "lstm"]])
    table = comparisons(make_runs(tmp_path / "runs", params, {}, failed="gru"), params, "lstm", alone)
    assert "gru" not in {*table.loc[table["about"].isin(["baseline", "best", "declared"]), "second"]}
    assert about(table, "cell", "declared") == [("cell", "lstm", "gru", 1)]


def test_an_ensemble_is_compared_as_an_experiment_is_and_is_no_factor(tmp_path: Path) -> None:
    params = make_params(tmp_path, pairs=[["gru", "wide-gru"]])
    params = params.model_copy(update={"ensembles": {"vote": Ensemble(of=["lstm", "gru"])}})
    runs = make_runs(tmp_path / "runs", params, {"gru": 24})
    answers = [[1.0, 0.0] if row < 36 else [0.0, 1.0] for row in range(EXAMPLES)]
    each = [f"{row}" for row in range(EXAMPLES)], [0] * EXAMPLES, answers
    made = {"kind": "ensemble", "params": params.ensembles["vote"].model_dump()}
    runs.append(make_run(tmp_path / "runs", "vote", **made, predictions={"valid": each, "test": each}))
    table = comparisons(runs, params, "vote", alone)
    assert ("baseline", "majority", "vote", 1) in about(table, "baseline")
    assert about(table, "best") == [("best", "vote", name, 1) for name in EXPERIMENTS]
    against_gru = table[(table["about"] == "best") & (table["second"] == "gru")]
    assert against_gru["difference"].item() == pytest.approx(-12 / 40)
    assert about(table, "cell") == [("cell", "lstm", "gru", 2)]


def test_without_a_finished_experiment_nothing_is_compared(tmp_path: Path) -> None:
    params = make_params(tmp_path)
    baseline = make_runs(tmp_path / "runs", params, {})[-1]
    assert comparisons([baseline], params, None, alone).empty


def test_texts_of_one_film_are_drawn_together(tmp_path: Path) -> None:
    """Ten films of four texts: right about all texts of a film or about none, so there are ten examples in truth."""
    params = make_params(tmp_path)
    runs = make_runs(tmp_path / "runs", params, {"gru": 32})
    single, grouped = (
        comparisons(runs, params, None, groups).query("about == 'baseline' and second == 'gru'").iloc[0]
        for groups in (alone, lambda split, ids: [str(int(row) // 4) for row in ids])
    )
    assert single["difference"] == grouped["difference"] == pytest.approx(0.3)
    widths = [row["high"] - row["low"] for row in (single, grouped)]
    error = [(0.21 / 39) ** 0.5, (0.21 / 9) ** 0.5]
    assert widths == pytest.approx([2 * t.ppf(0.975, 39) * error[0], 2 * t.ppf(0.975, 9) * error[1]], abs=1e-5)
