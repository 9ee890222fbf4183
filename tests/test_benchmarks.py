"""Every benchmark runs, on miniature data: the figures mean nothing here, what is compared does."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from tiny_project import PROJECT, TinyProject


def bench(*arguments: str | Path) -> str:
    """What `python -m benchmarks` prints, in the project's own folder."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", *arguments], cwd=PROJECT, capture_output=True, text=True, timeout=1800
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    return done.stderr


def rows(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "benchmarks.json").read_text(encoding="utf-8"))


def only(*names: str) -> list[str]:
    return [part for name in names for part in ("--only", name)]


@pytest.mark.long
@pytest.mark.skipif(find_spec("tokenizers") is None, reason="needs the extra `bench`")
def test_all_tokenizers_read_the_same_texts(tmp_path):
    bench("--quick", "--reports", tmp_path, *only("encode"))
    found = rows(tmp_path)["encode"]
    assert [claim["wanted"] for claim in found["claims"]] == ["≥ 6x", "≥ 1.3x"]
    ours, theirs, keras = (
        int(part.split()[-1].replace(",", "")) for part in (found["notes"].split(f" {by}")[0] for by in ENCODERS)
    )
    assert ours == theirs
    assert 0 < keras < ours


ENCODERS = ("here,", "by `tokenizers`", "by `TextVectorization`")


@pytest.mark.long
def test_keras_finds_the_same_tokens_batch_by_batch_and_mapped(tmp_path):
    from benchmarks.data import _made_up_reviews
    from benchmarks.measure import in_process
    from benchmarks.textbook import text_vectorization

    reviews = tmp_path / "reviews.parquet"
    _made_up_reviews().write_parquet(reviews)
    called, mapped = (in_process(text_vectorization, reviews, 1000, way)["tokens"] for way in (False, True))
    assert called == mapped > 0


def test_vectors_become_the_same_matrix(tmp_path):
    bench("--quick", "--reports", tmp_path, *only("embed"))
    notes = rows(tmp_path)["embed"]["notes"]
    assert "of which 200 have a vector" in notes  # the texts' words are numbered up to 199, the vectors' up to 299
    assert "matrices are equal" in notes


def test_trained_vectors_are_those_of_gensim_on_few_texts(tmp_path):
    bench("--quick", "--reports", tmp_path, *only("word2vec"))
    time, worth = rows(tmp_path)["word2vec"]["claims"]
    assert time["wanted"] == "≥ 2.67x"
    assert worth["ours"] == worth["theirs"] > 50


def test_vectors_are_not_unpacked_into_the_archives_folder(tmp_path):
    from benchmarks.data import MEMBER, _made_up_vectors
    from benchmarks.textbook import line_loop

    for folder in ("data", "scratch"):
        (tmp_path / folder).mkdir()
    archive, vocabulary = tmp_path / "data" / "glove.zip", tmp_path / "vocabulary.txt"
    _made_up_vectors(archive)
    vocabulary.write_text("word1\nword299\nword300\n", encoding="utf-8")
    assert line_loop(archive, MEMBER, vocabulary, tmp_path / "scratch")["hits"] == 2
    assert list(archive.parent.iterdir()) == [archive]


@pytest.mark.long
def test_trainings_and_prediction_are_compared(tmp_path):
    names = ["epoch", "nine", "order", "loop", "arithmetic", "predict"]
    assert "oneDNN" not in bench("--quick", "--reports", tmp_path, *only(*names))
    found = rows(tmp_path)
    assert list(found) == names
    for row in found.values():
        for claim in row["claims"]:
            assert claim["ours"] > 0 and claim["theirs"] > 0
    for name, at, wanted in (("epoch", 2, ["≥ 3x"] * 2), ("nine", 1, ["≥ 5x"]), ("order", 0, [])):
        claims = found[name]["claims"]
        assert [claim["wanted"] for claim in claims[: at + 1]] == [*wanted, "all of it above -0.5 points"]
        value, low = (float(claims[at]["shown"].split()[part].strip("(")) for part in (0, 2))
        assert value == pytest.approx(claims[at]["ours"] - claims[at]["theirs"], abs=0.01)
        assert claims[at]["reached"] == (low > -0.5)
    claim = found["predict"]["claims"][0]
    assert claim["shown"] == f"{claim['theirs'] / claim['ours']:.2f}x"
    assert claim["reached"] == (claim["theirs"] >= 3 * claim["ours"])


