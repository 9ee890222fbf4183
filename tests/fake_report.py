"""A report of the default study's size with made-up numbers, drawn as a real one is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from fake_runs import alone, make_run, make_study
from fake_searches import make_search

from textrnn.analysis import leaderboard, run_tables
from textrnn.analysis.comparisons import COLUMNS
from textrnn.analysis.data_size import TABLES
from textrnn.analysis.ensembles import COLUMNS as ENSEMBLE_COLUMNS
from textrnn.analysis.explanations import DELETION_COLUMNS, MISTAKE_COLUMNS
from textrnn.analysis.language_models import COLUMNS as LANGUAGE_MODELS
from textrnn.analysis.protocol import OPTIMISM, PROTOCOL_COLUMNS, PUBLISHED_COLUMNS
from textrnn.analysis.searches import searches
from textrnn.report.sections import EVIDENCE, Report
from textrnn.report.summary import summary

SEARCHES = {"lstm-glove-tuned": 40, "gru-glove-tuned": 20}
"""Trials of each search; its winner is the run of that name."""

PICTURES = (
    "leaderboard",
    "searches",
    *(f"search_{name}" for name in SEARCHES),
    "effects",
    "data_size",
    "learning_curves",
    "memory",
    "slices",
    "deletion",
    "reliability",
    "confusion",
    "words",
)

QUALITY = """\
# Data quality: reviews

*Texts by split*

| split   |   texts |
|:--------|--------:|
| train   |   8,124 |

## Shared between splits

*Texts that two splits share*

