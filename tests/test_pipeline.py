"""The whole pipeline on a tiny corpus, with real DVC: what a change reruns, and what it must not."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from functools import partial

import pytest
from tiny_project import LIVE, STAGES, sha256


def set_experiment(name, **values):
    return lambda params: params["experiments"][name].update(values)


def changed(project):
    """Names of the stages that `dvc status` calls changed."""
    return sorted(json.loads(project.dvc("status", "--json").text))


def names_in(project, folder):
    return {path.name for path in (project.folder / folder).iterdir()}


def test_everything_ran_once(finished):
    assert sorted(finished.lock()) == STAGES
    assert finished.git_status() == ""
    assert names_in(finished, "runs") == {"majority", "nb-svm", "lstm", "gru", "mean", "probe@lstm"}
    board = finished.read("reports/tiny/leaderboard.csv").splitlines()
    assert len(board) == 1 + 5
    assert board[1].startswith("1,mean,experiment,feedforward,glove,2,")


def test_repro_again_runs_no_stage(project):
    again = project.dvc("repro")
    assert again.stages == []
    assert again.text.count("didn't change, skipping") == len(STAGES)
    assert project.git_status() == ""


def test_an_edited_experiment_that_is_killed_leaves_nothing_finished_and_is_repeated(project):
    project.edit("params.yaml", set_experiment("mean", learning_rate=0.02))
    assert changed(project) == ["plan"]
    assert project.dvc("params", "diff").text.splitlines()[-1].split()[-3:] == [
        "experiments.mean.learning_rate",
        "-",
        "0.02",
    ]
    assert project.dvc("repro", "plan").stages == ["plan"]
    assert changed(project) == ["compare", "train@mean"]

    before = project.lock()
    killed = start_dvc(project, "repro", "train@mean")
    deadline = time.monotonic() + 300
    while not list((project.folder / "runs").glob(".mean.*/mean/model/0/*")):  # the second seed is next
        assert killed.poll() is None, killed.stdout.read()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    kill(killed)
    assert not (project.folder / "runs/mean").exists()
    assert project.lock() == before

    assert project.dvc("repro").stages == ["compare", "train@mean"]
    assert changed(project) == []
    assert names_in(project, "runs") == {"majority", "nb-svm", "lstm", "gru", "mean", "probe@lstm"}
    assert "mean.json" in project.dvc("metrics", "diff").text


def test_the_reports_code_and_name_retrain_nothing(project):
    project.append("src/textrnn/report/plots/sheet.py", "ANOTHER = 1\n")
    assert project.dvc("repro", "plan").stages == ["plan"]
    assert changed(project) == ["compare", "rehearse"]

    project.run("git", "checkout", "--quiet", ".")
    before = project.report()
    project.edit("params.yaml", lambda params: params.update(study="second"))
    assert project.dvc("repro").stages == ["compare", "plan"]
    after = project.report()
    assert {name: content for name, content in after.items() if name in before} == before
    assert len(after) == 2 * len(before)
    assert after["reports/second/leaderboard.csv"] == before["reports/tiny/leaderboard.csv"]
    assert [out["path"] for out in project.lock()["compare"]["outs"]] == ["reports/second"]
    assert changed(project) == []


def test_a_comment_and_a_default_that_nobody_uses_rerun_nothing(project):
    before = project.lock()
    project.append("src/textrnn/modeling/training.py", "# a thought\n")
    assert project.dvc("repro").stages == ["plan"]

    def its_own(params):
        for experiment in params["experiments"].values():
            experiment.setdefault("epochs", 2)
        params["train"]["epochs"] = 9

    project.edit("params.yaml", its_own)
    assert project.dvc("repro").stages == ["plan"]
    after = project.lock()
    assert {name for name in before if before[name] != after[name]} == {"plan"}


def test_another_vocabulary_size_repeats_encoding_but_no_download(project):
    project.edit("params.yaml", lambda params: params["encode"].update(vocabulary_size=30))
    done = project.dvc("repro", "build_embeddings")
    assert done.stages == ["build_embeddings@glove", "build_embeddings@random", "encode_corpus", "plan", "rehearse"]
    # What was not asked for waits: no download, no baseline.
    assert changed(project) == ["compare", "probe@lstm", "train@gru", "train@lstm", "train@mean"]
    assert len((project.folder / "data/tokens/vocabulary.txt").read_text().splitlines()) == 30


def test_a_plain_repro_prunes_nothing_warns_and_reports_what_the_study_declares(project):
    def without_glove(params):
        del params["embeddings"]["glove"]
        for name in ("gru", "mean"):
            del params["experiments"][name]

    project.edit("params.yaml", without_glove)
    plain = project.dvc("repro")
    assert plain.stages == ["compare", "plan"]
    assert "warning: the study does not declare runs/gru, runs/mean, data/embeddings/glove, and" in plain.text
    assert names_in(project, "reports/tiny/metrics") == {"lstm.json", "majority.json", "nb-svm.json"}
    assert "gru" not in project.read("reports/tiny/report.md")


def test_dvc_shows_metrics_and_plots(project):
    metrics = json.loads(project.dvc("metrics", "show", "--json").text)[""]["data"]
    assert set(metrics) == {
        f"reports/tiny/metrics/{name}.json" for name in ("majority", "nb-svm", "lstm", "gru", "mean")
    }
    assert metrics["reports/tiny/metrics/majority.json"]["data"]["valid_accuracy"] == 0.6

    project.dvc("plots", "show", "--out", "plots")
    page = project.read("plots/index.html")
    assert "learning_curves" in page
    for picture in ("leaderboard", "learning_curves", "confusion", "reliability"):
        assert f"{picture}.svg" in page


@pytest.mark.long
def test_dvc_experiments_and_their_queue(project):
    """Each experiment leaves its git reference in DVC, and its runs in the MLflow store of the project."""
    dvc = partial(project.run, sys.executable, "-m", "dvc", **LIVE)  # it starts processes that outlive it
    direct = dvc("exp", "run", "--name", "direct", "-S", "study=direct")
    assert direct.stages == ["compare", "plan"]
    project.run("git", "checkout", "--quiet", ".")
    for name, ngrams in (("unigrams", 1), ("trigrams", 3)):
        dvc("exp", "run", "--queue", "--name", name, "-S", f"baselines.nb-svm.ngrams={ngrams}")
    # Not through a pipe: a worker of the queue that stays idle would hold it open.
    start = [sys.executable, "-m", "dvc", "queue", "start", "-j", "2"]
    variables = {**project.environment(), **LIVE}
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    subprocess.run(start, cwd=project.folder, env=variables, check=True, timeout=600, **quiet)
    deadline = time.monotonic() + 400
    while re.search("Queued|Running", status := dvc("queue", "status").text.partition("Worker")[0]):
        assert time.monotonic() < deadline, status
        time.sleep(2)
    logs = [dvc("queue", "logs", name, ok=False).text for name in ("unigrams", "trigrams")]
    assert status.count("Success") == 2, (status, logs)

    shown = json.loads(dvc("exp", "show", "--json").text)
    params = {
        row["name"]: row["revs"][0]["data"]["params"]["params.yaml"]["data"]
        for revision in shown
        for row in revision["experiments"] or []
    }
    assert {name: (values["study"], values["baselines"]["nb-svm"]["ngrams"]) for name, values in params.items()} == {
        "direct": ("direct", 2),
        "unigrams": ("tiny", 1),
        "trigrams": ("tiny", 3),
    }
    queued = {
        run.data.tags["dvc.exp_name"]: (run.data.params["ngrams"], run.data.tags)
        for run in runs_in(project)
        if "dvc.exp_name" in run.data.tags
    }
    assert {name: ngrams for name, (ngrams, _) in queued.items()} == {"unigrams": "1", "trigrams": "3"}
    tags = queued["trigrams"][1]
    assert tags["mlflow.source.git.commit"] == project.run("git", "rev-parse", "HEAD").text.strip()
    assert (tags["git.dirty"], tags["dvc.restore"]) == ("true", "dvc exp apply trigrams")

    project.run(*tags["dvc.restore"].replace("dvc", f"{sys.executable} -m dvc", 1).split())
    assert json.loads(project.read("runs/nb-svm/run.json"))["params"]["ngrams"] == 3
    # What the queue's run lacks, as all do before `sync`: pictures, and models.
    assert project.textrnn("sync").lines[0] == "MLflow: 6 runs agree with the files (6 created)"


def runs_in(project):
    """All MLflow runs of the project's study, oldest first."""
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{project.folder / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("tiny/snippets")
    return client.search_runs([experiment.experiment_id], order_by=["start_time"])


def test_mlflow_has_a_parent_per_run_and_a_child_per_seed(finished):
    runs = runs_in(finished)
    parents = {run.data.tags["experiment"]: run for run in runs if "mlflow.parentRunId" not in run.data.tags}
    assert set(parents) == {"majority", "nb-svm", "lstm", "gru", "mean"}
    seeds = {
        name: [run.data.tags["seed"] for run in runs if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
        for name, parent in parents.items()
    }
    assert seeds == {"majority": ["0"], "nb-svm": ["0"], **{name: ["0", "1"] for name in ("lstm", "gru", "mean")}}
    assert {run.info.status for run in runs} == {"FINISHED"}


def test_mlflow_says_where_a_run_comes_from(finished):
    runs = runs_in(finished)
    (parent,) = [run for run in runs if run.data.tags["mlflow.runName"] == "lstm"]
    first_commit = finished.run("git", "rev-list", "--max-parents=0", "HEAD").text.strip()
    wanted = {
        "study": "tiny",
        "corpus": "snippets",
        "cell": "lstm",
        "embedding": "random",
        "dvc.stage": "train@lstm",
        "mlflow.source.git.commit": first_commit,
        "git.dirty": "false",
    }
    assert {key: parent.data.tags.get(key) for key in wanted} == wanted
    recorded = json.loads(finished.read("runs/lstm/run.json"))
    assert parent.data.tags["dvc.fingerprint"] == recorded["fingerprint"]
    assert parent.data.params["units"] == "3"
    assert parent.data.params["gradient_clip"] == "None"
    outs = {out["path"]: out["md5"] for stage in finished.lock().values() for out in stage["outs"] if "md5" in out}
    assert {data.dataset.name: data.dataset.digest for data in parent.inputs.dataset_inputs} == {
        name: outs[name] for name in ("data/tokens", "data/embeddings/random")
    }
    board = dict(
        zip(*[line.split(",") for line in finished.read("reports/tiny/leaderboard.csv").splitlines()[:2]], strict=True)
    )
    (best,) = [run for run in runs if run.data.tags["mlflow.runName"] == board["experiment"]]
    assert best.data.metrics["valid_accuracy_mean"] == pytest.approx(float(board["valid_accuracy"]), abs=1e-6)
    assert best.data.metrics["valid_accuracy_std"] == pytest.approx(float(board["valid_accuracy_std"]), abs=1e-6)


def test_mlflow_has_a_point_per_epoch(finished):
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{finished.folder / 'mlflow.db'}")
    (child,) = [run for run in runs_in(finished) if run.data.tags["mlflow.runName"] == "lstm seed 1"]
    curve = [(point.step, point.value) for point in client.get_metric_history(child.info.run_id, "val_loss")]
    rows = [line.split(",") for line in finished.read("runs/lstm/history.csv").splitlines()[1:]]
    assert curve == [(int(row[1]), pytest.approx(float(row[4]))) for row in rows if row[0] == "1"]
    assert [step for step, _ in curve] == [1, 2]
    assert child.data.metrics["seconds"] > 0


def test_standard_input_is_scored_in_batches_with_progress(finished):
    """More rows than fit into one batch; each gets what it gets among others."""
    texts = ["good film", "bad, bad film", "", "a good film of seven words more"] * 4100
    done = subprocess.run(
        [sys.executable, "-m", "textrnn", "predict", "--run", "lstm", "--input", "-", "--format", "jsonl"],
        cwd=finished.folder,
        env=finished.environment(),
        input="".join(json.dumps({"text": text, "row": row}) + "\n" for row, text in enumerate(texts)).encode(),
        capture_output=True,
        check=True,
    )
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(row["row"], row["text"]) for row in rows] == list(enumerate(texts))
    for kind in range(4):
        assert len({row["label"] for row in rows[kind::4]}) == 1
        scores = [row["probability_good"] for row in rows[kind::4]]
        assert scores == pytest.approx([scores[0]] * len(scores), abs=1e-6)
    said = done.stderr.decode()
    assert "scoring" in said and "100%" in said
    assert "note: 4,100 of 16,400 texts were longer than the model reads, and cut short\n" in said


def test_a_wrong_hash_stops_before_anything_is_written(project):
    before = project.lock()
    project.append("tiny/snippets.csv", "one more,good,film 1\n")
    expected = sha256(project.folder / "data/downloads/corpus/snippets.csv")
    other = "0" * 64
    project.edit("catalog.yaml", lambda catalog: catalog["corpora"]["snippets"].update(sha256=other))
    failed = project.dvc("repro", ok=False)
    assert failed.status != 0
    assert failed.stages == ["download_corpus", "plan"]
    assert "file:tiny/snippets.csv" in failed.text
    assert other in failed.text
    assert sha256(project.folder / "tiny/snippets.csv") in failed.text
    assert "failed to reproduce 'download_corpus'" in failed.text
    assert not (project.folder / "data/downloads/corpus").exists()
    assert names_in(project, "data/downloads") == {"vectors"}
    after = project.lock()
    assert {name for name in before if before[name] != after[name]} == {"plan"}
    assert project.run("git", "status", "--porcelain", "reports").text == ""

    project.run("git", "checkout", "--quiet", ".")
    again = project.dvc("repro")
    assert again.stages == []
    assert sha256(project.folder / "data/downloads/corpus/snippets.csv") == expected


def test_a_corpus_that_a_user_adds(project):
    """A catalog entry is all there is to write: here three classes, no films."""
    rows = [
        f"{word} number {row}\t{stars}"
        for row in range(12)
        for word, stars in (("awful", "low"), ("so so", "middle"), ("great", "high"))
    ]
    table = project.folder / "tiny" / "stars.tsv"
    table.write_text("\n".join(["review\tstars", *rows]) + "\n", encoding="utf-8")
    entry = {
        "source": "file:tiny/stars.tsv",
        "sha256": sha256(table),
        "format": "tsv",
        "columns": {"text": "review", "label": "stars"},
        "classes": ["low", "middle", "high"],
        "licence": "mine",
        "citation": "me",
    }
    project.edit("catalog.yaml", lambda catalog: catalog["corpora"].update({"stars": entry}))
    project.edit("params.yaml", lambda params: params.update(corpus="stars"))
    done = project.dvc("repro", "encode_corpus", "baseline@nb-svm")
    assert done.stages == ["baseline@nb-svm", "download_corpus", "encode_corpus", "plan", "prepare_corpus", "rehearse"]
    assert json.loads(project.read("data/tokens/encoder.json"))["classes"] == ["low", "middle", "high"]
    assert {"great", "so", "awful"} <= set(project.read("data/tokens/vocabulary.txt").splitlines())
    run = json.loads(project.read("runs/nb-svm/run.json"))
    assert (run["status"], run["classes"]) == ("finished", ["low", "middle", "high"])


def with_ensembles(params):
    """A vote, its student, and a vote of both and another run."""
    params["ensembles"] = {
        "vote": {"of": ["lstm", "nb-svm"], "weights": "fitted"},
        "all": {"of": ["vote", "small", "mean"]},
    }
    params["students"] = {"small": {"embedding": "glove", "units": 2, "teacher": "vote", "hard_targets": 0.1}}
    params["comparisons"]["pairs"] = [["lstm", "vote"]]
    params["probes"] = ["lstm", "small"]
    params["explanations"] = {"all": {"texts": 4}, "nb-svm": {}}


def scored(project, run, *more):
    texts = ("a wonderful story", "the plot is boring , and noisy", "", "zebra")
    done = project.textrnn("predict", "--run", run, "--format", "jsonl", *more, *texts)
    return [json.loads(line)["probability_good"] for line in done.lines if line.startswith("{")]


def explained_by(project, *model):
    """The words of a text with their attributions, and what these add up to."""
    done = project.textrnn("explain", *model, "--format", "jsonl", "a wonderful story")
    (found,) = [json.loads(line) for line in done.lines if line.startswith("{")]
    words = {word["word"]: word["attribution"] for word in found["words"]}
    return {**found, "words": words, "difference": found["log_odds"] - found["without_words"]}


def test_an_ensemble_is_a_run_like_any_other_and_teaches_a_student(project):
    project.edit("params.yaml", with_ensembles)
    refused = project.dvc("repro", "plan", ok=False)
    assert "error: members.yaml was not that of params.yaml. Now it is, but DVC has read it before" in refused.text
    done = project.textrnn("repro", "--jobs", "2")
    assert "members.yaml" not in done.text
    order = [done.text.index(f"{stage} done in") for stage in ("member@vote+lstm", "ensemble@vote", "teach@vote")]
    order += [done.text.index(f"{stage} done in") for stage in ("student@small", "probe@small", "ensemble@all")]
    assert order[:4] == sorted(order[:4])
    assert changed(project) == []
    assert names_in(project, "data/soft_targets/vote") == {"train.parquet", "valid.parquet"}
    assert not [stage for stage in ("train@lstm", "baseline@nb-svm") if f"{stage} done" in done.text]
    new = {"vote", "all", "small", "probe@small", "explain@all", "explain@nb-svm"}
    assert names_in(project, "runs") == {"majority", "nb-svm", "lstm", "gru", "mean", "probe@lstm", *new}

    report = project.read("reports/tiny/report.md")
    assert re.search(r"ranks first of 4 experiments and 2 ensembles", report)
    assert "`lstm` → `vote`" in report
    deleted = {row.split(",")[0] for row in project.read("reports/tiny/deletion.csv").splitlines()[1:]}
    assert deleted == {"all", "nb-svm"}
    assert 'id="explanations"' in project.read("reports/tiny/index.html")
    members = [row.split(",") for row in project.read("reports/tiny/ensembles.csv").splitlines()]
    weights = {member: float(weight) for name, _, member, _, weight in members if name == "vote"}
    assert weights.keys() == {"lstm", "nb-svm"} and sum(weights.values()) == pytest.approx(1)

    # Predicted from raw text, an ensemble is the average of its members; it needs no other folder.
    lstm = [sum(pair) / 2 for pair in zip(scored(project, "lstm"), scored(project, "lstm", "--seed", "1"), strict=True)]
    linear = scored(project, "nb-svm")
    expected = [weights["lstm"] * a + weights["nb-svm"] * b for a, b in zip(lstm, linear, strict=True)]
    for name in ("lstm", "nb-svm"):
        shutil.move(project.folder / "runs" / name, project.folder / name)
    assert scored(project, "vote") == pytest.approx(expected, abs=1e-6)
    for name in ("lstm", "nb-svm"):
        shutil.move(project.folder / name, project.folder / "runs" / name)

    # In MLflow, in the registry, and through the gate; then its student, by name.
    parents = {
        run.data.tags["mlflow.runName"]: run for run in runs_in(project) if "mlflow.parentRunId" not in run.data.tags
    }
    assert parents["vote"].data.tags["kind"] == "ensemble"
    assert parents["vote"].data.tags["mlflow.note.content"] == "The average of lstm, nb-svm, with fitted weights."
    assert "unchanged" in project.textrnn("sync").text
    assert project.textrnn("register", "vote").text.startswith("vote, seed 0, registered as version 1")
    assert project.textrnn("promote").text.startswith("promoted: vote (version 1) becomes the first champion")
    explained = explained_by(project, "--run", "vote")
    champion = explained_by(project)
    assert (explained.pop("model"), champion.pop("model")) == (
        "vote, seed 0",
        "vote, seed 0, version 1 of textrnn-snippets",
    )
    assert explained == champion
    assert sum(explained["words"].values()) == pytest.approx(explained["difference"], rel=0.01, abs=0.001)
    assert explained["probability"] == pytest.approx(max(expected[0], 1 - expected[0]), abs=1e-5)
    assert project.textrnn("register", "small").text.startswith("small, seed ")
    assert project.textrnn("promote", ok=False).status in (0, 3)
    assert "vote, seed 0, is already version 1" in project.textrnn("register", "vote").text
    assert "vote minus lstm" in project.textrnn("compare", "lstm", "vote").text

    # A change concerns whom it concerns: another member, and what is made of it.
    project.edit("params.yaml", set_experiment("gru", epochs=2, refit=True))
    assert project.dvc("repro").stages == ["compare", "plan", "train@gru"]
    assert "The saved models and test figures of `gru` are of this training" in project.read("reports/tiny/report.md")
    project.edit("params.yaml", set_experiment("mean", learning_rate=0.02))
    rerun = ["compare", "ensemble@all", "explain@all", "member@all+mean", "plan", "train@mean"]
    assert project.dvc("repro").stages == rerun
    project.edit("params.yaml", lambda params: params["students"]["small"].update(hard_targets=0.2))
    rerun = ["compare", "ensemble@all", "explain@all", "member@all+small", "plan", "probe@small", "student@small"]
    assert project.dvc("repro").stages == rerun

    # Without them everything of them goes.
    project.edit("params.yaml", lambda params: [params.pop(each) for each in ("ensembles", "students", "explanations")])
    project.edit("params.yaml", lambda params: params.update(probes=["lstm"]))
    project.edit("params.yaml", lambda params: params["comparisons"].update(pairs=[]))
    assert "pruned" in project.textrnn("repro").text
    assert names_in(project, "runs") == {"majority", "nb-svm", "lstm", "gru", "mean", "probe@lstm"}
    assert not [
        name for name in project.lock() if name.startswith(("member@", "ensemble@", "teach@", "student@", "explain@"))
    ]


def test_a_member_or_teacher_that_failed_fails_what_is_made_of_it_and_nothing_else(project):
    project.edit("params.yaml", set_experiment("mean", l2=1e38))
    project.edit("params.yaml", lambda params: params.update(ensembles={"vote": {"of": ["gru", "mean"]}}))
    student = {"embedding": "glove", "cell": "feedforward", "readout": "mean", "teacher": "vote", "epochs": 1}
    project.edit("params.yaml", lambda params: params.update(students={"small": student}))
    failed = project.textrnn("repro", "--jobs", "2", ok=False)
    assert failed.status == 1
    assert "  vote: seed 0: its member mean has no finished seed (seed 0: the loss is no longer" in failed.text
    assert "  small: seed 0: its teacher vote has no finished seed; seed 1: its teacher vote" in failed.text
    board = project.read("reports/tiny/report.md")
    assert "`vote` failed and has no rank" in board and "`small` failed and has no rank" in board
    assert changed(project) == []


def test_a_killed_training_continues_from_its_checkpoint(project):
    """Checkpoints are due after every step, not after minutes. tests/test_stages_train.py compares the bytes."""
    checkpoint = project.folder / "src/textrnn/modeling/checkpoint.py"
    code = checkpoint.read_text(encoding="utf-8")
    code, edits = re.subn(r"(?m)^(EPOCH|STEP)_SECONDS = .+$", r"\1_SECONDS = 0.0", code)
    assert edits == 2
    checkpoint.write_text(code, encoding="utf-8")
    project.edit("params.yaml", set_experiment("lstm", epochs=40))
    project.dvc("repro", "plan")
    repro = ("repro", "--single-item", "train@lstm")

    killed = start_dvc(project, *repro)
    assert any("epoch  2/40" in line for line in killed.stdout)  # it reads no further
    kill(killed)
    assert not (project.folder / "runs/lstm").exists()
    assert re.search(r"seed 0  continues from a checkpoint, [1-9]\d* of 40 epochs done", project.dvc(*repro).text)
    assert not (project.folder / "checkpoints/lstm").exists()
    assert json.loads(project.read("runs/lstm/run.json"))["status"] == "finished"


def start_dvc(project, *arguments):
    """Starts `dvc` at the head of a process group of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "dvc", *arguments],
        cwd=project.folder,
        env=project.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def kill(process):
    """Kills its whole group, so that nothing in it can tidy up."""
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
