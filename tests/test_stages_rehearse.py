"""The stage `rehearse`: what the report cannot draw or write of a corpus is found before anything trains."""

from __future__ import annotations

import json
import runpy
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from tiny_experiments import write_study

from textrnn.config.sections import Encode
from textrnn.corpus.quality import quality_report
from textrnn.corpus.tables import Corpus
from textrnn.errors import TextrnnError
from textrnn.report import run_report, study
from textrnn.report.plots import draw
from textrnn.text.encoding import encode_corpus

STAGE = Path(__file__).parents[1] / "stages" / "rehearse.py"
FOLDERS = (Path("plan/rehearse.json"), Path("corpus"), Path("tokens"), Path("rehearsal"))
CLASSES = ("$5 to $10", "$20 up", "a|b")
EXPERIMENTS: dict[str, dict[str, Any]] = {
    "like-the-probed-one": {"units": 3},
    "frozen": {"trainable_embedding": False},
    "probed": {},
    "gru": {"cell": "gru", "held_out": 0.2},
}
BASELINES = {
    "majority": {"kind": "majority"},
    "nb-svm": {"kind": "nb_svm", "ngrams": 1, "min_count": 1, "inverse_regularization": 1.0},
}
ENSEMBLES = {"vote": {"of": ["probed", "frozen", "nb-svm"], "weights": "fitted"}, "weaker": {"of": ["probed"]}}

SEARCHES = {
    "tuned-gru": {
        "start": "gru",
        "space": {
            "units": {"low": 2, "high": 64, "log": True},
            "early_stopping": {"low": 1, "high": 20, "optional": True},
            "embedding": {"choices": ["tiny"]},
        },
        "rungs": 1,
    },
    "unheard": {"start": "probed", "space": {"dropout": {"low": 0.0, "high": 0.5}}, "rungs": 1},
}


MODELS = {"lm": {"embedding": "tiny"}}


@pytest.fixture
def main(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """The stage in a project that has a corpus and tokens, and nothing that was trained."""
    monkeypatch.chdir(tmp_path)
    added = {"baselines": BASELINES, "searches": SEARCHES, "ensembles": ENSEMBLES, "pretraining": MODELS}
    write_study(tmp_path, EXPERIMENTS, ["probed"], **added, explanations={"frozen": {}, "nb-svm": {}, "unheard": {}})
    rows = 40 * len(CLASSES)
    frames = {
        split: pl.DataFrame(
            {
                "id": [f"{split}-{row}" for row in range(rows)],
                "text": [f"{split} <i>{row}</i> $x$ and ${row % len(CLASSES)}" for row in range(rows)],
                "label": [CLASSES[row % len(CLASSES)] for row in range(rows)],
                "group": [f"{split} `{row % 5}`" for row in range(rows)],
            }
        )
        for split in ("train", "valid", "test")
    }
    corpus = Corpus("reviews", CLASSES, frames)
    for folder in FOLDERS[1:3]:
        folder.mkdir()
    corpus.save(Path("corpus"), quality_report(corpus, {}, {}, {}))
    encoder, report = encode_corpus(Path("corpus"), Encode(vocabulary_size=500, min_count=1), Path("tokens"))
    encoder.save(Path("tokens"))
    Path("tokens/report.json").write_text(json.dumps(report))
    stage: Callable[..., None] = runpy.run_path(str(STAGE))["main"]
    return stage


def test_draws_and_writes_what_the_study_and_mlflow_will_get_on_the_corpus_own_names(
    main: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    for module, name in ((study, "report"), (run_report, "mlflow")):
        write = module.write
        monkeypatch.setattr(
            module, "write", lambda folder, *rest, w=write, n=name: (w(folder, *rest), shutil.copytree(folder, n))
        )

    main(*FOLDERS)

    report = {file.name for file in Path("report").iterdir()}
    assert {
        f"{name}.svg" for name in ("leaderboard", "effects", "learning_curves", "confusion", "reliability")
    } < report
    assert {"memory.svg", "slices.svg", "words.svg", "index.html", "report.md", "protocol.csv", "hardest.csv"} < report
    for picture in ("report/confusion.svg", "report/words.svg", "mlflow/confusion.svg"):
        assert "<!-- $5 to $10 -->" in Path(picture).read_text()
    assert "$20 up" in Path("mlflow/mistakes.csv").read_text()
    # Of the experiments one for each thing that there is to report, the probed one first.
    chosen = {"probed", "frozen", "gru", "tuned-gru"}
    assert {file.stem for file in Path("report/metrics").iterdir()} == {*chosen, *BASELINES, "vote"}
    assert Path("report/ensembles.csv").read_text().count("vote,fitted,") == 3
    explained = Path("report/mistakes.csv").read_text()
    assert "frozen,0," in explained and "nb-svm,0," in explained
    assert "deletion.svg" in report
    assert {"searches.svg", "search_tuned-gru.svg", "search_trials.csv"} < report
    assert "`tuned-gru` tried 6 settings (5 finished, 1 diverged)" in Path("report/report.md").read_text()
    assert not Path("runs").exists()
    assert capfd.readouterr().err == ""


def test_says_the_same_whatever_the_study(main: Callable[..., None], tmp_path: Path) -> None:
    main(*FOLDERS)
    before = {file.name: file.read_bytes() for file in Path("rehearsal").iterdir()}
    write_study(tmp_path, {"other": {"cell": "gru"}}, ["other"], study="other", seeds=[7])

    main(*FOLDERS)

    assert {file.name: file.read_bytes() for file in Path("rehearsal").iterdir()} == before
    assert list(before) == ["rehearsed.txt"]


@pytest.mark.parametrize("error", [TextrnnError("class names are too odd."), ValueError("a formula")])
def test_what_cannot_be_drawn_is_reported_and_nothing_was_trained(
    main: Callable[..., None], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], error: Exception
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(draw, "study", fail)
    with pytest.raises(type(error)) as raised:
        main(*FOLDERS)

    if isinstance(error, TextrnnError):
        assert str(raised.value) == (
            "the report cannot be made for this corpus: class names are too odd. Nothing was trained."
        )
    else:
        assert raised.value is error
        assert capfd.readouterr().err.startswith("The report cannot be made for this corpus, and nothing was trained.")
    assert not Path("rehearsal").exists()


def test_experiments_that_differ_in_the_number_of_texts_are_rehearsed_together(
    main: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = study.write
    monkeypatch.setattr(study, "write", lambda folder, *rest: (write(folder, *rest), shutil.copytree(folder, "report")))
    lines = {
        f"{cell}-{size}": {"cell": cell, "train_examples": size}
        for cell in ("lstm", "gru", "simple_rnn")
        for size in (30, 60, 999)
    }
    write_study(tmp_path, lines, [])

    main(*FOLDERS)

    assert Path("report/data_size.svg").is_file()
    table = pl.read_csv("report/data_size.csv")
    assert table["line"].unique(maintain_order=True).to_list() == ["gru, tiny learned", "lstm, tiny learned"]
    assert table["texts"].to_list() == [30, 60, 120] * 2  # all that the split has
    assert {"simple_rnn-30"} < {file.stem for file in Path("report/metrics").iterdir()}


def test_a_study_without_baselines_and_probes(main: Callable[..., None], tmp_path: Path) -> None:
    write_study(tmp_path, {"lstm": {}, "gru": {"cell": "gru"}}, [])
    main(*FOLDERS)
    assert Path("rehearsal/rehearsed.txt").is_file()
