"""The stage `compare`, run in the project's top folder."""

from __future__ import annotations

import json
import runpy
import shutil
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
import pytest
import yaml
from fake_runs import make_run, tiny_predictions
from fake_searches import SPACE, make_search
from test_analysis_gradients import write_probe
from tiny_experiments import PLAIN, write_plan, write_study

from textrnn.config.params import load_params
from textrnn.embeddings.matrix import Embedding
from textrnn.report import study
from textrnn.text.encoder import TextEncoder
from textrnn.text.vocabulary import RESERVED, Vocabulary

STAGE = Path(__file__).resolve().parents[1] / "stages" / "compare.py"


class Ended(NamedTuple):
    """Exit status of the stage, and what it printed."""

    status: int
    stdout: str
    stderr: str


QUALITY = {
    "corpus": "reviews",
    "classes": ["rotten", "fresh"],
    "rows": {"train": {"all": 3, "per_class": {"rotten": 2, "fresh": 1}}},
    "skipped": {},
    "dropped_because_text_in_later_split": {},
    "drawn": {},
    "duplicate_texts": {"within": {"train": 0}, "across": {}},
    "groups": {"count": {"train": 0}, "across": {}},
    "words_per_text": {"train": {"min": 1, "mean": 2.5, "p50": 2, "p90": 4, "p99": 4, "max": 4}},
}
TOKENS = {"vocabulary": 12, "distinct_words_in_train": 10, "splits": {}}
COVERAGE = {
    "source": "random",
    "dimension": 4,
    "file_words": 0,
    "vocabulary": {"covered": 0, "total": 10, "share": 0.0},
    "running_words": {"covered": 0, "total": 30, "share": 0.0},
    "most_frequent_uncovered": {"the": 5},
}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    reports = {
        "data/corpus/quality.json": QUALITY,
        "data/tokens/report.json": TOKENS,
        "data/embeddings/random-4d/coverage.json": COVERAGE,
    }
    for name, content in reports.items():
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text(json.dumps(content))
    write_study(
        tmp_path,
        {"lstm": {}, "gru": {"cell": "gru"}},
        ["lstm"],
        seeds=[0],
        embeddings={"random-4d": {"source": "random", "dimension": 4}},
        baselines={"nb-svm": {"kind": "nb_svm", "ngrams": 2, "min_count": 1, "inverse_regularization": 1.0}},
        comparisons={"level": 0.05, "against": ["nb-svm"], "pairs": []},
        train={**PLAIN, "embedding": "random-4d"},
    )
    write_tokens(tmp_path / "data")
    make_run(tmp_path / "runs", "lstm", epochs=2)
    make_run(tmp_path / "runs", "gru", failures={"0": "loss became NaN in epoch 1"}, epochs=1)
    make_run(tmp_path / "runs", "nb-svm", kind="baseline", predictions=tiny_predictions(2))
    return tmp_path


def write_tokens(data: Path) -> None:
    """Two training texts, and the examples of `tiny_predictions`: what the report looks words up in."""
    vocabulary = Vocabulary((*RESERVED, "good", "bad", "film"))
    TextEncoder(vocabulary, ("rotten", "fresh")).save(data / "tokens")
    ids = {"train": [[2, 4], [3, 4]], "valid": [[2, 4], [3], [1, 2], [4, 4, 3]]}
    for split, rows in ids.items():
        names = [f"{split}-{row}" for row in range(len(rows))]
        labels = [row % 2 for row in range(len(rows))]
        tokens = pl.DataFrame({"id": names, "ids": rows, "label": labels}, schema_overrides={"ids": pl.List(pl.Int32)})
        tokens.write_parquet(data / "tokens" / f"{split}.parquet")
    texts = [" ".join(vocabulary.words[word] for word in row) for row in ids["valid"]]
    pl.DataFrame({"id": names, "text": texts, "group": None}).write_parquet(data / "corpus" / "valid.parquet")
    tested = tiny_predictions()["test"][0]
    pl.DataFrame({"id": tested, "group": ["film"] * 2 + [None] * (len(tested) - 2)}).write_parquet(
        data / "corpus" / "test.parquet"
    )
    nothing = Embedding.build(vocabulary, np.empty((0, 4), np.float32), np.empty(0, np.int64))
    nothing.save(data / "embeddings" / "random-4d", {**COVERAGE, "spread": 0.05})
    write_probe(data.parent / "runs", "lstm", {0: [[1.0, 0.5], [0.5, 0.5]]})