@pytest.mark.long
def test_a_served_model_is_compared_and_watched(tmp_path):
    bench("--quick", "--reports", tmp_path, *only("serving", "soak"))
    found = rows(tmp_path)
    claims = found["serving"]["claims"]
    assert [claim["wanted"] for claim in claims] == ["≥ 5x"] * 6
    for claim in claims:
        assert claim["shown"] == f"{claim['ours'] / claim['theirs']:.2f}x"
    assert (
        len(re.findall(r"64 clients, 256 texts: \S+ and \S+ here, \S+ and \S+ there", found["serving"]["notes"])) == 1
    )
    (flat,) = found["soak"]["claims"]
    assert flat["reached"] == (flat["ours"] - flat["theirs"] <= 8)
    assert all(
        int(number) > 0 for number in re.search(r"refused: (\d+), (\d+) and (\d+)", found["soak"]["notes"]).groups()
    )


def test_equal_accuracy_is_claimed_on_evidence_alone():
    from benchmarks.training import _accuracy

    draw = np.random.default_rng(0)
    many = draw.random((3, 25_000)) < 0.87
    few = many[:, :100]
    assert _accuracy("", [many], [many]).reached
    assert _accuracy("", [many], [draw.random(many.shape) < 0.85]).reached
    worse = _accuracy("", [many], [many | (draw.random(many.shape) < 0.2)])
    assert worse.shown.startswith("-2.") and not worse.reached
    unclear = _accuracy("", [few], [np.roll(few, 1, axis=1)])
    assert unclear.ours == unclear.theirs and not unclear.reached
    half = _accuracy("", [many, many], [many, many | (draw.random(many.shape) < 0.2)])
    assert half.shown.startswith("-1.") and half.shown.split()[0] == f"{half.ours - half.theirs:+.2f}"


def test_what_the_trainings_are_compared_with_is_in_place(monkeypatch):
    from benchmarks import training as benchmark
    from textrnn.modeling import batches, recurrence, training_texts

    monkeypatch.setattr(recurrence, "on_cpu_tensorflow", True)  # restored after the test
    for module in (training_texts, batches):
        monkeypatch.setattr(module, "length_buckets", batches.length_buckets)
    layer, ours = recurrence.GRU(2, return_sequences=True), []
    monkeypatch.setattr(layer, "outputs", lambda inputs, *_: ours.append(True) or (inputs, []))
    benchmark._with_keras_loops(layer, np.zeros((1, 3, 2), np.float32))
    assert not ours
    recurrence.on_cpu_tensorflow = True
    layer(np.zeros((1, 3, 2), np.float32))
    assert ours
    lengths = np.array([9, 1, 9, 1])
    for module in (training_texts, batches):
        first, second = benchmark._with_any_batches(lambda place: place.length_buckets(lengths, 2), module)
        assert lengths[first].tolist() == lengths[second].tolist() == [9, 1]


@pytest.mark.long
def test_a_growing_corpus_is_encoded_and_trained_on(tmp_path):
    bench("--quick", "--reports", tmp_path, *only("scale"))
    found = rows(tmp_path)["scale"]
    assert [claim["wanted"] for claim in found["claims"]] == ["≤ 1.25x", "≤ 1.25x", "< 2x"] * 2
    sizes = [claim["compared_with"].split(":")[0] for claim in found["claims"]]
    assert sizes == ["1x", "4x", "1x"] * 2
    assert "240 / 960 / 3,840 reviews" in found["notes"]
    once, _, most = (float(part) for part in found["notes"].split(" million tokens")[0].split(": ")[-1].split(" / "))
    assert most / once == pytest.approx((16 + 2) / (1 + 2), rel=0.01)  # the train split grows, the other two do not


