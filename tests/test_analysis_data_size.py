"""Accuracy by the number of training texts, where lines meet, and what a fitted law says of more texts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from fake_runs import alone
from tiny_experiments import PLAIN, STUDY

from textrnn.analysis import leaderboard, run_tables
from textrnn.analysis.data_size import TABLES, data_size, lines
from textrnn.config.params import Params
from textrnn.run_folder import Run, RunFolder, prediction_rows, write_run

SIZES = (100, 200, 400, 800, 1600)
TESTED = 2000
EMBEDDINGS = {"tiny": {"source": "random", "dimension": 3}, "glove": {"source": "glove"}}


def study(sizes: Sequence[int | None] = SIZES, **changes: object) -> Params:
    """Two lines, `learned-100` and so on, and `frozen-100`."""
    experiments = {
        f"{line}-{size or 'all'}": {**PLAIN, **own, "train_examples": size, **changes}
        for line, own in (("learned", {}), ("frozen", {"embedding": "glove", "trainable_embedding": False}))
        for size in sizes
    }
    return Params.model_validate({**STUDY, "embeddings": EMBEDDINGS, "probes": [], "experiments": experiments})


def trained(folder: Path, params: Params, *accuracies: Sequence[float], failed: str = "") -> list[RunFolder]:
    """Runs with the test accuracies of each line, by number of texts; seeds spread by half a point around them."""
    labels, ids = np.arange(TESTED) % 2, [str(row) for row in range(TESTED)]
    wanted = [each for line in accuracies for each in line]
    runs = []
    for (name, experiment), accuracy in zip(params.experiments.items(), wanted, strict=True):
        order = order_of_texts(name.partition("-")[0])
        frames = []
        for seed in params.seeds:
            is_right = order < round((accuracy + 0.005 * (seed - 1)) * TESTED)
            first = np.where((labels == 0) == is_right, 0.9, 0.1)
            both = np.stack([first, 1 - first], axis=1)
            frames += [prediction_rows(seed, split, ids, labels, both) for split in ("valid", "test")]
        run = Run(
            name=name,
            kind="experiment",
            params=experiment.model_dump(),
            seeds=params.seeds,
            classes=["rotten", "fresh"],
            inputs={},
            fingerprint="",
            parameters={"total": 1},
            flops={"training": 1.0},
            failures={"0": "NaN"} if name == failed else {},
        )
        (folder / name).mkdir(parents=True)
        write_run(folder / name, run, frames, [])
        runs.append(RunFolder.load(folder / name))
    return runs


def order_of_texts(line: str) -> np.ndarray:
    """From the easiest to the hardest; lines differ in it, so they err on other texts."""
    return np.random.default_rng([*line.encode()]).permutation(TESTED)


def law(a: float, b: float, c: float) -> list[float]:
    return [1 - a - b * size**-c for size in SIZES]


RISING = law(0.1, 1.5, 0.4)


def test_experiments_that_differ_in_the_number_of_texts_alone_are_a_line() -> None:
    params = study()

    learned, frozen = lines(params, 5000)

    assert (learned.name, learned.use) == ("tiny learned", "learned")
    assert (frozen.name, frozen.use) == ("glove frozen", "frozen")
    assert learned.experiments == {size: f"learned-{size}" for size in SIZES}
    # A line is named by what differs between lines.
    narrow, wide = study(), study(units=7)
    both = {**narrow.experiments, **{f"wide-{name}": each for name, each in wide.experiments.items()}}
    names = [line.name for line in lines(params.model_copy(update={"experiments": both}), 5000)]
    assert names == [f"{name}, units {units}" for units in (2, 7) for name in ("tiny learned", "glove frozen")]


def test_what_counts_is_the_number_of_texts_that_were_trained_on() -> None:
    params = study((100, 200, 400, 800, None))

    assert list(lines(params, 300)[0].experiments.values()) == ["learned-100", "learned-200", "learned-400"]
    assert list(lines(params, 300)[0].experiments) == [100, 200, 300]
    assert list(lines(params, 600)[0].experiments) == [100, 200, 400, 600]
    assert list(lines(study((100, 200, None), held_out=0.25), 1000)[0].experiments) == [100, 200, 750]
    assert lines(params, 200) == []  # two numbers of texts are no line


def test_a_study_without_lines_has_empty_tables(tmp_path: Path) -> None:
    params = study((100, 200))

    found = data_size(trained(tmp_path, params, RISING[:2], RISING[:2]), params, 5000, alone)

    assert {name: tuple(table.columns) for name, table in found.items()} == TABLES
    assert all(table.empty for table in found.values())


def test_accuracies_are_those_of_the_leaderboard(tmp_path: Path) -> None:
    params = study()
    runs = trained(tmp_path, params, RISING, law(0.2, 1, 0.4))

    table = data_size(runs, params, 5000, alone)["data_size"]

    board = leaderboard.build(runs, run_tables.build(runs)["scores"], alone).set_index("experiment")
    same = board.loc[table["experiment"], ["test_accuracy", "test_low", "test_high"]]
    assert table["texts"].tolist() == [*SIZES, *SIZES]
    np.testing.assert_allclose(table[["accuracy", "low", "high"]], same, atol=1e-6)


def test_a_known_power_law_is_recovered_and_extrapolated(tmp_path: Path) -> None:
    params = study()

    found = data_size(trained(tmp_path, params, RISING, law(0, 0.9, 0.2)), params, 5000, alone)["data_size_laws"]

    for row, (a, b, c) in zip(found.to_dict("records"), ((0.1, 1.5, 0.4), (0, 0.9, 0.2)), strict=True):
        assert row["a"] == pytest.approx(a, abs=0.02) and row["c"] == pytest.approx(c, abs=0.05)
        now, twice = (1 - a - b * texts**-c for texts in (1600, 3200))
        assert row["why_not"] is None
        assert row["off"] == pytest.approx(0, abs=0.005) and row["off_low"] < 0 < row["off_high"]
        assert row["accuracy"] == pytest.approx(twice, abs=0.005)
        assert row["gain"] == pytest.approx(twice - now, abs=0.005)
        assert row["low"] < twice < row["high"] and row["gain_low"] < twice - now < row["gain_high"]
        assert (row["from"], row["most"]) == (100, 1600)


@pytest.mark.parametrize(
    ("accuracies", "why"),
    [
        ((0.5, 0.5, 0.6, 0.65, 0.7), "better than the most frequent class, beyond chance, at 3 of the largest"),
        ((0.7, 0.7, 0.65, 0.6, 0.5), "better than the most frequent class, beyond chance, at 0 of the largest"),
        ((0.7, 0.7, 0.7, 0.7, 0.695), "accuracy does not rise with the number of texts"),
        ((0.6, 0.8, 0.6, 0.8, 0.6), "none is within the 95 % intervals at the 4 largest numbers of texts"),
    ],
)
def test_where_no_law_holds_the_reason_is_given_instead_of_a_number(
    tmp_path: Path, accuracies: Sequence[float], why: str
) -> None:
    params = study()

    found = data_size(trained(tmp_path, params, accuracies, RISING), params, 5000, alone)["data_size_laws"]

    assert found.loc[0, "why_not"].startswith(why)
    assert found.loc[0, ["a", "b", "c", "off", "accuracy", "low", "high", "gain"]].isna().all()
    assert found.loc[1, "gain"] > 0


def test_a_line_that_bends_at_the_end_fails_the_check(tmp_path: Path) -> None:
    params = study()
    bent = [*RISING[:4], RISING[4] + 0.03]

    found = data_size(trained(tmp_path, params, bent, RISING), params, 5000, alone)["data_size_laws"].loc[0]

    assert found["off"] == pytest.approx(-0.03, abs=0.01) and found["off_high"] < 0


def test_numbers_of_texts_that_are_too_few_for_the_law_are_left_out(tmp_path: Path) -> None:
    params = study()
    start = [0.5, *RISING[1:]]  # a guess at 100 texts
    plateau = [0.54, 0.54, 0.7, 0.76, 0.8]  # hardly better for long, and then steeply

    found = data_size(trained(tmp_path, params, start, plateau), params, 5000, alone)["data_size_laws"]

    assert found["from"].tolist() == [200, 200]
    assert found["off"].isna().all()  # three numbers are too few for a check
    assert found.loc[0, "c"] == pytest.approx(0.4, abs=0.1)


@pytest.mark.parametrize(
    ("second", "meeting", "behind"),
    [
        ((0.6, 0.65, 0.8, 0.85, 0.9), 200 * 2**0.5, "glove frozen"),  # half-way between 200 and 400
        ((0.8, 0.75, 0.7, 0.75, 0.75), 800 * 2**0.5, "tiny learned"),  # those of 200 count no longer
        ((0.6, 0.6, 0.6, 0.6, 0.6), np.inf, "glove frozen"),
    ],
)
def test_lines_meet_where_the_one_behind_catches_up_for_good(
    tmp_path: Path, second: Sequence[float], meeting: float, behind: str
) -> None:
    params = study()
    first = (0.7, 0.7, 0.75, 0.7, 0.8)

    found = data_size(trained(tmp_path, params, first, second), params, 5000, alone)

    assert found["data_size_gaps"]["difference"].tolist() == pytest.approx(np.subtract(second, first), abs=1e-6)
    (row,) = found["data_size_meetings"].to_dict("records")
    assert (row["behind"], row["fewest"], row["most"]) == (behind, 100, 1600)
    assert row["texts"] == pytest.approx(meeting)
    assert row["low"] <= row["texts"] <= row["high"]


def test_lines_that_cannot_be_told_apart_may_meet_anywhere(tmp_path: Path) -> None:
    params = study()

    found = data_size(trained(tmp_path, params, RISING, RISING), params, 5000, alone)["data_size_meetings"]

    assert found.loc[0, ["texts", "low", "high"]].tolist() == [100, 100, np.inf]


def test_a_failed_run_is_left_out_of_its_line(tmp_path: Path) -> None:
    params = study((100, 200, 400, 800))

    runs = trained(tmp_path, params, RISING[:4], RISING[:4], failed="frozen-200")
    found = data_size(runs, params, 5000, alone)

    assert found["data_size"]["experiment"].tolist()[4:] == ["frozen-100", "frozen-400", "frozen-800"]
    assert found["data_size_gaps"]["texts"].tolist() == [100, 400, 800]
    assert found["data_size_laws"].loc[1, "why_not"].endswith("at 3 of the largest numbers of texts, and a law needs 4")
    few = study((100, 200, 400))
    runs = trained(tmp_path / "few", few, RISING[:3], RISING[:3], failed="frozen-200")
    assert set(data_size(runs, few, 5000, alone)["data_size"]["line"]) == {"tiny learned"}


def test_texts_that_were_drawn_together_widen_the_intervals(tmp_path: Path) -> None:
    params = study()
    runs = trained(tmp_path, params, RISING, law(0.2, 1, 0.4))
    easy = order_of_texts("learned") // 20  # each group is as hard as its texts

    by_text, by_group = (
        data_size(runs, params, 5000, groups)["data_size_laws"].loc[0]
        for groups in (alone, lambda split, ids: [str(easy[int(each)]) for each in ids])
    )

    assert by_group["high"] - by_group["low"] > 2 * (by_text["high"] - by_text["low"])
