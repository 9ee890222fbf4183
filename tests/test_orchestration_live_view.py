"""The view of what runs side by side, drawn from given events."""

from __future__ import annotations

from io import StringIO

import pytest
from rich.console import Console

from textrnn.orchestration.live_view import LiveView

WORK = {"train@lstm": 8, "train@gru": 4, "train@mean": 2, "baseline@nb-svm": 1}


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def make_view(clock: Clock, **options: object) -> tuple[LiveView, Console]:
    console = Console(file=StringIO(), width=100, record=True, **options)
    return LiveView(WORK, [5, 7], 2, console, clock), console


def rendered(view: LiveView) -> list[list[str]]:
    """The view's lines, split into words."""
    console = Console(file=StringIO(), width=100, record=True)
    console.print(view.get_renderable())
    return [line.split() for line in console.export_text().splitlines()]


def test_rows_show_what_each_training_last_reported(clock):
    view, _ = make_view(clock)
    view.begin("train@lstm")
    clock.now = 15
    view.begin("train@gru")
    view.line("train@lstm", "Running stage 'train@lstm':")
    view.line("train@lstm", "seed 5  epoch  3/4  loss 0.6112  val_loss 0.6301  val_accuracy 0.7250")
    view.line("train@lstm", "seed 5  12.1 s, 80,000 tokens/s")
    clock.now = 75
    assert rendered(view) == [
        ["train@lstm", "seed", "5", "epoch", "3/4", "loss", "0.6112", "valid", "accuracy", "0.7250", "1:15"],
        ["train@gru", "1:00"],
        # A unit of work takes 75 s / (8 * 3 / 8) = 25 s; 5 of lstm, 4, 2 and 1 are left for two jobs.
        ["0", "done,", "2", "running,", "2", "waiting,", "about", "2:30", "left"],
    ]


def test_a_search_shows_how_far_it_is_what_runs_and_what_was_cut(clock):
    view, _ = make_view(clock)
    view.begin("train@lstm")  # a stage of this cost
    clock.now = 50
    news = "trial 7: 0.5100 after epoch 3, lowest 0.4400 (trial 2), 12 cut, running: 8, 9"
    view.line("train@lstm", f"40/80 epochs  {news}")
    assert rendered(view) == [
        ["train@lstm", *news.split(), "0:50"],
        # Half of 8 units took 50 s; 4 of it and 7 of the others are left for two jobs.
        ["0", "done,", "1", "running,", "3", "waiting,", "about", "1:08", "left"],
    ]


def test_a_narrow_terminal_shows_names_first(clock):
    console = Console(file=StringIO(), width=40)
    view = LiveView(WORK, [5, 7], 2, console, clock)
    view.begin("train@lstm")
    view.line("train@lstm", "seed 5  epoch  3/4  loss 0.6112  val_loss 0.6301  val_accuracy 0.7250")
    console.print(view.get_renderable())
    assert console.file.getvalue().splitlines()[0].split() == ["train@lstm", "epoch", "3/4", "0:00"]


def test_nothing_is_foretold_before_anything_was_measured(clock):
    view, _ = make_view(clock)
    view.begin("train@lstm")
    clock.now = 30
    assert rendered(view)[-1] == ["0", "done,", "1", "running,", "3", "waiting"]


def test_a_stage_that_trains_nothing_does_not_set_the_pace(clock):
    console = Console(file=StringIO(), width=100, record=True)
    view = LiveView({"member@vote+gru": 0, "train@gru": 4, "train@mean": 2}, [5, 7], 1, console, clock)
    view.begin("member@vote+gru")
    clock.now = 6
    view.end("member@vote+gru")
    view.begin("train@gru")
    clock.now = 10
    view.end("train@gru")
    assert console.export_text().splitlines() == [
        "[1/3] member@vote+gru done in 6 s",
        "[2/3] train@gru done in 4 s, about 2 s left",
    ]


def test_the_longest_training_bounds_the_time_left(clock):
    view, console = make_view(clock)
    view.begin("train@lstm")
    view.begin("train@gru")
    clock.now = 20
    view.line("train@lstm", "seed 5  epoch  2/4  loss 0.5  val_loss 0.5  val_accuracy 0.8")
    view.end("train@gru")
    # 2 of lstm's 8 units and gru's 4 took 40 s. Its other 6 take longer than half of all 9 that are left.
    assert console.export_text() == "[1/4] train@gru done in 20 s, about 40 s left\n"


def test_failures_are_counted_and_kept_with_their_reason(clock):
    view, console = make_view(clock)
    for stage in WORK:
        view.begin(stage)
    clock.now = 10
    view.end("train@mean", "error: no memory")
    view.end("train@gru", warnings=["warning: MLflow is [unreachable]"])
    assert view.failed == {"train@mean": "error: no memory"}
    assert rendered(view)[-1][:6] == ["1", "done,", "2", "running,", "1", "failed,"]
    lines = console.export_text().splitlines()
    assert lines[0].startswith("[1/4] train@mean failed in 10 s, about ")
    assert lines[1].startswith("[2/4] train@gru done in 10 s, about ")
    assert lines[2] == "    warning: MLflow is [unreachable]"


def test_a_diverged_loss_is_shown(clock):
    view, _ = make_view(clock)
    view.begin("train@lstm")
    view.line("train@lstm", "seed 7  epoch 12/12  loss nan  val_loss nan  val_accuracy 0.5000")
    assert rendered(view)[0] == [
        "train@lstm",
        *["seed", "7", "epoch", "12/12", "loss", "nan", "valid", "accuracy", "0.5000", "0:00"],
    ]


@pytest.mark.parametrize("is_terminal", [True, False])
def test_rows_are_drawn_on_a_terminal_only(clock, is_terminal):
    view, console = make_view(clock, force_terminal=is_terminal)
    with view:
        view.begin("train@lstm")
        clock.now = 3
        view.end("train@lstm")
    text = console.file.getvalue()
    assert "[1/4] train@lstm done in 3 s, about " in text
    assert ("3 waiting" in text) == is_terminal
    assert text.count("\n") == 1 or is_terminal


def test_a_seed_that_the_study_has_not_is_passed_over(clock):
    """`params.yaml` may be edited while trainings run."""
    view, _ = make_view(clock)
    view.begin("train@lstm")
    view.line("train@lstm", "seed 9  epoch  3/4  loss 0.6112  val_loss 0.6301  val_accuracy 0.7250")
    assert rendered(view)[0] == ["train@lstm", "0:00"]