@pytest.mark.long
def test_the_pipeline_is_compared_in_a_project_that_is_up_to_date(project: TinyProject, tmp_path):
    """With few stages: what a stage does is no part of it."""

    def few(params):
        params["experiments"] = {"lstm": params["experiments"]["lstm"]}
        params["baselines"] = {"majority": {"kind": "majority"}}
        params["comparisons"]["against"] = ["majority"]
        params["probes"] = []
        del params["embeddings"]["glove"]

    project.edit("params.yaml", few)
    project.textrnn("repro")  # it prunes
    project.commit()
    names = ["study", "nothing", "start"]
    command = [sys.executable, "-m", "benchmarks", "--quick", "--reports", str(tmp_path / "reports"), *only(*names)]
    before = project.lock()
    assert "nothing skipped: needs make" in project.run(*command[:-6], *only("nothing")).text
    (project.folder / ".venv").mkdir()
    (project.folder / ".venv" / ".ready").touch()
    assert "skipped" not in project.run(*command).text
    found = rows(tmp_path / "reports")
    assert list(found) == names
    make, dvc = found["nothing"]["claims"]
    assert all(f"`dvc repro` of {len(before)} stages" in claim["compared_with"] for claim in (make, dvc))
    assert make["wanted"] == "≤ 3 s"
    each = re.findall(r"`(\w+)` (\d+\.\d+) s", found["start"]["notes"])
    seconds = [float(seconds) for name, seconds in each if name == "prepare_corpus"]
    assert len(each) == 7 and seconds[0] < seconds[1]  # scikit-learn comes on top
    assert project.lock() == before
    assert project.git_status() == ""


def test_what_is_missing_is_skipped_and_reported(tmp_path):
    printed = bench("--data", tmp_path, "--reports", tmp_path / "reports", *only("predict", "embed"))
    assert "predict skipped: needs aclImdb_v1.tar.gz or aclImdb_v1.tar.xz" in printed
    assert "embed skipped: needs glove.6B.zip or glove.6B.100d.zip" in printed
    assert not (tmp_path / "reports").exists()


def test_only_what_ran_is_replaced(tmp_path):
    from benchmarks.measure import Claim, Result, at_most, faster
    from benchmarks.report import row, update

    first = row("old", Result([faster("the other", 2.0, 9.0, 4)], "as it was."))
    update(tmp_path, {"a": first, "b": first, "gone": first}, ["a", "b", "gone"])
    second = row(
        "new", Result([at_most("nothing", 3.0, 2.0, 1.25), Claim("x", 1, 2, "s", "?", "?", True)], "as it is.")
    )
    page = update(tmp_path, {"b": second}, ["b", "a"]).read_text(encoding="utf-8")
    assert list(rows(tmp_path)) == ["b", "a"]
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in page.splitlines() if line.startswith("|")]
    assert ["old", "the other", "2 s", "9 s", "4.50x", "≥ 4x", ""] in lines
    assert ["new", "nothing", "3 s", "2 s", "1.50x", "≤ 1.25x", "not reached"] in lines
    assert page.count("**Machine:**") == 1
    assert "commit" not in page
    page = update(tmp_path, {"a": {**first, "commit": "0123456 and changes"}}, ["b", "a"]).read_text(encoding="utf-8")
    assert f"**new** (`b`, commit {second['commit']}). as it is." in page
    assert "**old** (`a`, commit 0123456 and changes). as it was." in page


def test_a_row_knows_its_commit(project: TinyProject, monkeypatch):
    from benchmarks.report import commit

    monkeypatch.chdir(project.folder)
    head = project.run("git", "rev-parse", "HEAD").text.strip()
    assert commit() == head[:7]
    project.append("reports/tiny/report.md", "a page that a benchmark has written\n")
    assert commit() == head[:7]
    project.append("params.yaml", "# changed\n")
    assert commit() == f"{head[:7]} and changes"


