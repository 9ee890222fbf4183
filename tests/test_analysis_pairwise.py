"""`textrnn compare`: any two runs, also of another git revision, tested as the report tests them."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import yaml
from fake_runs import make_run
from tiny_project import PARAMS, TinyProject

from textrnn.analysis.comparisons import comparisons
from textrnn.analysis.examples import groups
from textrnn.analysis.pairwise import compare
from textrnn.analysis.significance import contrast
from textrnn.config.params import load_params
from textrnn.errors import TextrnnError
from textrnn.project import git
from textrnn.report.compared import notes, text
from textrnn.run_folder import RunFolder, prediction_rows

TEXTS = 60
IDS = [f"text-{row}" for row in range(TEXTS)]
LABELS = np.arange(TEXTS) % 2
FILMS = [f"film {row % 12}" for row in range(TEXTS)]


def make_project(folder: Path, films: Sequence[str | None] = FILMS, **changes: object) -> Path:
    """A study and the test split of its corpus, without runs."""
    params = {**yaml.safe_load(PARAMS), **changes}
    (folder / "data" / "corpus").mkdir(parents=True)
    (folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False), encoding="utf-8")
    corpus = pl.DataFrame({"id": IDS, "group": films}, schema={"id": pl.String, "group": pl.String})
    corpus.write_parquet(folder / "data" / "corpus" / "test.parquet")
    return folder


def drawn(share: float, start: int, seeds: int = 3) -> np.ndarray:
    """bool [seeds, texts]: right about so large a share."""
    return np.random.default_rng(start).random((seeds, TEXTS)) < share


def add_run(
    project: Path,
    name: str,
    correct: np.ndarray,
    *,
    folder: str = "runs",
    seeds: Sequence[int] | None = None,
    ids: Sequence[str] = IDS,
    labels: np.ndarray = LABELS,
    **settings: object,
) -> RunFolder:
    """A run whose finished seeds are right where the rows of `correct` (bool [seeds, texts]) say so."""
    seeds = range(len(correct)) if seeds is None else seeds
    path = make_run(project / folder, name, seeds=seeds, **settings).path
    run = RunFolder.load(path)
    frames = []
    for seed, right in zip(run.finished_seeds, correct, strict=True):
        sure = np.where(right == (labels == 1), 0.9, 0.1)
        frames.append(prediction_rows(seed, "test", ids, labels, np.stack([1 - sure, sure], axis=1)))
    pl.concat([run.predictions.clear(), *frames]).write_parquet(path / "predictions.parquet")
    return RunFolder.load(path)


def test_it_is_the_test_of_the_report(tmp_path: Path) -> None:
    """Baseline and pair have there the same difference, interval and p value; Holm's correction apart."""
    project = make_project(tmp_path, comparisons={"level": 0.05, "against": ["nb-svm"], "pairs": [["lstm", "gru"]]})
    runs = [
        add_run(project, "lstm", drawn(0.6, 1)),
        add_run(project, "gru", drawn(0.75, 2)),
        add_run(project, "nb-svm", drawn(0.8, 3, seeds=1), kind="baseline"),
    ]
    reported = comparisons(runs, load_params(project / "params.yaml"), None, partial(groups, project / "data/corpus"))
    named = {(row.first, row.second): row for row in reported.itertuples()}
    for pair in (("lstm", "gru"), ("nb-svm", "gru"), ("nb-svm", "lstm")):
        row, found = named[pair], compare(project, *pair)
        estimate = found.difference
        assert (estimate.value, *estimate.interval(), estimate.p_value) == pytest.approx(
            (row.difference, row.low, row.high, row.p_value), abs=1e-6
        )
        assert found.seeds == (0, 1, 2)


