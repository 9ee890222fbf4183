"""The trainings of a search: what was done is kept in a file, and an executor does the rest.

That is processes here, or a cluster (`orchestration.trials`). Each process imports the libraries, and loads tokens and
vectors, once. A training that goes on to the next rung continues from its checkpoint.
"""

from __future__ import annotations

import gc
import hashlib
import json
import multiprocessing
import os
import pickle
import shutil
import signal
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self

from filelock import FileLock, Timeout

from textrnn.config.experiment import Experiment
from textrnn.config.search import epoch_work
from textrnn.errors import TextrnnError
from textrnn.search.halving import Task, Training
from textrnn.search.progress import Progress

if TYPE_CHECKING:
    from textrnn.search.trainers import Trainers

RECORD = "trainings.jsonl"

TRAINING = tuple(
    f"src/textrnn/{part}"
    for part in ("modeling/", "embeddings/", "text/", "process.py", "run_folder.py", "search/trainers.py")
)
"""Code on which a training depends."""


@dataclass(frozen=True)
class Inputs:
    """Where a process finds what it trains on, and where it saves.

    Attributes:
        key: of the tokens, the code in `TRAINING` and the libraries: what was made with another one is void.
        vectors: the name of each embedding, and a digest.
    """

    tokens: Path
    embeddings: Path
    checkpoints: Path
    key: str
    vectors: tuple[tuple[str, str], ...]

    def name(self, task: Task) -> str:
        """Returns the name of a training in the record and among the checkpoints."""
        return hashlib.sha256(f"{task.key} {dict(self.vectors)[task.experiment.embedding]}".encode()).hexdigest()[:32]


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Keeps a second process out of what a search keeps in `folder`, such as one whose `dvc repro` was killed.

    Raises:
        TextrnnError: another process is in it.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder.with_name(f"{folder.name}.lock"), blocking=False)
    try:
        lock.acquire()
    except Timeout:
        raise TextrnnError(
            f"another process is at work on the search in {folder}, perhaps of a call that was killed. Wait until it "
            "is done, or stop it: what it has trained is kept."
        ) from None
    try:
        yield
    finally:
        lock.release()


class Record:
    """The trainings that were done, a line of JSON each. A line that a kill cut short is ignored."""

    def __init__(self, folder: Path, key: str) -> None:
        self._folder, self._file = folder, folder / RECORD
        self.known: dict[str, Training] = {}
        content = self._file.read_bytes() if self._file.is_file() else b""
        whole = content[: content.rfind(b"\n") + 1]
        try:
            head, *lines = map(json.loads, whole.splitlines())
            if head != {"key": key}:
                raise ValueError("of another training")
            self.known = {each["training"]: Training(**each["is"]) for each in lines}
            os.truncate(self._file, len(whole))
        except (ValueError, TypeError, KeyError, AttributeError):
            self.known = {}
            if content:
                sys.stderr.write(f"warning: {folder} was made with other inputs, code or libraries: deleted\n")
                shutil.rmtree(folder)
            folder.mkdir(parents=True, exist_ok=True)
            self._write("w", {"key": key})

    def add(self, name: str, training: Training, node: str | None = None) -> None:
        """Keeps a training, and on which node of a cluster it ran; it is on disk before this returns."""
        self.known[name] = training
        self._write("a", {"training": name, **({"on": node} if node else {}), "is": asdict(training)})

    def _write(self, mode: str, line: dict[str, Any]) -> None:
        try:
            with self._file.open(mode, encoding="utf-8") as stream:
                stream.write(json.dumps(line) + "\n")
                stream.flush()
                os.fsync(stream.fileno())
        except OSError as error:
            error.filename = error.filename or str(self._file)  # an error of writing has none
            raise

    def delete_checkpoints(self) -> None:
        """Deletes what a training would continue from: those of a batch that is decided."""
        for folder in self._folder.glob("*/"):
            shutil.rmtree(folder)


class Executor(AbstractContextManager["Executor"], Protocol):
    """Where trainings run; leaving the context ends what runs there."""

    @property
    def jobs(self) -> int:
        """How many trainings run at once, at least 1."""

    def start(self, waiting: Sequence[Task]) -> tuple[Task, Future[Any]]:
        """Starts one of the tasks; it is called while fewer than `jobs` run."""

    def result(self, task: Task, future: Future[Any]) -> tuple[Training, str | None]:
        """Returns what was trained, once its checkpoint is among those of the search, and the name of the node.

        Raises `TextrnnError`: the process was killed.
        """