def test_contenders_take_turns():
    from benchmarks.measure import alternate, best

    order = []

    def contender(name):
        return lambda repeat: order.append((name, repeat)) or {"seconds": 3.0 - repeat}

    measured = alternate({name: contender(name) for name in "ab"}, 2, lambda what: None)
    assert order == [("a", 0), ("b", 0), ("b", 1), ("a", 1)]
    assert best(measured["a"]) == 2.0


def test_a_name_that_is_no_benchmark_is_refused():
    command = [sys.executable, "-m", "benchmarks", "--only", "everything"]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True)
    assert done.returncode == 2
    assert "everything" in done.stderr and "arithmetic" in done.stderr


def test_intervals_hold_the_truth_about_as_often_as_they_say():
    """Few repeats, so wide bounds; `reports/intervals.md` has many."""
    from benchmarks.intervals import FILMS, WAYS, missed

    misses = dict(zip([*WAYS, "McNemar"], missed(FILMS, [3, 3], [0.015, 0.015], 300, ""), strict=True))
    assert misses["used here"] < 0.09
    assert misses["McNemar"] > 0.15 and misses["texts alone"] > 0.1
    assert missed(FILMS, [3], [0.0], 300, "")[0] < 0.09


def test_a_copy_with_empty_runs_has_its_plan_all_downloads_and_nothing_else(
    project: TinyProject, tmp_path, monkeypatch
):
    from benchmarks.pipeline import empty_runs

    monkeypatch.chdir(project.folder)
    with empty_runs(tmp_path / "copy"):
        copy = TinyProject(tmp_path / "copy", project.home)
        due = json.loads(copy.dvc("status", "--json").text)
        assert sorted(due) == sorted(name for name in project.lock() if not name.startswith(("plan", "download_")))
        assert not (copy.folder / "runs").exists()
    assert not copy.folder.exists()


