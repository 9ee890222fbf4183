"""The tiny study on a real Ray cluster of two nodes on this machine, each with a home and a DVC cache of its own."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml
from tiny_project import PROJECT, Result, TinyProject, make_project

from textrnn.config.sections import Resources
from textrnn.errors import TextrnnError
from textrnn.orchestration.cluster import Checkout, Cluster, Saved, clone
from textrnn.project.remote import forget

PATIENCE = 180

TRAININGS = ["train@gru", "train@lstm", "train@mean"]


class Nodes:
    """A cluster of the nodes `one` and `two`."""

    def __init__(self, folder: Path) -> None:
        cluster_utils = pytest.importorskip("ray.cluster_utils", reason="Ray is not installed: `pip install -e .[ray]`")
        self.folder = folder
        self._cluster = cluster_utils.Cluster()
        self._nodes: dict[str, Any] = {name: self._add(name) for name in ("one", "two")}

    @property
    def address(self) -> str:
        return str(self._cluster.address)

    def _add(self, name: str) -> Any:
        home = self.folder / name
        home.mkdir(exist_ok=True)
        variables = {"HOME": str(home), "XDG_CACHE_HOME": str(home / "cache"), "DVC_SITE_CACHE_DIR": str(home / "dvc")}
        return self._cluster.add_node(num_cpus=1, node_name=name, env_vars=variables, include_dashboard=False)

    def lose(self, name: str) -> None:
        """Kills the node at once."""
        self._cluster.remove_node(self._nodes.pop(name), allow_graceful=False)

    def ensure(self) -> None:
        """Brings back what was lost."""
        for name in {"one", "two"} - self._nodes.keys():
            self._nodes[name] = self._add(name)

    def stages(self, name: str = "") -> list[psutil.Process]:
        """The stages that run in clones of a node, by default of any."""
        found = []
        for process in psutil.process_iter(["cmdline", "cwd"]):
            command = " ".join(process.info["cmdline"] or ())
            if " stages/" in command and str(process.info["cwd"]).startswith(str(self.folder / name)):
                found.append(process)
        return found

    def close(self) -> None:
        self._cluster.shutdown()


def with_search(project: TinyProject) -> TinyProject:
    """Leaves of the study an experiment, and a search that starts from it."""
    units = {"low": 2, "high": 8, "log": True}
    space = {"units": units, "embedding": {"choices": ["random", "glove"]}}
    search = {"start": "lstm", "space": space, "trials": 8, "batch": 4, "rungs": 2, "reduction": 2, "seeds": [1, 2]}

    def change(study: dict[str, Any]) -> None:
        study["experiments"] = {"lstm": study["experiments"]["lstm"]}
        study |= {"searches": {"tuned": search}, "probes": []}
        del study["baselines"]["majority"]

    project.edit("params.yaml", change)
    return project


def trainings(project: TinyProject) -> list[dict[str, Any]]:
    """What the record of the search has."""
    record = project.folder / "checkpoints/searches/tiny/tuned/trainings.jsonl"
    lines = record.read_text().splitlines(keepends=True) if record.exists() else []
    return [json.loads(line) for line in lines[1:] if line.endswith("\n")]


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> TinyProject:
    """The study with a search after a serial run."""
    folder = tmp_path_factory.mktemp("searched")
    project = with_search(make_project(folder / "project", folder / "home"))
    project.textrnn("repro", "--jobs", "1")
    return project


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    nodes = Nodes(tmp_path_factory.mktemp("nodes"))
    yield nodes
    nodes.close()


@pytest.fixture
def fresh(tmp_path: Path, nodes: Nodes) -> TinyProject:
    """The project before anything has run, with a remote that every node reaches; no node knows it yet."""
    nodes.ensure()
    for name in ("one", "two"):
        shutil.rmtree(nodes.folder / name / "cache", ignore_errors=True)
    project = make_project(tmp_path / "project", tmp_path / "home")
    project.run("dvc", "remote", "add", "--default", "store", str(tmp_path / "store"))
    project.commit()
    return project


def start(project: TinyProject, nodes: Nodes) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "textrnn", "repro", "--engine", "ray", "--address", nodes.address]
    return subprocess.Popen(
        command,
        cwd=project.folder,
        env=project.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def end(running: subprocess.Popen[str]) -> Result:
    output, _ = running.communicate(timeout=600)
    print(output)
    return Result(running.returncode, output)


def wait_until(condition: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found


def ended(result: Result) -> dict[str, str]:
    """The node on which each stage ended, as the terminal shows it: `[1/6] train@lstm on two done in 3 s`."""
    lines = [line.split() for line in result.lines if line.startswith("[")]
    assert all("done" in line for line in lines), result
    return {line[1]: line[3] if line[2] == "on" else "" for line in lines}


def assert_same(project: TinyProject, serial: TinyProject) -> None:
    assert project.lock() == serial.lock()
    assert project.report() == serial.report()
    assert project.dvc("status").lines[-1] == "Data and pipelines are up to date."


def is_driver(process: psutil.Process) -> bool:
    return process.cmdline()[1:2] == ["stages/search.py"]


def assert_resumed(project: TinyProject, kept: list[dict[str, Any]], serial: TinyProject) -> None:
    """The search went on from what was `kept`, repeated no training that was finished, and found the same."""
    assert trainings(project)[: len(kept)] == kept
    done = Counter((training["training"], len(training["is"]["history"])) for training in trainings(project))
    assert set(done.values()) == {1} and len(done) == len(trainings(serial))
    assert_same(project, serial)


@pytest.mark.long
def test_a_cluster_gives_the_bytes_of_a_serial_run(finished: TinyProject, fresh: TinyProject, nodes: Nodes):
    result = end(start(fresh, nodes))
    assert result.status == 0, result
    where = ended(result)
    assert {*TRAININGS, "baseline@nb-svm", "probe@lstm"} <= where.keys()
    assert set(where.values()) == {"one", "two"}
    assert_same(fresh, finished)
    assert not nodes.stages()


@pytest.mark.long
def test_a_stage_that_fits_nowhere_fails_at_once(nodes: Nodes, project: TinyProject, monkeypatch: pytest.MonkeyPatch):
    nodes.ensure()
    monkeypatch.chdir(project.folder)
    project.run("dvc", "remote", "add", "--default", "store", str(project.folder / "store"))
    with Cluster(nodes.address) as cluster:
        status, lines = cluster.run("train@lstm", Resources(cpus=2), print)
    assert status == 1
    assert re.match(r"error: no node has room for cpus=2 gpus=0.0 memory_gb=None. Largest nodes: 1 CPU, ", lines[0])


@pytest.mark.long
def test_a_lost_node_costs_what_ran_on_it(finished: TinyProject, fresh: TinyProject, nodes: Nodes):
    running = start(fresh, nodes)
    wait_until(lambda: any("stages/train.py" in stage.cmdline() for stage in nodes.stages("two")))
    nodes.lose("two")
    wait_until(lambda: not nodes.stages("two"))  # no stage outlives its node's processes
    result = end(running)
    assert result.status == 0, result
    assert set(ended(result)) >= {*TRAININGS, "probe@lstm"}
    assert_same(fresh, finished)


@pytest.mark.long
def test_all_nodes_train_for_a_search_and_one_that_was_stopped_resumes(
    searched: TinyProject, fresh: TinyProject, nodes: Nodes
):
    running = start(with_search(fresh), nodes)
    wait_until(lambda: {training["on"] for training in trainings(fresh)} == {"one", "two"})
    running.send_signal(signal.SIGTERM)
    assert end(running).status == 128 + signal.SIGTERM
    wait_until(lambda: not nodes.stages())
    kept = trainings(fresh)
    assert len(kept) < len(trainings(searched))
    result = end(start(fresh, nodes))
    assert result.status == 0, result
    assert {"search@tuned", "winner@tuned"} <= ended(result).keys()
    assert_resumed(fresh, kept, searched)
    wait_until(lambda: not nodes.stages())


@pytest.mark.long
def test_a_search_loses_what_ran_on_a_lost_node_and_goes_on_without_its_driver(
    searched: TinyProject, fresh: TinyProject, nodes: Nodes
):
    running = start(with_search(fresh), nodes)
    wait_until(lambda: any(training["on"] == "two" for training in trainings(fresh)))
    nodes.lose("two")
    before = len(trainings(fresh))
    wait_until(lambda: len(trainings(fresh)) > before + 1)
    [driver] = [each for each in psutil.Process(running.pid).children(recursive=True) if is_driver(each)]
    driver.kill()
    assert end(running).status == 1
    wait_until(lambda: not nodes.stages())
    kept = trainings(fresh)
    assert len(kept) < len(trainings(searched))
    result = end(start(fresh, nodes))
    assert result.status == 0, result
    assert_resumed(fresh, kept, searched)


@pytest.mark.long
def test_what_was_stopped_resumes_and_repeats_nothing(finished: TinyProject, fresh: TinyProject, nodes: Nodes):
    running = start(fresh, nodes)
    wait_until(lambda: any("stages/train.py" in stage.cmdline() for stage in nodes.stages()))
    running.send_signal(signal.SIGTERM)
    first = end(running)
    assert first.status == 128 + signal.SIGTERM, first
    assert "stopping" in first.text and "Traceback" not in first.text
    wait_until(lambda: not nodes.stages())
    second = end(start(fresh, nodes))
    assert second.status == 0, second
    assert not ended(first).keys() & ended(second).keys()
    assert_same(fresh, finished)


def test_a_node_has_uncommitted_changes_and_not_those_of_results(project: TinyProject, tmp_path: Path):
    project.append("params.yaml", "# né\n")
    project.append("src/textrnn/__init__.py", "# later\n")
    project.append("dvc.lock", "# result\n")
    (tmp_path / "clone").mkdir()
    for _ in range(2):  # the second time over what is there
        Checkout.of(project.folder).restore(tmp_path / "clone")
        for name in ("params.yaml", "src/textrnn/__init__.py", "stages/train.py"):
            assert (tmp_path / "clone" / name).read_bytes() == (project.folder / name).read_bytes()
        assert "result" not in (tmp_path / "clone" / "dvc.lock").read_text()
        assert not (tmp_path / "clone" / "src" / "left.py").exists()
        (tmp_path / "clone" / "src" / "left.py").touch()
        (tmp_path / "clone" / "stages" / "train.py").unlink()
    (project.folder / "src" / "new.py").touch()
    with pytest.raises(TextrnnError, match=r"src/new.py: git does not know it.*`git add` it"):
        Checkout.of(project.folder)


def test_a_clone_that_stays_has_nothing_of_another_study(
    project: TinyProject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    checkout, lock = Checkout.of(project.folder), project.read("dvc.lock")
    with clone(checkout, lock) as first:
        for name in ("glove", "others"):
            (first / "data" / "embeddings" / name).mkdir(parents=True)
        with clone(checkout, lock) as second:
            assert second != first
    with clone(checkout, lock) as again:
        assert again == first
        assert [folder.name for folder in (again / "data" / "embeddings").iterdir()] == ["glove"]
        assert (again / "dvc.lock").read_text() == lock


def test_what_a_cluster_needs_is_named(project: TinyProject, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(project.folder)
    with pytest.raises(TextrnnError, match=r"default remote, and there is none. Add one .*`dvc remote add"):
        Cluster(None)
    project.run("dvc", "remote", "add", "--default", "store", str(project.home / "store"))
    with pytest.raises(TextrnnError, match=r"no Ray cluster at 127.0.0.1:1: .* `ray status`"):
        Cluster("127.0.0.1:1")
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(TextrnnError, match=r"needs Ray: `pip install -e '.\[cpu,ray\]'`"):
        Cluster(None)


def test_checkpoints_are_copied_when_they_change_and_found_elsewhere(
    project: TinyProject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(project.folder)
    project.run("dvc", "remote", "add", "--default", "store", str(tmp_path / "store"))
    here, elsewhere = tmp_path / "here", tmp_path / "elsewhere"
    saved = Saved(here, "abc/train@lstm.tar", seconds=0)
    assert not saved.copy_if_due() and not here.exists()
    for text in ("first", "second"):
        (here / "lstm").mkdir(parents=True, exist_ok=True)
        (here / "lstm" / "0.npz").write_text(text)
        assert saved.copy_if_due() and not saved.copy_if_due()
    assert not Saved(here, "abc/train@lstm.tar").copy_if_due()  # not that soon

    (elsewhere / "gru").mkdir(parents=True)
    Saved(elsewhere, "abc/train@lstm.tar")
    assert [path.relative_to(elsewhere).as_posix() for path in sorted(elsewhere.rglob("*"))] == ["lstm", "lstm/0.npz"]
    assert (elsewhere / "lstm" / "0.npz").read_text() == "second"
    forget(saved.name)
    forget(saved.name)
    Saved(elsewhere, "abc/train@lstm.tar")
    assert not elsewhere.exists()


def test_files_for_clusters_are_well_formed():
    """No more can be said of them where there is no Slurm and no Kubernetes."""
    subprocess.run(["bash", "-n", PROJECT / "deploy" / "slurm.sbatch"], check=True)
    job = yaml.safe_load((PROJECT / "deploy" / "kuberay.yaml").read_text())
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