def test_the_answer_as_text(tmp_path: Path) -> None:
    """30 of 60 texts against 42 and 48: numbers that can be reckoned, in films of five texts."""
    project = make_project(tmp_path)
    first, second = np.zeros((2, 2, TEXTS), bool)
    first[:, :30], second[0, :42], second[1, :48] = True, True, True
    add_run(project, "lstm", first)
    add_run(project, "gru", second)
    low, high = contrast([first, second], [-1, 1], FILMS).interval()
    lines = text(compare(project, "lstm", "gru")).splitlines()
    assert lines[0].startswith("lstm  50.0 ± 0.0 % test accuracy (95 % interval ")
    assert lines[1].startswith("gru   75.0 ± 7.1 % test accuracy (95 % interval ")
    assert lines[3].startswith(f"gru minus lstm: +25.0 points (95 % interval {100 * low:+.1f} to ".replace("-", "−"))
    assert f"to {100 * high:+.1f}), p = 0." in lines[3]
    assert lines[5] == "Over 2 seeds and 60 texts in 12 groups that were drawn whole, such as films."
    assert len(lines) == 6


def test_films_that_were_drawn_whole_make_the_interval_wider(tmp_path: Path) -> None:
    """Films wholly right or wrong are worth one text each."""
    alone, together = make_project(tmp_path / "alone", [None] * TEXTS), make_project(tmp_path / "together")
    right = np.array([[row % 12 < 8 for row in range(TEXTS)]] * 2)
    for project in (alone, together):
        add_run(project, "lstm", right)
        add_run(project, "gru", ~right)
    widths = [np.diff(compare(project, "lstm", "gru").difference.interval()) for project in (alone, together)]
    assert widths[1] > 2 * widths[0]
    assert "60 texts." in text(compare(alone, "lstm", "gru"))


@pytest.mark.parametrize(
    ("shares", "level", "verdict", "sentence"),
    [
        ((0.5, 0.9), 0.05, "better", "gru is better than lstm, beyond chance (level 0.05; one comparison, so p is not"),
        ((0.9, 0.5), 0.05, "worse", "gru is worse than lstm, beyond chance (level 0.05;"),
        ((0.7, 0.7), 0.05, "unclear", "lstm and gru cannot be told apart (level 0.05;"),
        ((0.5, 0.9), 1e-12, "unclear", "lstm and gru cannot be told apart (level 1e-12;"),
    ],
)
def test_the_verdict_is_at_the_studys_level(
    tmp_path: Path, shares: tuple[float, float], level: float, verdict: str, sentence: str
) -> None:
    project = make_project(tmp_path, comparisons={"level": level, "against": [], "pairs": []})
    for name, share, start in zip(("lstm", "gru"), shares, (1, 2), strict=True):
        add_run(project, name, drawn(share, start))
    found = compare(project, "lstm", "gru")
    assert found.verdict == verdict
    assert f"\n{sentence}" in text(found)


def test_two_baselines_differ_by_texts_alone(tmp_path: Path) -> None:
    project = make_project(tmp_path)
    add_run(project, "majority", drawn(0.5, 1, seeds=1), kind="baseline")
    add_run(project, "nb-svm", drawn(0.8, 2, seeds=1), kind="baseline")
    found = compare(project, "majority", "nb-svm")
    assert len(found.difference.parts) == 1
    assert "Over 60 texts in 12 groups" in text(found)
    assert "seed" not in text(found)
    assert "±" not in text(found)


def test_only_seeds_that_both_finished_are_compared(tmp_path: Path) -> None:
    """Seeds are paired by their number, in whatever order a run has them."""
    project = make_project(tmp_path)
    lstm, gru = drawn(0.6, 1, seeds=3), drawn(0.7, 2, seeds=3)
    add_run(project, "lstm", lstm, seeds=[0, 1, 2, 3], failures={"2": "loss is NaN"})
    add_run(project, "gru", gru, seeds=[4, 3, 0])
    found = compare(project, "lstm", "gru")
    assert found.seeds == (0, 3)
    expected = contrast([lstm[[0, 2]], gru[[2, 1]]], [-1, 1], FILMS)
    assert found.difference.value == pytest.approx(expected.value)
    assert found.difference.p_value == pytest.approx(expected.p_value)
    assert notes(found) == [
        "lstm failed with seed 2: loss is NaN.",
        "Left out: 3 of 5 seeds (1, 2, 4), not finished by both.",
    ]


def test_a_failed_seed_is_reported_also_against_a_baseline(tmp_path: Path) -> None:
    project = make_project(tmp_path)
    add_run(project, "nb-svm", drawn(0.7, 1, seeds=1), kind="baseline")
    add_run(project, "lstm", drawn(0.6, 2, seeds=2), seeds=[0, 1, 2], failures={"0": "loss is NaN"})
    found = compare(project, "nb-svm", "lstm")
    assert found.seeds == (1, 2)
    assert notes(found)[1] == "Left out: 1 of 3 seeds (0), not finished by both."


