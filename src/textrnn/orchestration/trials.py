"""The trainings of a search on a Ray cluster: each is a task, and runs on whatever node has room for it.

There it is done by a process of the search's own stage, in a clone with the head's code, which stays for the next
training. The checkpoint from which a training continues comes with the task, and the one that it leaves returns with
the result. So any node can go on, and with a lost one only what ran there is lost, which Ray repeats elsewhere.
"""

from __future__ import annotations

import json
import pickle
import shutil
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from textrnn.config.sections import Resources
from textrnn.errors import TextrnnError
from textrnn.orchestration.cluster import Checkout, amounts, as_task, clone, connect, node, reason
from textrnn.project import dvc, remote
from textrnn.search.halving import Task, Training
from textrnn.search.trainings import Inputs

Files = dict[str, bytes]
"""The files of a checkpoint, by name."""


@dataclass(frozen=True)
class NodeWork:
    """What a node needs to train for a search.

    Attributes:
        lock: the text of dvc.lock.
        reads: the stages whose outputs the search reads.
        command: what Python runs there.
    """

    checkout: Checkout
    lock: str
    reads: list[str]
    command: list[str]


class Trials:
    """A search's executor (`search.trainings.Executor`) that trains on a Ray cluster.

    Args:
        stage: of the search, which this process runs.
        resources: what each training gets.

    Raises:
        TextrnnError: no Ray cluster answers at `address`, or none of its nodes has the resources.
    """

    def __init__(self, address: str, stage: str, inputs: Inputs, resources: Resources) -> None:
        self._ray, self._inputs, self._wanted = connect(address), inputs, amounts(resources)
        self._task = as_task(_train, stage, resources)
        reads, lock = remote.inputs(stage)
        self._work = self._ray.put(NodeWork(Checkout.of(Path()), lock, reads, [*sys.argv, "--for-cluster"]))
        self._running: dict[Future[Any], Any] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for running in self._running.values():
            self._ray.cancel(running, force=True)
        self._ray.shutdown()

    @property
    def jobs(self) -> int:
        """For how many trainings the cluster has room, as large as it is now."""
        total = self._ray.cluster_resources()
        return max(1, int(min(total.get(what, 0) // amount for what, amount in self._wanted.items() if amount)))

    def start(self, waiting: Sequence[Task]) -> tuple[Task, Future[Any]]:
        """Hands the first of the tasks to Ray."""
        folder = self._folder(waiting[0])
        sent = pickle.dumps((self._inputs.key, self._inputs.vectors, waiting[0]))
        running = self._task.remote(self._work, str(folder), _files(folder), sent)
        future: Future[Any] = running.future()
        self._running[future] = running
        return waiting[0], future

    def result(self, task: Task, future: Future[Any]) -> tuple[Training, str]:
        """Returns what was trained, and on which node; its checkpoint is among those of the search."""
        del self._running[future]
        try:
            where, answer, files = future.result()
        except self._ray.exceptions.RayError as error:
            raise TextrnnError(
                f"trial {task.trial}: {reason(error)}. What was finished is kept: correct that, and run this again."
            ) from None
        _write(self._folder(task), files)
        return Training(**json.loads(answer)), where

    def _folder(self, task: Task) -> Path:
        return self._inputs.checkpoints / self._inputs.name(task)


class NodeProcess:
    """A process that trains for a search, in a clone of the project on this node."""

    def __init__(self, work: NodeWork) -> None:
        self._clone = ExitStack()
        self.project = self._clone.enter_context(clone(work.checkout, work.lock))
        pulled = dvc.ask("pull", "--quiet", "--force", *work.reads, folder=self.project)
        if pulled.returncode != 0:
            raise TextrnnError(f"{node()} cannot get what a training reads: {pulled.stderr.strip()}")
        self._errors = self.project / ".dvc" / "tmp" / "errors.txt"
        with self._errors.open("w") as errors:
            self._process = subprocess.Popen(
                [sys.executable, *work.command],
                cwd=self.project,
                env={**dvc.environment(), "PYTHONPATH": "src"},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
            )

    def train(self, sent: bytes) -> bytes:
        """Returns the process' answer, a line. Raises `TextrnnError`: it has ended, with the reason as far as known."""
        requests, answers = self._process.stdin, self._process.stdout
        assert requests and answers
        try:
            requests.write(sent)
            requests.flush()
            answer = answers.readline()
        except BrokenPipeError:
            answer = b""
        if not answer.endswith(b"\n"):
            said = "a process was killed, perhaps because memory ran out"
            if self._process.wait() > 0:
                said = (
                    self._errors.read_text(encoding="utf-8", errors="replace")
                    .strip()
                    .rpartition("\n")[2]
                    .removeprefix("error: ")
                )
            self._clone.close()
            raise TextrnnError(f"{node()}: {said}")
        return answer


_processes: list[NodeProcess] = []
"""Those of this process that are free: one at most, as Ray's processes work for one search each, task by task."""


def _train(work: NodeWork, folder: str, files: Files, sent: bytes) -> tuple[str, bytes, Files]:
    """Runs on a node: returns its name, the training as JSON, and its checkpoint."""
    process = _processes.pop() if _processes else NodeProcess(work)
    checkpoint = process.project / folder
    shutil.rmtree(checkpoint.parent, ignore_errors=True)  # of trainings that were done, or went on elsewhere
    _write(checkpoint, files)
    answer = process.train(sent)
    _processes.append(process)
    return node(), answer, _files(checkpoint)


def _files(folder: Path) -> Files:
    return {file.name: file.read_bytes() for file in folder.glob("*.npz")}


def _write(folder: Path, files: Files) -> None:
    """Writes `files`; a kill leaves each as it was, or whole."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        unfinished = folder / f"{name}.part"
        unfinished.write_bytes(content)
        unfinished.replace(folder / name)