class Workers:
    """Hands out trainings to `executor`, and keeps them in `record`; `progress` is informed of each."""

    def __init__(self, executor: Executor, inputs: Inputs, record: Record, progress: Progress) -> None:
        self._executor, self._inputs, self._record, self._progress = executor, inputs, record, progress

    def train(self, tasks: list[Task]) -> dict[str, Training]:
        """Does those of `tasks` that are not done yet, and returns all by key.

        Raises:
            TextrnnError: a process was killed.
        """
        waiting = []
        for task in tasks:
            known = self._record.known.get(self._inputs.name(task))
            if known is not None and known.is_enough(task):
                self._progress.known(task, known)
            else:
                waiting.append(task)
        # Longest first: one that begins last would leave the other processes idle (Graham, SIAM J. Appl. Math. 1969).
        waiting.sort(key=lambda task: -task.until * epoch_work(task.experiment))
        busy: dict[Future[Any], Task] = {}
        while waiting or busy:
            while waiting and len(busy) < self._executor.jobs:
                task, future = self._executor.start(waiting)
                waiting.remove(task)
                busy[future] = task
                self._progress.start(task)
            # Those that ended well first: what one of them raises comes after all others are kept.
            for future in sorted(wait(busy, return_when=FIRST_COMPLETED).done, key=lambda done: bool(done.exception())):
                task = busy.pop(future)
                training, node = self._executor.result(task, future)
                self._record.add(self._inputs.name(task), training, node)
                self._progress.end(task, training, node)
        return {task.key: self._record.known[self._inputs.name(task)] for task in tasks}


class Processes:
    """An executor: `jobs` processes on this machine, each of which starts when there is work for it.

    A training continues in the process that has its graph, if that is free. Where the context raises, they end at once.
    """

    def __init__(self, jobs: int, inputs: Inputs) -> None:
        self.jobs, self._inputs = jobs, inputs
        self._pools: list[ProcessPoolExecutor] = []
        self._last: dict[int, Future[Training]] = {}  # of each process
        self._graphs: defaultdict[int, set[Experiment]] = defaultdict(set)  # by process, of which settings it has one

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        for pool in self._pools:
            for process in (pool._processes or {}).values() if kind else ():  # no public way before Python 3.14
                process.terminate()
            pool.shutdown(cancel_futures=True)

    def start(self, waiting: Sequence[Task]) -> tuple[Task, Future[Any]]:
        """As `Executor.start`: a task whose graph a free process has, else one whose graph no other process has."""
        process = next(each for each in range(self.jobs) if each not in self._last or self._last[each].done())
        if process == len(self._pools):
            context = multiprocessing.get_context("spawn")
            self._pools.append(ProcessPoolExecutor(1, context, initializer=_begin))
        own = self._graphs[process]
        elsewhere = set().union(*(graphs for each, graphs in self._graphs.items() if each != process))
        task = min(waiting, key=lambda task: (task.experiment not in own, task.experiment in elsewhere))
        own.add(task.experiment)
        future = self._last[process] = self._pools[process].submit(_train, self._inputs, task)
        return task, future

    def result(self, task: Task, future: Future[Any]) -> tuple[Training, None]:
        """As `Executor.result`; there is no node."""
        try:
            return future.result(), None
        except BrokenProcessPool:
            experiment = task.experiment
            raise TextrnnError(
                f"a process was killed while it trained trial {task.trial} ({experiment.units} units, batches of "
                f"{experiment.batch_size}), perhaps because memory ran out. What was finished is kept: run this again, "
                "with fewer --jobs, or leave such settings out of the space."
            ) from None


def serve(inputs: Inputs) -> None:
    """Trains as a process on a node of a cluster: a task from standard input, the training to standard output, and on.

    Tasks are pickled, each after the search's key and vectors; trainings are lines of JSON. It ends with its input, or
    in the middle of a training with the process that started it.

    Raises:
        TextrnnError: key or vectors are not those of `inputs`.
    """
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # libraries may print
    with suppress(EOFError):
        while True:
            key, vectors, task = pickle.load(sys.stdin.buffer)
            if (key, vectors) != (inputs.key, inputs.vectors):
                raise TextrnnError(
                    "this node has other code, inputs or libraries than the head. Give both the same environment, of "
                    "requirements.lock and with the same KERAS_BACKEND and TEXTRNN_PRECISION, and run this again."
                )
            answers.write(json.dumps(asdict(_train(inputs, task))) + "\n")
            answers.flush()


def _begin() -> None:
    """Prepares a process that trains. It ends with its parent, however that ends; signals are the parent's."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _train(inputs: Inputs, task: Task) -> Training:
    training = _trainers(inputs).train(task)
    gc.collect()
    return training


@cache
def _trainers(inputs: Inputs) -> Trainers:
    from textrnn.search.trainers import Trainers  # deferred: the parent does without TensorFlow

    return Trainers(inputs)