def test_one_seed_is_about_the_trained_models(tmp_path: Path) -> None:
    project = make_project(tmp_path)
    add_run(project, "lstm", drawn(0.6, 1, seeds=1))
    add_run(project, "gru", drawn(0.6, 2, seeds=2))
    found = compare(project, "lstm", "gru")
    assert notes(found)[0] == "Left out: 1 of 2 seeds (1), not finished by both."
    assert notes(found)[1].startswith("With one seed this is about these trained models only")
    assert "Over 1 seed and 60 texts" in text(found)


def test_a_single_film_gives_no_interval(tmp_path: Path) -> None:
    project = make_project(tmp_path, ["the only film"] * TEXTS)
    add_run(project, "lstm", drawn(0.1, 1))
    add_run(project, "gru", drawn(0.9, 2))
    found = compare(project, "lstm", "gru")
    assert found.verdict == "unclear"
    assert "points; a single group of texts does not show how far chance reaches." in text(found)
    assert "nan" not in text(found)


def test_unknown_runs_are_refused(tmp_path: Path) -> None:
    project = make_project(tmp_path)
    with pytest.raises(TextrnnError, match=r"runs/nosuch: no such run. Known: none; run `dvc repro`"):
        compare(project, "nosuch", "gru")
    add_run(project, "lstm", drawn(0.6, 1))
    add_run(project, "nb-svm", drawn(0.6, 2, seeds=1), kind="baseline")
    with pytest.raises(TextrnnError, match=r"runs/nosuch: no such run. Known: lstm, nb-svm\.$"):
        compare(project, "lstm", "nosuch")
    with pytest.raises(TextrnnError, match=r"runs.gru holds no finished run .* Run `dvc repro`"):
        compare(project, "lstm", "gru")
    for second in (None, "lstm"):
        with pytest.raises(TextrnnError, match=r"^lstm can only be compared with another run, .* --rev\.$"):
            compare(project, "lstm", second)


def test_other_texts_labels_or_classes_cannot_be_compared(tmp_path: Path) -> None:
    project = make_project(tmp_path)
    right = drawn(0.6, 1)
    add_run(project, "lstm", right)
    add_run(project, "classes", right, classes=["neg", "pos"])
    add_run(project, "texts", right[:, :50], ids=[*IDS[:40], *(f"new-{row}" for row in range(10))], labels=LABELS[:50])
    add_run(project, "labels", right, labels=1 - LABELS)
    for name, what in {
        "classes": "the classes of one are rotten, fresh, of the other neg, pos",
        "texts": "one predicted 60 texts, the other 50; they share 40",
        "labels": "some of their texts have different labels",
    }.items():
        expected = rf"^lstm and {name} .* cannot be compared on 'test': {what}.* `dvc repro`"
        with pytest.raises(TextrnnError, match=expected):
            compare(project, "lstm", name)


def test_runs_without_a_common_or_finished_seed_cannot_be_compared(tmp_path: Path) -> None:
    project = make_project(tmp_path)
    add_run(project, "lstm", drawn(0.6, 1, seeds=2), seeds=[0, 1])
    add_run(project, "gru", drawn(0.6, 2, seeds=2), seeds=[2, 3])
    add_run(project, "failed", drawn(0.6, 3, seeds=0), seeds=[0], failures={"0": "loss is NaN"})
    with pytest.raises(TextrnnError, match=r"no seed was finished by both: lstm has 0, 1 and gru has 2, 3\."):
        compare(project, "lstm", "gru")
    with pytest.raises(TextrnnError, match=r"^failed has no finished seed to compare: seed 0: loss is NaN\."):
        compare(project, "lstm", "failed")


