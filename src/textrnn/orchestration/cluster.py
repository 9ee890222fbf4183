"""Stages on a Ray cluster: each is a task, and runs in a clone of the project on a node that has room for it.

The head sends what git knows: the commit, what was changed in tracked files since, and dvc.lock. A node gets a stage's
inputs from DVC's default remote, runs it with DVC, and pushes its outputs and DVC's record of the run (the run cache).
The head then finds the stage in the run cache, so dvc.lock is the same as after a run on the head alone, and a stage
that was finished anywhere is not run again. Ray schedules, and repeats a task whose node is lost.

A search is no task, but each of its trainings: see `trials.py`.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import chdir, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from filelock import FileLock, Timeout

from textrnn.config.params import load_params
from textrnn.config.sections import CLUSTER, Resources
from textrnn.errors import TextrnnError, first_line
from textrnn.orchestration.supervisor import Stopped, Supervisor
from textrnn.process import JOBS
from textrnn.project import git
from textrnn.project.origin import Origin
from textrnn.project.prune import prune
from textrnn.project.remote import default_remote, forget, inputs, leave, take

RETRIES = 5
"""How often a task is repeated whose node or process was lost."""

LANES = 256
"""So many tasks at most wait for the cluster or run there."""

COPY_SECONDS = 60.0
"""How old the last copy of a task's checkpoints must be for a new one."""

GIGABYTE = 10**9

Listener = Callable[[str], None]


@dataclass(frozen=True)
class Checkout:
    """The head's project, as git can restore it elsewhere.

    Attributes:
        name: of the repository: the same for all its clones.
        bundle: git's objects up to `commit`.
        commit: the commit that is checked out.
        patch: what was changed in tracked files since, except results.
        inside: the project's path in the repository, with a slash at its end; empty at the top.
    """

    name: str
    bundle: bytes
    commit: str
    patch: str
    inside: str

    @classmethod
    def of(cls, project: Path) -> Self:
        """Describes `project`. Raises `TextrnnError`: git does not know all of its code."""
        unknown = [name for name, state in git.changed(project, "src", "stages").items() if state == "??"]
        if unknown:
            raise TextrnnError(
                f"{', '.join(unknown)}: git does not know it, and a node gets its code from git. `git add` it, or "
                "delete it."
            )
        origin = Origin.of_checkout(project)
        if origin.commit is None:
            raise TextrnnError("a node gets its code from git, and there is no commit here. `git commit` first.")
        with tempfile.TemporaryDirectory() as scratch:
            bundle = Path(scratch, "bundle")
            git.text(project, "bundle", "create", "--quiet", str(bundle), "HEAD")
            first = git.text(project, "rev-list", "--max-parents=0", "HEAD").split()[-1]
            return cls(first, bundle.read_bytes(), origin.commit, origin.patch, git.prefix(project))

    def restore(self, folder: Path) -> None:
        """Makes `folder` a clone in this state; what git ignores there stays."""
        with tempfile.TemporaryDirectory() as scratch:
            bundle, patch = Path(scratch, "bundle"), Path(scratch, "patch")
            bundle.write_bytes(self.bundle)
            if not (folder / ".git").exists():
                git.text(folder, "init", "--quiet")
            git.text(folder, "fetch", "--quiet", "--force", str(bundle), "HEAD")
            git.text(folder, "checkout", "--quiet", "--force", "--detach", self.commit)
            git.text(folder, "clean", "--quiet", "--force", "-d")
            if self.patch:
                patch.write_text(self.patch, encoding="utf-8", newline="\n")
                git.text(folder, "apply", str(patch))