def test_a_stage_of_the_copy_logs_its_times(tmp_path):
    """Two at once, and one that fails."""
    from benchmarks.profile import instrument

    shutil.copytree(PROJECT / "src" / "textrnn", tmp_path / "src" / "textrnn")
    log = tmp_path / "log.jsonl"
    instrument(tmp_path / "src" / "textrnn" / "stage.py", log)
    (tmp_path / "train.py").write_text(
        "import sys, time\n"
        "from textrnn.errors import TextrnnError\n"
        "from textrnn.stage import run_stage\n"
        "time.sleep(0.3)\n"
        "def main(name: str) -> None:\n"
        "    time.sleep(0.2)\n"
        "    if name == 'mean':\n"
        "        raise TextrnnError(name)\n"
        "run_stage(main)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "src")}
    before = time.time()
    stages = [
        subprocess.Popen([sys.executable, "train.py", name], cwd=tmp_path, env=environment, stderr=subprocess.DEVNULL)
        for name in ("lstm", "gru", "mean")
    ]
    assert [stage.wait(timeout=60) for stage in stages] == [0, 0, 1]
    after = time.time()
    lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    assert sorted(line["arguments"] for line in lines) == [["gru"], ["lstm"], ["mean"]]
    for line in lines:
        assert line["stage"] == "train"
        # A process' beginning is known to a tick of the system's clock.
        assert before - 0.1 < line["began"] < line["called"] - 0.3
        assert line["called"] + 0.2 < line["ended"] < after
        assert 0 < line["cpu"] < 60


def test_a_profile_reads_what_stages_noted(tmp_path):
    from benchmarks.profile import Stage, read

    (tmp_path / "timings").mkdir()
    seeds = {"0": {"seconds": 2.5}, "1": {"seconds": 1.5}}
    (tmp_path / "timings" / "lstm.json").write_text(json.dumps({"seeds": seeds}))
    noted = [
        ("plan", ["plan"], 100.5, 101, 101.5, 1),
        ("compare", ["plan/compare.json", "runs"], 120, 121, 125, 3.5),
        ("train", ["plan/train@lstm.json", "timings/lstm.json"], 101, 104, 110, 9),
    ]
    keys = ("stage", "arguments", "began", "called", "ended", "cpu")
    log = tmp_path / "log.jsonl"
    log.write_text("".join(json.dumps(dict(zip(keys, line, strict=True))) + "\n" for line in noted))
    assert read(log, tmp_path, 100) == [
        Stage("plan", "", 0.5, 1, 1.5, 1, 0),
        Stage("train", "lstm", 1, 4, 10, 9, 4.0),
        Stage("compare", "", 20, 21, 25, 3.5, 0),
    ]


def profiled() -> list[Any]:
    """Two lanes: `b`'s probe follows it while lane 1 is busy, `d` comes next there, and all wait for `compare`."""
    from benchmarks.profile import Stage, lay_out

    runs = [
        ("encode_corpus", "", 5, 6, 10),
        ("build_embeddings", "glove", 11, 12, 20),
        ("train", "a", 24, 27, 60),
        ("train", "b", 25, 28, 58),
        ("probe", "b", 61, 63, 64),
        ("baseline", "c", 62, 62.5, 62.6),
        ("train", "a-name-that-is-much-too-long-for-its-bar", 64.5, 67, 69),
        ("compare", "", 72, 74, 80),
    ]
    return lay_out([Stage(*run, cpu=1.0, fitting=2.0 if run[0] == "train" else 0.0) for run in runs])


def test_bars_of_a_profile_go_on_in_the_lane_of_their_predecessor():
    found = [(stage.name or stage.kind, stage.lane, stage.gap) for stage in profiled()]
    assert found == [
        ("encode_corpus", 0, 5),
        ("glove", 0, 1),
        ("a", 0, 4),
        ("b", 1, 5),
        ("b", 1, 3),
        ("c", 0, 2),
        ("a-name-that-is-much-too-long-for-its-bar", 0, pytest.approx(1.9)),
        ("compare", 0, 3),
    ]


def test_a_profile_sums_by_kind_and_loses_no_second():
    from benchmarks.profile import AFTER, totals

    found = totals(profiled(), 90)
    kinds = ["encode_corpus", "build_embeddings", "baseline", "train", "probe", "compare", AFTER]
    assert list(found.index) == kinds
    assert list(found.columns) == ["runs", "gaps", "imports", "work", "fitting", "cpu"]
    assert found.loc["train"].tolist() == pytest.approx([3, 10.9, 3 + 3 + 2.5, 33 + 30 + 2, 6, 3])
    assert found.loc[AFTER].tolist() == [0, 10, 0, 0, 0, 0]
    # Lane 1 is full from the start to the end, lane 2 from the end of the embeddings to that of the probe.
    assert found[["gaps", "imports", "work"]].to_numpy().sum() == pytest.approx(90 + 64 - 20)


@pytest.mark.parametrize("seconds", [90, 9000])
def test_a_profile_draws_labels_where_there_is_room(tmp_path, seconds):
    from benchmarks.profile import draw
    from textrnn.report.plots import sheet

    with sheet.drawing():
        figure = draw("tiny", 2, profiled(), seconds)
        figure.draw_without_rendering()
        for name in ("first", "second"):
            sheet.save(tmp_path, name, draw("tiny", 2, profiled(), seconds))
    drawn = [text for axes in figure.axes for text in axes.texts]
    labels = {text.get_text() for text in drawn}
    assert ({"a", "compare"} & labels) == ({"a", "compare"} if seconds == 90 else set())
    assert not any("much-too-long" in label for label in labels)
    places = [text.get_window_extent() for text in [*drawn, *figure.texts]]
    assert not any(one.overlaps(other) for index, one in enumerate(places) for other in places[:index])
    assert all(place.x0 >= 0 and place.x1 <= figure.bbox.width for place in places)
    first, second = ((tmp_path / f"{name}.svg").read_text(encoding="utf-8") for name in ("first", "second"))
    assert first.replace(">first<", ">second<") == second


def test_a_profile_has_a_colour_for_every_stage():
    from benchmarks.profile import COLOURS

    stages = yaml.safe_load((PROJECT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    assert list(COLOURS) == list(stages)
    assert len(set(COLOURS.values())) == len(stages)