def test_predictions_that_are_not_numbers_are_refused(tmp_path: Path) -> None:
    project = make_project(tmp_path)
    add_run(project, "lstm", drawn(0.6, 1, seeds=1))
    path = add_run(project, "gru", drawn(0.6, 2, seeds=1)).path / "predictions.parquet"
    nothing = np.full((TEXTS, 2), np.nan)
    for broken, what in (
        (prediction_rows(0, "test", IDS, LABELS, nothing), "predictions that are not finite numbers"),
        (pl.read_parquet(path).clear(), "no predictions"),
    ):
        broken.write_parquet(path)
        with pytest.raises(TextrnnError, match=rf"^gru has {what} for seed 0 on 'test'; .* `dvc repro`"):
            compare(project, "lstm", "gru")


DVC_YAML = """\
stages:
  train:
    foreach: [lstm, gru, mean]
    do:
      cmd: mkdir -p runs && cp -r made/${item} runs/
      deps: ["made/${item}"]
      outs: ["runs/${item}"]
"""

EARLIER, LATER = drawn(0.5, 1), drawn(0.9, 2)


@pytest.fixture(scope="module")
def versions(tmp_path_factory: pytest.TempPathFactory) -> TinyProject:
    """A git and DVC repository with `lstm` in two tagged revisions, and an `empty` one before; `mean` has never run."""
    base = tmp_path_factory.mktemp("versions")
    project = TinyProject(make_project(base / "project"), base / "home")
    project.home.mkdir()
    (project.folder / "dvc.yaml").write_text(DVC_YAML, encoding="utf-8")
    (project.folder / ".gitignore").write_text("/runs/\n/remote/\n", encoding="utf-8")
    project.run("git", "init", "--quiet", "--initial-branch=main")
    project.commit()
    project.run("git", "tag", "empty")
    project.dvc("init", "--quiet")
    for tag, runs in {"earlier": {"lstm": EARLIER, "gru": LATER}, "later": {"lstm": LATER}}.items():
        for name, correct in runs.items():
            shutil.rmtree(project.folder / "made" / name, ignore_errors=True)
            add_run(project.folder, name, correct, folder="made")
        project.dvc("repro", "--quiet", *(f"train@{name}" for name in runs))
        project.commit()
        project.run("git", "tag", tag)
    return project