| splits          |   equal texts |
|:----------------|--------------:|
| train and valid |             0 |
"""

COMPARISONS = [
    ("baseline", "nb-svm", "bigru-combined", 1, 0.024, 0.004, 0.044, 0.021, 0.31, "unclear"),
    ("declared", "lstm", "gru", 1, -0.003, -0.02, 0.014, 0.7, 1.0, "unclear"),
    ("cell", "simple_rnn", "lstm", 3, 0.026, 0.011, 0.041, 0.0002, 0.004, "better"),
    ("readout", "max", "mean", 1, -0.014, -0.022, -0.006, 0.002, 0.032, "worse"),
    ("l2", "0.0", "0.0001", 1, -0.003, -0.021, 0.015, 0.77, 1.0, "unclear"),
    ("best", "bigru-combined", "lstm", 1, -0.06, -0.08, -0.04, 0.00004, 0.0008, "worse"),
]


def make_report(folder: Path, hostile: str = "moving") -> Report:
    """The report of 26 experiments and 2 baselines, whose runs are in `folder`; `hostile` is what strangers wrote."""
    runs = make_study(folder / "runs", valid=400, test=500)
    runs.append(make_run(folder / "runs", "two-seeds", failures={"0": "loss became NaN in epoch 1"}))
    study = run_tables.build(runs)
    comparisons = pd.DataFrame(COMPARISONS, columns=COLUMNS)
    board = leaderboard.judge(leaderboard.build(runs, study["scores"], alone), comparisons)
    study["learning_curves"] = pd.concat([study["learning_curves"], _two_seeds()], ignore_index=True)
    study |= {
        "comparisons": comparisons,
        "memory": _memory(),
        "slices": _slices(hostile),
        "hardest": pd.DataFrame(
            [(hostile, hostile, hostile, 75, 75), ("7", "fresh", "not a bad film at all " * 8, 74, 75)],
            columns=["id", "label", "text", "wrong", "of"],
        ),
        "deletion": _deletion(),
        "mistakes": _mistakes(hostile),
        "calibration": pd.DataFrame(
            [("bigru-combined", 0.0504, 1.31, 0.021, 0.52, 0.498), ("nb-svm", 0.04, 0.9, 0.02, 0.5, 0.49)],
            columns=["experiment", "ece", "temperature", "ece_scaled", "log_loss", "log_loss_scaled"],
        ),
        "words": _words(hostile),
        "ensembles": pd.DataFrame(
            [("both", "fitted", "bigru-combined", 3, 0.75), ("both", "fitted", "nb-svm", 1, 0.25)],
            columns=ENSEMBLE_COLUMNS,
        ),
        "published": pd.DataFrame(
            [
                ("lstm", "best_epoch", 0.893, 0.881, 0.875, 0.887, "lower", "A Book, 6.2", "", ""),
                ("gru", "test", 0.86, 0.861, 0.85, 0.87, "alike", "A Book, 6.3", "unlabelled texts", "test"),
            ],
            columns=PUBLISHED_COLUMNS,
        ),
        "protocol": pd.DataFrame([("lstm", "left", 0.881, 0.875, 0.87, 0.862)], columns=PROTOCOL_COLUMNS),
        "optimism": pd.DataFrame(
            [(what, 0.012, -0.004, 0.028) for what in OPTIMISM], columns=["what", "difference", "low", "high"]
        ),
        **_data_size(),
        "language_models": pd.DataFrame(
            [
                (
                    *("lm", "next_word", "lstm", 256, 1, "forward", "glove", 8124, 170_000, 4),
                    4.9,
                    151.23,
                    7.24,
                    9,
                    3e6,
                    2e12,
                )
            ],
            columns=LANGUAGE_MODELS,
        ),
        "neighbours": pd.DataFrame(
            [
                ("glove", hostile, hostile),
                ("glove", "dull", "boring, bland, tedious, uninteresting, lifeless, drab"),
                ("bigru-combined after training", "dull", "bland, tedious, boring, mess"),
            ],
            columns=["embedding", "word", "nearest"],
        ),
        "analogies": pd.DataFrame(
            [
                ("glove", "king - man + woman", "queen", "queen, throne, princess", True),
                ("glove", "good - bad + happy", "sad", hostile, False),
                ("glove", "he - his + she", "her", None, None),
            ],
            columns=["embedding", "question", "expected", "answers", "right"],
        ).astype({"right": "boolean"}),
        **searches(
            [make_search(folder / "searches", name, trials) for name, trials in SEARCHES.items()], study["scores"]
        ),
    }
    return Report("fake", "reviews", summary(board), board, study, QUALITY)


def empty_report(folder: Path) -> Report:
    """A study whose only experiment failed in its first step: every table is there and empty."""
    run = make_run(folder / "runs", "lstm", failures={"0": "loss became NaN in epoch 1"})
    study = run_tables.build([run])
    board = leaderboard.build([run], study["scores"], alone).assign(against_nb_svm="", against_best="")
    columns = {
        "comparisons": COLUMNS,
        "memory": ["experiment", "cell", "distance", "texts", "norm", "low", "high"],
        "slices": ["experiment", "by", "group", "order", "texts", "accuracy", "low", "high"],
        "hardest": ["id", "label", "text", "wrong", "of"],
        "deletion": DELETION_COLUMNS,
        "mistakes": MISTAKE_COLUMNS,
        "calibration": ["experiment", "ece", "temperature", "ece_scaled", "log_loss", "log_loss_scaled"],
        "words": ["experiment", "word", "klass", "x_before", "y_before", "x_after", "y_after"],
        "ensembles": ENSEMBLE_COLUMNS,
        "neighbours": ["embedding", "word", "nearest"],
        "analogies": ["embedding", "question", "expected", "answers", "right"],
        "published": PUBLISHED_COLUMNS,
        "language_models": LANGUAGE_MODELS,
        "protocol": PROTOCOL_COLUMNS,
        "optimism": ["what", "difference", "low", "high"],
        **TABLES,
    }
    more = {name: pd.DataFrame(columns=names) for name, names in columns.items()}
    quality = "# Data quality: reviews\n\nNo row was left out.\n"
    return Report(
        "empty", "reviews", summary(board), board, {**study, **more, **searches([], study["scores"])}, quality
    )


def _two_seeds() -> pd.DataFrame:
    """Seeds that stop after 2 and 3 epochs, and are best in epochs 2 and 1."""
    rows = [(0, 1, 0.7, 0.60), (0, 2, 0.9, 0.50), (1, 1, 0.7, 0.60), (1, 2, 0.8, 0.65), (1, 3, 0.9, 0.70)]
    return pd.DataFrame(
        [
            {
                "experiment": "two-seeds",
                "seed": seed,
                "epoch": epoch,
                "loss": 0.5,
                "accuracy": accuracy,
                "val_loss": loss,
                "val_accuracy": 0.71,
                "learning_rate": 0.001,
                "gradient_norm": 1.0,
            }
            for seed, epoch, accuracy, loss in rows
        ]
    )


def _memory() -> pd.DataFrame:
    rows = [
        (name, cell, distance, 40, norm := fade**distance, 0.9 * norm if distance else 1.0, 1.1 * norm)
        for name, cell, fade in (("simple-rnn", "simple_rnn", 0.6), ("bigru-combined", "gru", 0.5))
        for distance in range(5)
    ]
    return pd.DataFrame(rows, columns=["experiment", "cell", "distance", "texts", "norm", "low", "high"])


def _deletion() -> pd.DataFrame:
    """Of two runs; the words that the second one's attributions name are no better than random ones."""
    rows = [
        (name, model, share, 40, *_near(0.9 - fast * share), *_near(0.9 - share / 3), *_near((fast - 1 / 3) * share))
        for name, model, fast in (("bigru-combined", "gru", 0.7), ("nb-svm", "nb_svm", 1 / 3))
        for share in (tenths / 10 for tenths in range(11))
    ]
    return pd.DataFrame(rows, columns=DELETION_COLUMNS)