@pytest.fixture
def compare(project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[[], Ended]:
    """Runs the stage."""
    monkeypatch.chdir(project)
    monkeypatch.setenv("COLUMNS", "80")
    data = [f"data/{name}" for name in ("corpus", "tokens", "embeddings")]
    folders = ["plan/compare.json", "runs", *data]

    def run() -> Ended:
        monkeypatch.setattr(sys, "argv", [str(STAGE), *folders, "reports/tiny"])
        with warnings.catch_warnings(action="ignore"), pytest.raises(SystemExit) as end:  # as in a process of its own
            runpy.run_path(str(STAGE), run_name="__main__")
        printed = capsys.readouterr()
        return Ended(int(end.value.code or 0), printed.out, printed.err)

    return run


def _files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_writes_the_report_shows_the_leaderboard_and_repeats_its_bytes(
    project: Path, compare: Callable[[], Ended]
) -> None:
    # What the study does not declare is not its business.
    make_run(project / "runs", "left-over", predictions=tiny_predictions(4))

    done = compare()

    assert (done.status, done.stderr) == (
        0,
        "warning: the study does not declare runs/left-over, and `textrnn repro` removes it\n",
    )
    assert "lstm ranks first of 1 experiment: 75.0 % accuracy on validation" in " ".join(done.stdout.split())
    assert "gru failed and has no rank (seed 0: loss became NaN in epoch 1)" in " ".join(done.stdout.split())
    files = _files(project / "reports" / "tiny")
    tables = [
        *("leaderboard", "scores", "learning_curves", "confusion", "reliability", "comparisons", "calibration"),
        *("memory", "slices", "hardest"),
    ]
    pictures = ["leaderboard", "learning_curves", "confusion", "reliability", "memory"]
    assert sorted(files) == sorted(
        [f"{name}.csv" for name in tables]
        + [f"{name}.svg" for name in pictures]
        + ["index.html", "report.md", "data_quality.md", "metrics/lstm.json", "metrics/nb-svm.json"]
    )
    assert json.loads(files["metrics/lstm.json"])["valid_accuracy"] == 0.75
    assert not any(b"left-over" in content for content in files.values())

    compare()

    assert _files(project / "reports" / "tiny") == files


def test_letters_that_no_font_has_are_reported_once(project: Path, compare: Callable[[], Ended]) -> None:
    for name, more in {"lstm": {"epochs": 2}, "gru": {}, "nb-svm": {"kind": "baseline"}}.items():
        shutil.rmtree(project / "runs" / name)
        make_run(project / "runs", name, classes=["\U00012000", "fresh"], **more)

    done = compare()

    assert done.status == 0
    (line,) = done.stderr.splitlines()
    assert line.startswith(
        "warning: pictures show boxes for Cuneiform letters such as \U00012000: no font here has them. "
    )


def test_the_report_reads_nothing_that_its_plan_leaves_out(project: Path, compare: Callable[[], Ended]) -> None:
    assert compare().status == 0
    params = load_params()
    planned = json.loads(Path("plan/compare.json").read_text())["settings"]["params"]
    left_out = {"prepare", "encode", "train", "promotion", "data_check"}
    assert not left_out & planned.keys()
    data = [Path("data", name) for name in ("corpus", "tokens", "embeddings")]
    blank = params.model_copy(update=dict.fromkeys(left_out))
    Path("again").mkdir()
    study.write(Path("again"), blank, study.Folders(Path("runs"), *data), ())
    assert _files(project / "again") == _files(project / "reports" / "tiny")


def test_a_search_has_its_winner_on_the_leaderboard_and_its_own_tables_and_pictures(
    project: Path, compare: Callable[[], Ended]
) -> None:
    params = yaml.safe_load((project / "params.yaml").read_text())
    space = {**SPACE, "embedding": {"choices": ["random-4d"]}}
    params["searches"] = {"tuned": {"start": "lstm", "space": {"units": {"low": 2, "high": 256}}, "rungs": 1}}
    (project / "params.yaml").write_text(yaml.safe_dump(params))
    write_plan(project)
    folder = project / "runs" / "search@tuned"
    make_search(folder.parent, "search@tuned", trials=20, space=space)
    declared = load_params(project / "params.yaml")
    content = json.loads((folder / "search.json").read_text())
    content |= {"name": "tuned", "space": params["searches"]["tuned"]["space"]}
    content["settings"] = declared.searches["tuned"].model_dump(exclude={"space"})
    (folder / "search.json").write_text(json.dumps(content))
    assert "lacks 1 of the 4 runs that params.yaml declares: tuned" in compare().stderr  # found by another start
    (folder / "winner.json").write_text(json.dumps(declared.experiments["lstm"].model_dump() | {"units": 16}))
    assert "lacks 1 of the 4 runs that params.yaml declares: tuned. Run `dvc repro`" in compare().stderr
    make_run(project / "runs", "tuned", epochs=2, seeds=[0, 1])

    assert compare().status == 0

    files = _files(project / "reports" / "tiny")
    names = ("searches", "search_trials", "search_values", "search_best", "search_knobs")
    assert {*(f"{name}.csv" for name in names), "searches.svg", "search_tuned.svg", "metrics/tuned.json"} < files.keys()
    assert b"`tuned` tried 19 settings (" in files["report.md"]
    assert files["search_trials.csv"].count(b"\ntuned,") == 20


def test_a_missing_run_is_named_and_nothing_is_written(project: Path, compare: Callable[[], Ended]) -> None:
    shutil.rmtree(project / "runs" / "gru")
    shutil.rmtree(project / "runs" / "nb-svm")

    done = compare()

    assert done.status == 1
    assert "runs lacks 2 of the 3 runs that params.yaml declares: gru, nb-svm. Run `dvc repro`" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (project / "reports").exists()


def test_incomparable_runs_leave_the_old_report_alone(project: Path, compare: Callable[[], Ended]) -> None:
    report = project / "reports" / "tiny"
    report.mkdir(parents=True)
    (report / "report.md").write_text("of yesterday")
    shutil.rmtree(project / "runs" / "gru")
    make_run(project / "runs", "gru", classes=["fresh", "rotten"])

    done = compare()

    assert done.status == 1
    assert "runs/gru and runs/lstm (seed 0) cannot be compared" in done.stderr
    assert _files(report) == {"report.md": b"of yesterday"}
    assert [path.name for path in (project / "reports").iterdir()] == ["tiny"]