class Cluster:
    """A connection to a Ray cluster; as a context, leaving it cancels what still runs there.

    Args:
        address: of the cluster, as `ray start` prints it; None takes RAY_ADDRESS, or starts one on this machine.

    Raises:
        TextrnnError: Ray is not installed or does not answer, or the project has no default remote.
    """

    def __init__(self, address: str | None) -> None:
        if default_remote() is None:
            raise TextrnnError(
                "--engine ray: nodes get inputs from DVC's default remote, and there is none. Add one that all nodes "
                "reach: `dvc remote add --default NAME ADDRESS`."
            )
        checkout = Checkout.of(Path())
        ray = connect(address or os.environ.get("RAY_ADDRESS"))
        from ray.util.queue import Queue
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        self._ray, self._checkout = ray, ray.put(checkout)
        os.environ[CLUSTER] = ray.get_runtime_context().gcs_address
        # Here, or it would be lost with whatever node it is on.
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        self._lines = Queue(actor_options={"num_cpus": 0, "scheduling_strategy": here})
        self._listeners: dict[str, Listener] = {}
        self._tasks: set[Any] = set()
        self._alone, self._is_open = threading.Lock(), True
        self._listening = threading.Thread(target=self._listen, daemon=True)
        self._listening.start()
        self.pool = ThreadPoolExecutor(LANES)

    @property
    def cpus(self) -> int:
        """The cores of all nodes."""
        return int(self._ray.cluster_resources().get("CPU", 1))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._is_open = False
        del os.environ[CLUSTER]
        for task in list(self._tasks):
            self._ray.cancel(task)
        self.pool.shutdown(cancel_futures=True)
        self._listening.join(timeout=10)
        self._ray.shutdown()

    def run(self, stage: str, resources: Resources, on_line: Listener) -> tuple[int, list[str]]:
        """Runs a stage on a node; returns its exit status, and the lines that it printed.

        `on_line` is called with each line as it comes, the first names the node.
        """
        try:
            work = as_task(_work, stage, resources)
        except TextrnnError as error:
            return 1, [f"error: {error}"]
        with self._alone:  # DVC's library is not made for threads
            reads, lock = inputs(stage)
        self._listeners[stage] = on_line
        running = work.remote(self._checkout, stage, reads, lock, resources.cpus, self._lines)
        self._tasks.add(running)
        try:
            status, lines = self._ray.get(running)
            return status, lines
        except self._ray.exceptions.RayError as error:
            if not self._is_open:  # it was cancelled, and its end is no failure
                raise Stopped(signal.SIGTERM) from None
            return 1, [f"error: {reason(error)}"]
        finally:
            self._tasks.discard(running)
            del self._listeners[stage]

    def _listen(self) -> None:
        """Gives the lines that come from all nodes to the listeners of their stages."""
        with suppress(self._ray.exceptions.RayError):  # the cluster is gone, and so is what ran there
            while self._is_open:
                for stage, line in self._lines.get_nowait_batch(self._lines.qsize()):
                    self._listeners.get(stage, str)(line)  # it may have ended just now
                time.sleep(0.2)


def _work(checkout: Checkout, stage: str, reads: list[str], lock: str, cpus: int, lines: Any) -> tuple[int, list[str]]:
    """Runs on a node: returns the exit status of `stage`, and the lines that it printed."""
    printed: list[str] = []

    def on_line(line: str) -> None:
        if line.strip():
            printed.append(line)
            lines.actor.put_nowait.remote((stage, line))  # not waited for: Ray gives the cores of a waiting task away

    on_line(f"on {node()}")
    commands = (
        ("pull", "--quiet", "--force", *reads),
        ("repro", "--pull", "--single-item", stage),
        ("push", "--quiet", "--run-cache", stage),
    )
    with clone(checkout, lock) as project:
        os.environ[JOBS] = str(cpus)
        os.environ["PYTHONPATH"] = str(project / "src")
        with chdir(project), ThreadPoolExecutor(1) as pool, Supervisor() as supervisor:
            saved = Saved(Path("checkpoints"), f"{checkout.name}/{stage}.tar")
            for command in commands:
                running = pool.submit(supervisor.run, *command, on_line=on_line, merge_errors=True)
                while not running.done():  # Ray cancels a task like Ctrl-C does, which waits for no lock
                    time.sleep(0.1)
                    saved.copy_if_due()
                if status := running.result():
                    return status, printed
            forget(saved.name)
    return 0, printed


