"""A team's repository from its first training to a refused model: git's origin, DVC's remote and MLflow are real.

A job of CI is a fresh clone with an empty DVC cache, in which the steps of `.github/workflows` run unchanged.
tests/test_workflows_in_runners.py has runners read the workflows.
The tests are one story, in the order in which they are written: run the file, not a single test.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from mlflow_site import mlflow_server
from moto.server import ThreadedMotoServer
from team import Repository
from tiny_project import BAD, GOOD, NEUTRAL, Result, TinyProject, make_project, sha256
from workflow_steps import gitlab_script, script

pytestmark = pytest.mark.long

CSV = "tiny/snippets.csv"
TRAININGS = ["train@lstm", "train@mean"]


def rows(first: int, last: int, split: str) -> list[str]:
    """Texts, alternately good and bad, that one word tells apart."""
    return [
        f"{NEUTRAL[row % 8]} {(BAD, GOOD)[row % 2][row // 2 % 5]} {NEUTRAL[row * 3 % 7]} {split} {row},"
        f"{('bad', 'good')[row % 2]},{split}"
        for row in range(first, last)
    ]


@dataclass
class Job:
    """A fresh clone, and what `textrnn retrain` did in it."""

    project: TinyProject
    result: Result
    report: str

    @property
    def ran(self) -> list[str]:
        """The stages that ran, by the report."""
        lines = [line for line in self.report.splitlines() if " stages ran" in line]
        return sorted(line.split("`")[index] for line in lines for index in range(1, line.count("`"), 2))


@dataclass
class Team(Repository):
    """Its repository, and the variables of a CI job."""

    variables: dict[str, str]
    jobs: int = field(default=0)

    def clone(self, branch: str) -> TinyProject:
        self.jobs += 1
        folder = self.folder / f"job-{self.jobs}"
        self.author.run("git", "clone", "--quiet", "--branch", branch, str(self.folder / "origin.git"), str(folder))
        (folder / ".venv" / "bin").mkdir(parents=True)
        (folder / ".venv" / "bin" / "textrnn").symlink_to(Path(sys.executable).with_name("textrnn"))
        (folder / ".venv" / ".ready").touch()
        return TinyProject(folder, self.author.home)

    def ci(self, branch: str, ok: bool = True, **variables: str) -> Job:
        project = self.clone(branch)
        temporary = self.folder / f"runner-{self.jobs}"
        temporary.mkdir()
        given = {"BASE": "origin/main", "PARAMS": "", "GITHUB_RUN_ID": "7", "RUNNER_TEMP": str(temporary)}
        result = project.run(
            *("bash", "-e", "-o", "pipefail", "-c", script("retrain", "retrain", "Retrain")),
            ok=ok,
            **{**given, **self.variables, **variables},
        )
        report = temporary / "report.md"
        return Job(project, result, report.read_text(encoding="utf-8") if report.is_file() else "")

    def retrain(self, project: TinyProject, *arguments: str, ok: bool = True) -> Job:
        (project.folder / "report.md").unlink(missing_ok=True)
        result = project.textrnn("retrain", "--report", "report.md", *arguments, ok=ok, **self.variables)
        report = project.folder / "report.md"
        return Job(project, result, report.read_text(encoding="utf-8") if report.is_file() else "")

    def promote(self) -> Result:
        """What the workflow does after a merge."""
        project, summary = self.clone("main"), self.folder / f"summary-{self.jobs}.md"
        for step in ("Bring the merged state up to date, and publish", "Register the best, and let the gate decide"):
            last = project.run(
                *("bash", "-e", "-o", "pipefail", "-c", script("promote", "promote", step)),
                GITHUB_STEP_SUMMARY=str(summary),
                **self.variables,
            )
        return Result(last.status, summary.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Team]:
    folder = tmp_path_factory.mktemp("team")
    author = make_project(folder / "author", folder / "home")
    (author.folder / CSV).write_text(
        "\n".join(["text,category,part", *rows(0, 80, "train"), *rows(0, 40, "valid"), *rows(0, 80, "test")]) + "\n"
    )

    def corpus(catalog: dict) -> None:
        catalog["corpora"]["snippets"].update(
            sha256=sha256(author.folder / CSV), columns={"text": "text", "label": "category", "split": "part"}
        )

    def study(params: dict) -> None:
        params["embeddings"].pop("glove")
        params["seeds"] = [0, 1, 2, 3, 4]
        params["baselines"] = {"majority": {"kind": "majority"}}
        params["comparisons"]["against"] = ["majority"]
        params["train"].update(trainable_embedding=True, epochs=20, learning_rate=0.0000001)
        params["experiments"] = {
            "lstm": {"embedding": "random"},
            "mean": {"embedding": "random", "cell": "feedforward", "readout": "mean"},
        }

    author.edit("catalog.yaml", corpus)
    author.edit("params.yaml", study)
    author.dvc("remote", "add", "--quiet", "--default", "shared", str(folder / "remote"))
    author.run("git", "init", "--quiet", "--bare", "--initial-branch=main", str(folder / "origin.git"))
    author.run("git", "remote", "add", "origin", str(folder / "origin.git"))
    with ExitStack() as stack:
        variables = stack.enter_context(mlflow_server(folder, f"sqlite:///{folder}/server.db"))
        team = Team(folder, author, variables)
        team.push()
        yield team


def test_the_first_job_trains_all_and_an_interruption_loses_nothing(team: Team) -> None:
    project = team.clone("main")
    command = [sys.executable, "-m", "textrnn", "retrain", "--report", "report.md"]
    environment = {**project.environment(), **team.variables}
    with subprocess.Popen(
        command, cwd=project.folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as job:
        said = []
        for line in job.stdout or ():
            said.append(line)
            if "train@" in line and "done in" in line:
                job.send_signal(signal.SIGINT)
                break
        said.append(job.communicate()[0])
    assert job.returncode == 130, "".join(said)
    assert team.head("main") == team.git("rev-parse", "main")
    again = team.retrain(project)
    assert len([stage for stage in again.ran if stage in TRAININGS]) == 1, again.report
    assert team.head("main") == project.run("git", "rev-parse", "HEAD").text.strip()
    assert project.git_status() == "?? report.md\n"


def test_the_first_model_becomes_champion(team: Team) -> None:
    assert "becomes the first champion" in team.promote().text


def test_an_improvement_is_reported_merged_and_promoted(team: Team) -> None:
    team.branch("better")
    team.author.edit("params.yaml", lambda params: params["experiments"]["lstm"].update(learning_rate=0.05))
    team.push()
    job = team.ci("better")
    assert job.report.startswith("# Retraining: better than origin/main\n"), job.report
    assert job.ran == ["compare", "probe@lstm", "train@lstm"]
    assert "| `experiments.lstm.learning_rate` |" in job.report
    assert "2 further runs have the same bytes." in job.report
    assert "saved: " in job.report
    (commit,) = job.project.run("git", "log", "--format=%s", f"{team.git('rev-parse', 'better')}..origin/better").lines
    assert commit == "Bring results up to date of lstm"
    changed = job.project.run("git", "diff", "--name-only", "HEAD~1").lines
    assert {name.partition("/")[0] for name in changed} == {"dvc.lock", "reports"}
    # Once more, as when somebody repeats the job: the report is the same, except for the time.
    again = team.ci("better")
    assert again.ran == []
    assert again.report.partition("## What it took")[0] == job.report.partition("## What it took")[0]
    assert team.head("better") == job.project.run("git", "rev-parse", "HEAD").text.strip()
    team.merge("better")
    promoted = team.promote().text
    assert "promoted: On 80 test examples" in promoted
    assert "better beyond chance" in promoted


def test_a_change_of_documentation_runs_nothing(team: Team) -> None:
    team.branch("words")
    team.author.append("README.md", "One more sentence.\n")
    team.push()
    job = team.ci("words")
    assert job.report.startswith("# Retraining: nothing differs from origin/main\n")
    assert job.ran == []
    assert not (job.project.folder / "data" / "tokens").exists()
    assert not (job.project.folder / "runs").exists()
    job.project.dvc("pull", "--quiet", "--allow-missing")
    assert job.project.dvc("repro", "--allow-missing", "--dry").stages == []
    assert team.head("words") == team.git("rev-parse", "words")
    # The same on GitLab, which checks a commit out, and no branch.
    project = team.clone("words")
    project.run("git", "checkout", "--quiet", "--detach")
    project.run(
        *("bash", "-e", "-o", "pipefail", "-c", gitlab_script("retrain")),
        **team.variables,
        CI_PROJECT_URL=str(team.folder / "origin"),
        PARAMS="",
        CI_MERGE_REQUEST_SOURCE_BRANCH_NAME="words",
        CI_MERGE_REQUEST_TARGET_BRANCH_NAME="main",
        CI_SERVER_HOST="gitlab.example.org",
        CI_PIPELINE_ID="7",
        RETRAIN_TOKEN="secret",
    )
    assert project.read("report.md").startswith("# Retraining: nothing differs from origin/main\n")


def test_a_comment_and_a_default_that_nobody_uses_train_nothing_and_dvc_lock_says_so(team: Team) -> None:
    def says_its_own(params: dict) -> None:
        for experiment in params["experiments"].values():
            experiment["epochs"] = 20
        params["train"]["epochs"] = 3

    team.branch("comment")
    team.author.append("src/textrnn/modeling/training.py", "# a thought\n")
    team.author.edit("params.yaml", says_its_own)
    team.push()
    job = team.ci("comment")
    assert job.ran == []
    assert job.project.run("git", "diff", "--name-only", "HEAD~1").text == "dvc.lock\n"
    assert team.head("comment") == job.project.run("git", "rev-parse", "HEAD").text.strip()


def test_new_rows_rerun_only_what_depends_on_them(team: Team) -> None:
    team.branch("rows")
    with (team.author.folder / CSV).open("a", encoding="utf-8") as file:
        file.write("\n".join(rows(80, 120, "train")) + "\n")
    digest = sha256(team.author.folder / CSV)
    team.author.edit("catalog.yaml", lambda catalog: catalog["corpora"]["snippets"].update(sha256=digest))
    team.push()
    job = team.ci("rows")
    assert "## Corpus" in job.report
    assert "by nothing that the study forbids." in job.report
    assert {"download_corpus", "prepare_corpus", "encode_corpus", "compare", *TRAININGS} <= set(job.ran)
    assert "download_vectors@random" not in job.ran
    # What the study forbids is not trained on, and nothing of it is published.
    team.author.edit("params.yaml", lambda params: params.update(data_check={"label_shift": 0.01}))
    kept = [row for row in (team.author.folder / CSV).read_text().splitlines() if "bad,train" not in row or "1" in row]
    (team.author.folder / CSV).write_text("\n".join(kept) + "\n")
    digest = sha256(team.author.folder / CSV)
    team.author.edit("catalog.yaml", lambda catalog: catalog["corpora"]["snippets"].update(sha256=digest))
    team.git("stash", "--quiet")
    team.git("pull", "--quiet", "--ff-only")
    team.git("stash", "pop", "--quiet")
    team.push()
    refused = team.ci("rows", ok=False)
    assert refused.result.status == 1
    assert "the study forbids this change of the corpus" in refused.result.text
    assert refused.report.startswith("# Retraining: the study forbids this corpus\n")
    assert team.head("rows") == team.git("rev-parse", "rows")


def test_two_jobs_at_once_publish_one_result_and_worse_is_reported_and_kept_out(team: Team) -> None:
    team.branch("worse")
    team.author.edit("params.yaml", lambda params: params["experiments"]["lstm"].update(learning_rate=0.0000001))
    team.push()
    start = team.head("worse")
    projects = [team.clone("worse") for _ in range(2)]
    jobs = [
        subprocess.Popen(
            [sys.executable, "-m", "textrnn", "retrain", "--report", "report.md"],
            cwd=project.folder,
            env={**project.environment(), **team.variables, "GIT_COMMITTER_NAME": f"Job {index}"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for index, project in enumerate(projects)
    ]
    for project, job in zip(projects, jobs, strict=True):  # what somebody edits meanwhile is theirs
        while not (project.folder / ".dvc" / "tmp" / "textrnn.lock").exists():
            assert job.poll() is None, job.communicate()[0]
            time.sleep(0.1)
        project.append("README.md", "A thought.\n")
    said = [job.communicate()[0] for job in jobs]
    first, second = sorted(range(2), key=lambda index: jobs[index].returncode)
    assert (jobs[first].returncode, jobs[second].returncode) == (0, 1), "\n".join(said)
    assert "Nothing there was overwritten" in said[second]
    assert team.head("worse") == projects[first].run("git", "rev-parse", "HEAD").text.strip()
    assert projects[second].git_status() == " M README.md\n"
    committed = projects[first].run("git", "diff", "--name-only", "HEAD~1", "HEAD").lines
    assert {name.partition("/")[0] for name in committed} == {"dvc.lock", "reports"}
    assert projects[second].run("git", "rev-parse", "HEAD").text.strip() == start
    report = projects[first].read("report.md")
    # The best on validation is whichever run is least bad: the one that got worse has a row of its own.
    (row,) = [line for line in report.splitlines() if line.startswith("| `lstm`")]
    assert row.rstrip("| ").endswith("worse"), report
    assert report.startswith("# Retraining: worse than origin/main\n"), report
    team.merge("worse")
    refused = team.promote()
    assert "kept: " in refused.text
    assert "stays champion" in refused.text


def test_chosen_params_are_committed_with_their_results(team: Team) -> None:
    project = team.clone("main")
    refused = team.retrain(project, "--set", "train.units=2", ok=False)
    assert "git switch --create NAME" in refused.result.text
    project.run("git", "switch", "--quiet", "--create", "chosen")
    refused = team.retrain(project, "--set", "train.unit=2", ok=False)
    assert "--set train.unit=2: " in refused.result.text
    assert project.git_status() == ""
    job = team.ci("main", PARAMS="+experiments.mean.dropout=0.1 seeds=[1]")
    assert "`[0, 1, 2, 3, 4]`" in job.report and "`[1]`" in job.report
    assert "dropout: 0.1" in job.project.read("params.yaml")
    assert team.head("retrain-7") == job.project.run("git", "rev-parse", "HEAD").text.strip()


def test_an_s3_remote_gives_a_clone_everything(team: Team, monkeypatch: pytest.MonkeyPatch) -> None:
    import boto3

    for key in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(key, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        address = f"http://{host}:{port}"
        boto3.client("s3", endpoint_url=address).create_bucket(Bucket="team")
        team.branch("s3")
        team.author.dvc("remote", "add", "--quiet", "--default", "bucket", "s3://team/dvc")
        team.author.dvc("remote", "modify", "bucket", "endpointurl", address)
        team.author.dvc("pull", "--quiet", "--allow-missing", "--remote", "shared")
        team.author.edit("params.yaml", lambda params: params["experiments"]["mean"].update(learning_rate=0.02))
        team.push()
        first = team.retrain(team.author)
        assert first.ran == ["compare", "train@mean"]
        (team.author.folder / "report.md").unlink()
        # The commit of results is gone, as if that job had been killed just before: the bucket has the results.
        team.git("push", "--quiet", "--force", "origin", "HEAD~1:s3")
        second = team.ci("s3")
        assert second.ran == ["compare"] or second.ran == []
        assert "`train@mean`" in second.report.partition("came from DVC's cache")[2].splitlines()[0]
    finally:
        server.stop()