@pytest.fixture
def repository(versions: TinyProject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TinyProject:
    """A copy to change, in the environment of which DVC also works within this process."""
    copy = versions.copy(tmp_path / "project")
    for name, value in copy.environment().items():
        monkeypatch.setenv(name, value)
    return copy


def everything(folder: Path) -> dict[str, bytes]:
    """What the working tree and DVC's cache hold."""
    files = {file.relative_to(folder).as_posix(): file for file in folder.rglob("*") if file.is_file()}
    return {name: file.read_bytes() for name, file in files.items() if not name.startswith((".git/", ".dvc/tmp/"))}


def test_did_my_change_help(repository: TinyProject) -> None:
    """The working tree against an earlier revision: nothing else is printed, nothing is changed."""
    before = everything(repository.folder)
    shown = repository.textrnn("compare", "lstm", "--rev", "earlier").text
    found = compare(repository.folder, "lstm", rev="earlier")
    assert shown == f"{text(found)}\n"
    assert found.difference == contrast([LATER, EARLIER], [-1, 1], FILMS)
    assert shown.startswith("lstm here        ")
    assert "\nlstm at earlier is worse than lstm here, beyond chance (level 0.05;" in shown
    assert everything(repository.folder) == before
    assert repository.git_status() == ""


def test_in_a_subfolder_of_a_larger_repository(
    repository: TinyProject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    top = tmp_path / "larger one"
    top.mkdir()
    folder = repository.folder.rename(top / "a project")
    shutil.rmtree(folder / ".git")
    git.text(top, "init", "--quiet")
    git.text(top, "add", ".")
    git.text(top, "-c", "user.name=t", "-c", "user.email=t@example.com", "commit", "--quiet", "--message", "all")
    monkeypatch.chdir(folder)
    assert "Both predict exactly the same." in notes(compare(Path(), "lstm", None, "HEAD"))


def test_another_run_of_another_revision(repository: TinyProject) -> None:
    shutil.rmtree(repository.folder / "runs" / "gru")
    found = compare(repository.folder, "lstm", "gru", "earlier")
    assert (found.first.label, found.second.label) == ("lstm here", "gru at earlier")
    assert notes(found) == ["Both predict exactly the same."]
    assert found.difference.p_value == 1
    assert compare(repository.folder, "lstm", rev="HEAD~1").difference.value < 0


@pytest.mark.parametrize(
    ("name", "rev", "message"),
    [
        ("lstm", "nosuch", r"^--rev 'nosuch': git knows no such revision here. Name a branch, a tag or a commit"),
        ("lstm", "", r"^--rev '': git knows no such revision"),
        ("lstm", "empty", r"^runs/lstm at empty: that revision has no such finished run. It has none."),
        ("mean", "earlier", r"^runs/mean at earlier: that revision has no such finished run. It has: gru, lstm\.$"),
        ("nosuch", "later", r"^runs/nosuch at later: that revision has no such finished run. It has: gru, lstm\.$"),
    ],
)
def test_what_a_revision_lacks_is_reported(repository: TinyProject, name: str, rev: str, message: str) -> None:
    with pytest.raises(TextrnnError, match=message):
        compare(repository.folder, "lstm", name, rev)


def test_a_revision_that_dvc_cannot_read_is_reported(repository: TinyProject) -> None:
    repository.append("dvc.yaml", "  broken: [\n")
    repository.commit()
    with pytest.raises(TextrnnError, match=r"^--rev HEAD: DVC cannot read the project at this revision: .*dvc.yaml"):
        compare(repository.folder, "lstm", rev="HEAD")
    shutil.rmtree(repository.folder / ".git")
    with pytest.raises(TextrnnError, match=r"not a git repository.*`git init`"):
        compare(repository.folder, "lstm", rev="HEAD")


def push_everything(repository: TinyProject) -> None:
    """Makes `elsewhere` the default remote, and gives it every version of `lstm`."""
    remote = str(repository.folder / "remote")
    repository.dvc("remote", "add", "--quiet", "--local", "--default", "elsewhere", remote)
    repository.dvc("push", "--quiet", "--all-commits", "runs/lstm")


def test_what_is_not_in_the_cache_comes_from_the_default_remote(repository: TinyProject) -> None:
    push_everything(repository)
    shutil.rmtree(repository.folder / ".dvc" / "cache")
    before = everything(repository.folder)
    shown = repository.textrnn("compare", "lstm", "--rev", "earlier").text
    assert shown.startswith("lstm here ")
    assert "Over 3 seeds" in shown
    assert everything(repository.folder) == before


def test_a_missing_run_comes_back_as_the_error_says(repository: TinyProject) -> None:
    """Both of its ways are gone: another remote, and computing it again."""
    push_everything(repository)
    repository.dvc("remote", "default", "--local", "--unset")
    expected = contrast([LATER, EARLIER], [-1, 1], FILMS)
    for way in (
        [("dvc", "fetch", "--all-commits", "--remote", "elsewhere", "runs/lstm")],
        [
            ("git", "checkout", "earlier"),
            ("dvc", "repro", "train@lstm", "train@gru"),
            ("git", "checkout", "-"),
            ("dvc", "checkout", "runs/lstm"),
        ],
    ):
        repository.dvc("gc", "--quiet", "--workspace", "--force")
        with pytest.raises(TextrnnError, match=r"^runs/lstm at earlier is not in DVC's cache") as raised:
            compare(repository.folder, "lstm", rev="earlier")
        for command in way:
            words = " ".join(command[:3]).removesuffix(" train@lstm").removesuffix(" runs/lstm")
            assert words in str(raised.value)
            repository.run(*command)
        assert compare(repository.folder, "lstm", rev="earlier").difference == expected
        assert repository.git_status() == ""


def test_a_run_that_was_written_differently_is_reported(repository: TinyProject) -> None:
    run = repository.folder / "made" / "lstm" / "run.json"
    run.write_text('{"name": "lstm", "status": "finished", "colour": "blue"}', encoding="utf-8")
    repository.dvc("repro", "--quiet", "train@lstm")
    repository.commit()
    repository.run("git", "tag", "other")
    shutil.rmtree(repository.folder / "runs" / "lstm")
    add_run(repository.folder, "lstm", LATER)
    with pytest.raises(TextrnnError, match=r"^runs/lstm at other was written by code that wrote runs differently"):
        compare(repository.folder, "lstm", rev="other")