class Saved:
    """Checkpoints, of which the default remote has a copy: a task that is repeated elsewhere continues from there.

    Args:
        folder: where stages write theirs; it becomes what the remote has.
        name: of the copy.
        seconds: at least so many pass between two copies.
    """

    def __init__(self, folder: Path, name: str, seconds: float = COPY_SECONDS) -> None:
        self.name, self._folder, self._seconds = name, folder, seconds
        take(folder, name)
        self._copied, self._state = time.monotonic(), self._files()

    def copy_if_due(self) -> bool:
        """Copies what has changed, if the last copy is old enough; returns whether it did."""
        if time.monotonic() - self._copied < self._seconds:
            return False
        self._copied, before = time.monotonic(), self._state
        with suppress(OSError):  # a checkpoint that is replaced at this moment: the next time, then
            if (now := self._files()) != before:
                leave(self._folder, self.name)
                self._state = now
        return self._state != before

    def _files(self) -> dict[Path, int]:
        return {file: file.stat().st_mtime_ns for file in self._folder.rglob("*") if file.is_file()}


def connect(address: str | None) -> Any:
    """Connects this process to the Ray cluster at `address`, by default to one that starts here; returns the module.

    Raises `TextrnnError`: Ray is not installed, or does not answer.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError:
        raise TextrnnError("--engine ray needs Ray: `pip install -e '.[cpu,ray]'`.") from None
    try:
        host, _, port = (address or "").rpartition("/")[2].rpartition(":")
        if port.isdigit():  # where nobody listens Ray would try for minutes, and log each time
            socket.create_connection((host, int(port)), timeout=10).close()
        ray.init(address, logging_level=logging.ERROR, log_to_driver=False, include_dashboard=bool(address) and None)
    except (OSError, ValueError, RuntimeError) as error:
        raise TextrnnError(
            f"no Ray cluster at {address}: {first_line(error)}. `ray status` shows whether it runs."
        ) from None
    return ray


def as_task(function: Callable[..., Any], name: str, resources: Resources) -> Any:
    """Returns the Ray task that runs `function` on a node with `resources`, again if the node is lost.

    Raises `TextrnnError`: no node has them.
    """
    import ray

    wanted = amounts(resources)
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]
    if not any(all(node.get(what, 0) >= least for what, least in wanted.items()) for node in nodes):
        largest = ", ".join(f"{max(node.get(what, 0) for node in nodes):.0f} {what}" for what in wanted)
        raise TextrnnError(f"no node has room for {resources}. Largest nodes: {largest}. See docs/scaling.md.")
    cpus, gpus, memory = wanted.values()
    options: Any = {"num_cpus": cpus, "num_gpus": gpus, "memory": memory or None, "max_retries": RETRIES, "name": name}
    return ray.remote(**options)(function)


def amounts(resources: Resources) -> dict[str, float]:
    """Returns `resources` by the names that Ray has for them."""
    memory = int((resources.memory_gb or 0) * GIGABYTE)
    return {"CPU": resources.cpus, "GPU": resources.gpus, "memory": memory}


def reason(error: Exception) -> str:
    """Returns why a task failed, in a line."""
    return first_line(getattr(error, "cause", None) or error)


def node() -> str:
    """The name of the node that this process runs on, as `ray start --node-name` gave it; else its address."""
    import ray

    here = ray.get_runtime_context().get_node_id()
    nodes = ray.nodes()  # type: ignore[no-untyped-call]
    return next(str(node["NodeName"]) for node in nodes if node["NodeID"] == here)


@contextmanager
def clone(checkout: Checkout, lock: str) -> Iterator[Path]:
    """Yields the project in the first of this node's clones that no other task uses, with `lock` as dvc.lock."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "textrnn" / checkout.name
    for number in range(LANES):
        folder = home / str(number)
        folder.mkdir(parents=True, exist_ok=True)
        with suppress(Timeout), FileLock(home / f"{number}.lock", blocking=False):
            checkout.restore(folder)
            project = folder / checkout.inside
            (project / "dvc.lock").write_text(lock, encoding="utf-8", newline="\n")
            _share_cache(project, home / "cache")
            prune(project, load_params(project / "params.yaml"))  # a stage may read a folder with another study's
            yield project
            return
    raise TextrnnError(f"{home}: all {LANES} clones are in use.")


def _share_cache(project: Path, cache: Path) -> None:
    """Lets a project share DVC's cache with this node's other clones."""
    from configparser import ConfigParser

    local = ConfigParser(interpolation=None)
    local.read_dict({"cache": {"dir": str(cache), "shared": "group"}})
    with (project / ".dvc" / "config.local").open("w", encoding="utf-8") as file:
        local.write(file)