def _near(value: float) -> tuple[float, float, float]:
    return value, value - 0.05, value + 0.05


def _mistakes(hostile: str) -> pd.DataFrame:
    """Two texts; of the second, one word is unknown and one not read."""
    texts = [
        ("bigru-combined", 0, "7", "fresh", "rotten", 0.987, 4.3, 0.2, 0.001, [(hostile, "x", False, True, 4.1)]),
        (
            *("nb-svm", 0, hostile, hostile, "fresh", 0.9, 2.2, 0.2, 0.0),
            [
                ("Not", "not", False, False, 0.5),
                (hostile, "bad", True, True, -1.0),
                ("film", "film", True, True, 2.5),
                ("later", "later", True, True, None),
            ],
        ),
    ]
    return pd.DataFrame([(*text, *word) for *text, words in texts for word in words], columns=MISTAKE_COLUMNS)


def _slices(group: str) -> pd.DataFrame:
    groups = [("tokens", ["1-10", "11-20", "21+"]), ("negation", ["without", group]), (EVIDENCE, ["0-4", "5-9", "10+"])]
    rows = [
        (name, by, label, order, 120 + order, place := accuracy - fall * order, place - 0.05, place + 0.05)
        for by, labels in groups
        for accuracy, fall, name in ((0.70, 0.02, "lstm"), (0.71, 0.01, "bigru-combined"), (0.72, -0.003, "nb-svm"))
        for order, label in enumerate(labels)
    ]
    table = pd.DataFrame(rows, columns=["experiment", "by", "group", "order", "texts", "accuracy", "low", "high"])
    # Too few texts for an interval.
    few = (table["by"].eq("tokens") & table["order"].eq(0)) | (table["by"].eq(EVIDENCE) & table["order"].eq(2))
    return table.assign(low=table["low"].mask(few), high=table["high"].mask(few))


def _data_size() -> dict[str, pd.DataFrame]:
    """Of two lines, one follows a law, and they have not met."""
    lines = {"glove frozen": ("frozen", (0.61, 0.68, 0.72)), "random learned": ("learned", (0.55, 0.56, 0.69))}
    sizes = (100, 1000, 8000)
    law = (0.2, 0.9, 0.3, 100, 8000, -0.005, -0.009, -0.001, 0.731, 0.71, 0.75, 0.011, 0.004, 0.02, None)
    rows = {
        "data_size": [
            (line, use, f"{use}-{size}", size, each, each - 0.02, each + 0.02)
            for line, (use, accuracies) in lines.items()
            for size, each in zip(sizes, accuracies, strict=True)
        ],
        "data_size_gaps": [(*lines, size, -0.05, -0.08, -0.02) for size in sizes],
        "data_size_meetings": [("random learned", "glove frozen", 100, 8000, np.inf, 4123.4, np.inf)],
        "data_size_laws": [
            ("glove frozen", "frozen", *law),
            ("random learned", "learned", *[None] * 4, 8000, *[None] * 9, "accuracy does not rise"),
        ],
    }
    return {name: pd.DataFrame(rows[name], columns=columns) for name, columns in TABLES.items()}


def _words(first: str) -> pd.DataFrame:
    words = {"fresh": [first, "engrossing", "powerful"], "rotten": ["dull", "bland", "tedious"]}
    rows = [
        ("bigru-combined", word, label, side * place, place - 1.0, side * (place + 2), 1.0 - place)
        for side, (label, own) in zip((1.0, -1.0), words.items(), strict=True)
        for place, word in enumerate(own, start=1)
    ]
    return pd.DataFrame(rows, columns=["experiment", "word", "klass", "x_before", "y_before", "x_after", "y_after"])
