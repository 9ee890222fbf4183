"""Every command of the README, CONTRIBUTING.md and docs/ is run.

It is run here, in the tiny project, unless a list below says where else, or why not. So a new command in a document is
run as it stands, and fails if it does not work.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from documents import DOCUMENTS, block_commands, prose_commands
from mlflow_site import free_port, stop, wait_for
from tiny_project import PROJECT, TinyProject, sha256, snippets_csv

ELSEWHERE = {
    "dvc exp": ("tests/test_pipeline.py", 'dvc("exp", "run", "--queue"'),
    "dvc push": ("tests/test_tracking_data_check.py", 'project.dvc("push"'),
    "dvc pull": ("tests/test_retraining_story.py", 'project.dvc("pull", "--quiet", "--allow-missing")'),
    "dvc queue start": ("tests/test_pipeline.py", '"dvc", "queue", "start", "-j", "2"'),
    "dvc remote add": (
        "tests/test_retraining_story.py",
        'dvc("remote", "add", "--quiet", "--default", "bucket", "s3://',
    ),
    "dvc remote modify": ("tests/test_retraining_story.py", 'dvc("remote", "modify", "bucket", "endpointurl"'),
    "dvc repro --pull --allow-missing": ("src/textrnn/orchestration/repro.py", '"--pull", "--allow-missing"'),
    "make audit": ("tests/test_audit.py", '["bash", PROJECT / ".ci" / "audit"'),
    "make backends": (".ci/run", "make backends"),
    "make bench": ("tests/test_benchmarks.py", '[sys.executable, "-m", "benchmarks"'),
    "make docs": (".ci/run", "make docs"),
    "make env": (".ci/run", "make env"),
    "make lint": ("Makefile", "test-all: $(READY) lint"),
    "make packages": (".ci/run", "make packages"),
    "make promote": ("tests/test_retraining_story.py", 'script("promote", "promote"'),
    "make test": (".ci/run", "make test-all"),
    "make verify": ("tests/test_orchestration_verify.py", "verify("),
    "mlflow ui": ("src/textrnn/tracking/ui.py", '"-m", "mlflow", "ui"'),
    "optuna-dashboard": ("tests/test_search_storage.py", '"optuna-dashboard"'),
    "pip install -e '.[jax]'": (".ci/backends", "pip install --quiet --no-build-isolation --editable"),
    "python -m benchmarks": ("tests/test_benchmarks.py", '[sys.executable, "-m", "benchmarks"'),
    "rm mlflow.db": ("tests/test_docs_commands.py", "rm mlflow.db && textrnn sync"),
    "textrnn repro --engine ray": ("tests/test_orchestration_cluster.py", '"repro", "--engine", "ray"'),
    "textrnn retrain": ("tests/test_retraining_story.py", 'project.textrnn("retrain", "--report"'),
    "textrnn search": ("tests/test_search.py", 'project.textrnn("search", "tuned", "--jobs", "2")'),
    "textrnn serve": ("tests/test_tracking_served.py", '"-m", "textrnn", "serve", "--port"'),
}
"""The beginning of a command: the file that runs it, and the words with which it does."""

EXCUSED = {
    "git commit": "git's own, and what it commits is the reader's",
    "git push": "git's own, and goes to the reader's server",
    "git restore": "git's own, and discards changes",
    "git revert": "git's own, of a merge that only the reader has",
    "make faults": "breaks a study for half an hour; tests/test_faults.py runs a sample",
    "make lock": "asks the package index for new versions",
    "make profile": "repeats a study for minutes; tests/test_benchmarks.py tests its parts",
    "pip install -e '.[gpu": "needs the package index, and a GPU to be of use",
    "pip install optuna-dashboard": "needs the package index",
    "pip install -e '.[cpu,ray": "needs the package index",
    "python -m pytest": "runs one of these tests",
    "python tests/fuzz.py": "mutates files for minutes; tests/test_fuzz.py runs a sample of each kind",
    "pytest tests/": "runs one of these tests",
    "sbatch": "needs Slurm; tests/test_orchestration_cluster.py checks the file's syntax",
    "kubectl": "needs Kubernetes; tests/test_orchestration_cluster.py checks the file's syntax",
    "ray start": "starts a service on several machines; tests/test_orchestration_cluster.py starts one here",
}
"""The beginning of a command: why no test runs it."""

SERVERS = {"make ui": "health", "make serve": "ping"}
"""Commands that go on until they are stopped: which of their pages says that they are there."""

STATUSES = {"textrnn promote": (0, 3)}
"""Exit statuses that mean success, where that is not 0 alone."""

HERE = [
    (r"STUDY=\S+", "STUDY=tiny"),
    (r"probe@\S+( probe@\S+)*", "probe@lstm"),
    (r"train@…", "train@lstm"),
    (r"\bglove-50d\b", "glove"),
    (r"\bFIRST SECOND\b", "lstm gru"),
    (r"\bvote\b", "lstm"),
    (r"\bCOMMAND\b", "repro"),
    (r"\bCOMMIT\b", "HEAD"),
    (r"--jobs N\b", "--jobs 2"),
    (r"'textrnn-rotten_tomatoes', 'champion', '3'", "'textrnn-snippets', 'champion', '1'"),
]
"""What documents name: what there is in the tiny project instead. Runs are replaced by its runs."""


def runs_of_studies() -> set[str]:
    names: set[str] = set()
    for file in [PROJECT / "params.yaml", *(PROJECT / "studies").glob("*.yaml")]:
        study = yaml.safe_load(file.read_text(encoding="utf-8"))
        names |= {name for part in ("experiments", "baselines", "searches") for name in study.get(part, ())}
    return names


def here(command: str) -> str:
    """The command as it is run in the tiny project."""
    for pattern, replacement in HERE:
        command = re.sub(pattern, replacement, command)
    if not command.startswith("textrnn"):
        return command
    own, given = iter(("lstm", "gru")), dict[str, str]()
    names = "|".join(map(re.escape, sorted(RUNS, key=len, reverse=True)))

    def run(found: re.Match[str]) -> str:
        return given.get(found[0]) or given.setdefault(found[0], next(own))

    return re.sub(rf"(?<![\w-])({names})(?![\w-])", run, command)


def listed(command: str) -> str | None:
    """The longest beginning of the command that one of the lists has."""
    return max((each for each in (*ELSEWHERE, *EXCUSED) if f"{command} ".startswith(each)), key=len, default=None)


def is_part(command: str) -> bool:
    """Whether a command in a sentence only names one in a block, or some words of it."""
    return any(one.split()[:2] == command.split()[:2] and {*command.split()} <= {*one.split()} for one in IN_BLOCKS)


RUNS = runs_of_studies()
READ = [document for document in DOCUMENTS if document.name != "CHANGELOG.md"]
IN_BLOCKS = [command for document in READ for command in block_commands(document)]
IN_PROSE = [command for document in READ for command in prose_commands(document)]
TO_RUN = {here(command) for command in IN_BLOCKS if not listed(command)}
TO_RUN |= {here(each) for each in IN_PROSE if not listed(each) and not is_part(each)}


def test_the_lists_have_no_more_than_the_documents_and_tell_the_truth() -> None:
    used = {listed(command) for command in (*IN_BLOCKS, *IN_PROSE)}
    assert {*ELSEWHERE, *EXCUSED} <= used
    for file, words in ELSEWHERE.values():
        assert words in (PROJECT / file).read_text(encoding="utf-8"), (file, words)


@pytest.fixture(scope="module")
def place(finished: TinyProject, tmp_path_factory: pytest.TempPathFactory) -> TinyProject:
    """The tiny project with a champion, what documents suppose, and this Python as its `.venv`."""
    project = finished.copy(tmp_path_factory.mktemp("documented") / "project")
    shutil.copy(project.folder / "params.yaml", project.folder / "studies" / "tiny.yaml")
    (project.folder / "reviews.csv").write_text("text\na moving story\n")
    (project.folder / "incoming").mkdir()
    (project.folder / "incoming" / "tickets.csv").write_text(snippets_csv())
    environment = project.folder / ".venv"
    environment.mkdir()
    for each in Path(sys.prefix).iterdir():
        if each.name != ".ready":
            (environment / each.name).symlink_to(each)
    (environment / ".ready").touch()
    project.commit()
    for command in ("sync", "register", "promote"):
        project.textrnn(command)
    return project


@pytest.mark.parametrize("command", sorted(TO_RUN - SERVERS.keys() - {each for each in TO_RUN if "curl" in each}))
def test_a_command_works(place: TinyProject, command: str) -> None:
    place.run("git", "checkout", "--quiet", ".")
    variables = {"HASH": sha256(place.folder / "reviews.csv"), "JOBS": "2"}
    if "MlflowClient" in command:
        variables["MLFLOW_TRACKING_URI"] = "sqlite:///mlflow.db"
    done = place.run("bash", "-c", command, ok=False, **variables)
    assert done.status in STATUSES.get(command, (0,)), done


@pytest.mark.parametrize("command", SERVERS)
def test_a_server_answers(place: TinyProject, tmp_path: Path, command: str) -> None:
    assert command in TO_RUN
    port = free_port()
    with (tmp_path / "log").open("wb") as log:
        server = subprocess.Popen(
            [*command.split(), f"PORT={port}"],
            cwd=place.folder,
            env=place.environment(),
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        wait_for(f"http://127.0.0.1:{port}/{SERVERS[command]}", server, tmp_path / "log")
        if command == "make serve":
            (ask,) = [each for each in TO_RUN if each.startswith("curl")]
            assert '"label": "good"' in place.run("bash", "-c", ask.replace(":5001", f":{port}")).text
    finally:
        stop(server)


def test_a_deleted_store_comes_back_without_training(place: TinyProject) -> None:
    """The last of these tests, because the registry does not come back."""
    done = place.run("bash", "-c", "rm mlflow.db && textrnn sync")
    assert "(6 created)" in done.text
