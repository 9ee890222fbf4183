"""Which trials go on, which one wins, and what is written, with trainings whose losses are known."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from fake_trainings import SPACE, START, Lab, loss, search

from textrnn.config.experiment import Experiment
from textrnn.config.search import Search
from textrnn.errors import TextrnnError
from textrnn.search.halving import Halving
from textrnn.search.proposals import CUT, Trial, outcome
from textrnn.search.result import SearchResult, write


def test_the_best_third_of_each_rung_goes_on_and_is_not_trained_again() -> None:
    lab = Lab()
    halving = Halving(search(), START, lab.train)
    winner = halving.run()
    trained = [trial for trial in halving.trials if trial.outcome != "refused"]
    assert len(trained) == 18
    assert trained[0].knobs == {
        "units": 8,
        "learning_rate": 0.003,
        "dropout": 0.0,
        "cell": "lstm",
        "bidirectional": False,
    }
    for batch in (0, 1):
        own = [trial for trial in trained if trial.batch == batch]
        by_rung = {epochs: [trial for trial in own if epochs in trial.values_at] for epochs in (1, 3, 9)}
        assert [len(trials) for trials in by_rung.values()] == [9, 3, 1]
        for epochs, further in ((1, 3), (3, 9)):
            cut = [trial.values_at[epochs] for trial in by_rung[epochs] if trial not in by_rung[further]]
            assert max(trial.values_at[epochs] for trial in by_rung[further]) <= min(cut)
    assert winner.outcome == "finished"
    assert winner.value == min(trial.value for trial in trained if trial.outcome == "finished" and trial.value)
    assert len(lab.epochs) == 2 * (9 + 3 * 2 + 6)


def test_a_sampler_learns_values_by_rung_so_epochs_make_no_trial_better() -> None:
    """Optuna takes a trial that was pruned at a later step for the better one."""
    trials = [
        Trial(0, 0, {}, {}, None, CUT, "", {2: 0.5, 4: 0.4}),
        Trial(1, 0, {}, {}, None, CUT, "", {3: 0.6, 9: 0.5}),
    ]
    assert [outcome(trial)[2] for trial in trials] == [{1: 0.5, 2: 0.4}, {1: 0.6, 2: 0.5}]


def test_what_the_rules_refuse_is_reported_and_not_trained() -> None:
    halving = Halving(search(), START, Lab().train)
    halving.run()
    refused = [trial for trial in halving.trials if trial.outcome == "refused"]
    assert refused
    assert all(trial.knobs["cell"] == "feedforward" and trial.knobs["bidirectional"] for trial in refused)
    assert all("bidirectional needs a recurrent cell" in trial.reason for trial in refused)


def test_a_space_of_which_the_rules_refuse_everything_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Search, start: Experiment, values: dict[str, Any]) -> Experiment:
        raise ValueError("no such combination")

    monkeypatch.setattr(Search, "settings", refuse)
    with pytest.raises(TextrnnError, match=r"refuse 100 settings of the space in a row, such as \{'units'.*: no such"):
        Halving(search(), START, Lab().train).run()


def test_later_rungs_average_over_more_seeds(tmp_path: Path) -> None:
    halving = Halving(search(seeds=[1, 1, 3]), START, Lab().train)
    winner = halving.run()
    write(tmp_path, "tuned", halving, winner)
    result = SearchResult.load(tmp_path)
    assert result.seeds == [1000, 1001, 1002]
    assert result.value == pytest.approx(loss(result.experiment, 1001, 9))  # the middle one is the mean
    assert result.values[["rung", "seeds"]].drop_duplicates().to_numpy().tolist() == [[1, 1], [2, 1], [3, 3]]


def test_with_early_stopping_the_best_epoch_counts_else_the_last() -> None:
    """The loss rises from the third epoch on."""

    def turning(experiment: Experiment, seed: int, epoch: int) -> float:
        return abs(epoch - 2) / 10 + experiment.dropout

    for patience, value, epochs in ((None, 0.7, 9), (2, 0.0, 4)):
        lab = Lab(turning)
        winner = Halving(search(), START.model_copy(update={"early_stopping": patience}), lab.train).run()
        assert winner.value == pytest.approx(value + winner.settings.dropout)
        assert max(lab.epochs) == epochs


def test_what_diverged_is_a_result_and_wins_nothing(tmp_path: Path) -> None:
    def diverging(experiment: Experiment, seed: int, epoch: int) -> float:
        return 99.0 if experiment.learning_rate > 0.01 and epoch > 1 else loss(experiment, seed, epoch)

    halving = Halving(search(trials=27), START, Lab(diverging).train)
    winner = halving.run()
    write(tmp_path, "tuned", halving, winner)
    trials = SearchResult.load(tmp_path).trials
    diverged = trials[trials["outcome"] == "diverged"]
    assert len(diverged) > 0
    assert (diverged["learning_rate"] > 0.01).all()
    assert set(diverged["reason"]) == {"seed 1000: the loss is no longer a finite number in epoch 2"}
    assert diverged["value"].isna().all()
    assert (diverged["rung"] == 2).all()
    assert (diverged["trained_epochs"] == 1).all()
    assert (diverged["flops"] == 200).all(), "the epoch that failed was computed, too"
    assert winner.settings.learning_rate <= 0.01


def test_if_every_trial_diverged_there_is_no_winner() -> None:
    with pytest.raises(TextrnnError, match="none of 18 trials reached the end; the first: seed 1000: the loss"):
        Halving(
            search(space={"units": {"low": 2, "high": 64}}), START, Lab(lambda experiment, seed, epoch: 99.0).train
        ).run()


@pytest.mark.parametrize("sampler", ["tpe", "random", "qmc", "cmaes"])
def test_each_sampler_proposes_the_same_again(tmp_path: Path, sampler: str) -> None:
    written = []
    for place in ("first", "second"):
        folder = tmp_path / place
        folder.mkdir()
        halving = Halving(search(sampler=sampler, trials=27), START, Lab().train)
        write(folder, "tuned", halving, halving.run())
        written.append({file.name: file.read_bytes() for file in folder.iterdir()})
    assert written[0] == written[1]
    assert written[0].keys() == {"search.json", "winner.json", "trials.csv", "values.csv", "curves.csv"}


def test_more_trials_continue_the_same_search() -> None:
    short, long = (Halving(search(trials=trials), START, Lab().train) for trials in (18, 36))
    short.run()
    long.run()
    assert [trial.knobs for trial in short.trials] == [trial.knobs for trial in long.trials][: len(short.trials)]


def test_a_sampler_learns_from_the_batches_before() -> None:
    """Of the later batches of TPE more trials are near the optimum than of those drawn at random."""
    near = {}
    for sampler in ("random", "tpe"):
        halving = Halving(search(sampler=sampler, trials=90), START, Lab().train)
        halving.run()
        later = [trial for trial in halving.trials if trial.batch > 4 and trial.outcome != "refused"]
        near[sampler] = sum(trial.knobs["dropout"] < 0.2 and 10 < trial.knobs["units"] < 40 for trial in later)
    assert near["tpe"] > 1.5 * near["random"]


def test_the_tables_say_what_was_tried_and_what_it_cost(tmp_path: Path) -> None:
    lab = Lab()
    halving = Halving(search(trials=27), START, lab.train)
    winner = halving.run()
    write(tmp_path, "tuned", halving, winner)
    result = SearchResult.load(tmp_path)
    trials = result.trials
    assert list(trials.columns[:7]) == ["trial", "batch", *SPACE]
    assert sum(result.outcomes.values()) == len(trials)
    assert result.flops == trials["flops"].sum() == 100 * len(lab.epochs) == 100 * len(result.curves)
    assert (trials[trials["outcome"] == "finished"]["trained_epochs"] == 9).all()
    assert result.best[-1]["trial"] == winner.number and result.best[-1]["value"] == winner.value
    assert [row["value"] for row in result.best] == sorted((row["value"] for row in result.best), reverse=True)
    assert sum(result.importance.values()) == pytest.approx(1)
    assert next(iter(result.importance)) in ("units", "dropout")  # the loss depends on nothing else
    assert result.experiment == winner.settings
    curves = result.curves[result.curves["trial"] == winner.number]
    assert curves["rung"].tolist() == [1, 2, 2, 3, 3, 3, 3, 3, 3]
    assert isinstance(trials, pd.DataFrame) and trials["units"].dtype.kind == "i"


def test_a_damaged_result_is_reported(tmp_path: Path) -> None:
    with pytest.raises(TextrnnError, match=r"holds no finished search \(no search.json\). Run `dvc repro`"):
        SearchResult.load(tmp_path)
    (tmp_path / "search.json").write_text(json.dumps({"nam": 1}), encoding="utf-8")
    (tmp_path / "winner.json").write_text(json.dumps(START.model_dump()), encoding="utf-8")
    with pytest.raises(TextrnnError, match="is not what the stage wrote"):
        SearchResult.load(tmp_path)
