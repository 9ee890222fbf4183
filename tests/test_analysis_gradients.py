"""Gradient norms of the probes, put together over texts and seeds."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from fake_runs import alone, make_run
from scipy.stats import t

from textrnn.analysis.gradients import memory
from textrnn.errors import TextrnnError


def write_probe(folder: Path, name: str, norms: dict[int, list[list[float]]]) -> None:
    """`norms`: by seed, for each text the norm at distance 0, 1, …; rows are shuffled."""
    rows = [
        (seed, f"valid-{place}", distance, norm)
        for seed, texts in norms.items()
        for place, text in enumerate(texts)
        for distance, norm in enumerate(text)
    ]
    (probe := folder / f"probe@{name}").mkdir(parents=True)
    schema = {"seed": pl.Int32, "id": pl.String, "distance": pl.Int32, "norm": pl.Float32}
    pl.DataFrame(rows[::-1], schema=schema, orient="row").write_parquet(probe / "gradients.parquet")


def test_norms_are_geometric_means_relative_to_the_last_token(tmp_path: Path) -> None:
    run = make_run(tmp_path / "runs", "gru", params={"cell": "gru", "embedding": "glove"}, seeds=[0])
    write_probe(tmp_path / "runs", "gru", {0: [[8.0, 4.0], [1.0, 0.125], [0.5, 0.5]]})
    table = memory([run], alone)
    assert table[["experiment", "cell", "distance", "texts"]].to_numpy().tolist() == [
        ["gru", "gru", 0, 3],
        ["gru", "gru", 1, 3],
    ]
    assert table["norm"].tolist() == pytest.approx([1, (1 / 2 * 1 / 8 * 1) ** (1 / 3)], rel=1e-4)
    # In powers of two: -1, -3, 0 have the mean -4/3 and the variance 7/3.
    spread = 2 ** (t.ppf(0.975, 2) * (7 / 9) ** 0.5)
    low, high = table.loc[1, ["low", "high"]]
    assert high / table.loc[1, "norm"] == pytest.approx(spread, rel=1e-4)
    assert table.loc[1, "norm"] / low == pytest.approx(spread, rel=1e-4)


def test_a_gradient_that_vanished_to_zero_stays_on_the_scale(tmp_path: Path) -> None:
    run = make_run(tmp_path / "runs", "rnn", params={"cell": "simple_rnn", "embedding": "glove"}, seeds=[0, 1])
    write_probe(tmp_path / "runs", "rnn", {seed: [[1.0, 0.0], [1.0, 0.0]] for seed in (0, 1)})
    assert memory([run], alone)["norm"].tolist() == [1, pytest.approx(1.1755e-38)]


def test_no_probe_no_seed_no_row(tmp_path: Path) -> None:
    run = make_run(tmp_path / "runs", "gru", seeds=[0], failures={"0": "NaN"})
    write_probe(tmp_path / "runs", "gru", {})
    assert memory([run], alone).empty
    with pytest.raises(TextrnnError, match=r"gradients.parquet is missing: gru was not probed"):
        memory([make_run(tmp_path / "elsewhere", "gru", seeds=[0])], alone)
