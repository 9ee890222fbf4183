"""Requests to a served model: `textrnn serve` against MLflow's own server with the same network in Keras."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from functools import partial
from http.client import HTTPConnection
from itertools import cycle, islice
from pathlib import Path

import numpy as np
import polars as pl
import psutil

from benchmarks.data import Workplace
from benchmarks.measure import Claim, Figures, Result, alternate, best, cores, environment, in_process
from benchmarks.prediction import untrained_model
from textrnn.config.sections import Serving

Command = Callable[[int], list[str]]
"""A server's command line, by its port."""

CLIENTS, BATCHES = (1, 8, 64), (1, 256)
SECONDS, WARM_UP = 8.0, 2.0
"""How long each number of clients and texts is measured, after requests that are not counted."""

PATIENCE = 120
"""Seconds that a server may take to start."""

SOAK, SOAK_WARM_UP, EVERY = 600.0, 60.0, 10.0
"""Seconds of a soak, of them before memory is compared, and between its readings."""

GROWTH = 8
"""MiB by which memory may be larger at the end of a soak, and still be called flat."""


def serving(work: Workplace) -> Result:
    """Requests per second and their latency."""
    seconds, warm_up = (0.5, 0.2) if work.quick else (SECONDS, WARM_UP)
    packages, reviews = _packages(work), work.reviews()
    settings = [(clients, batch) for batch in BATCHES for clients in CLIENTS]

    def measure(command: Command) -> Figures:
        figures: Figures = {}
        with _served(command, work.scratch) as (port, _):
            for clients, batch in settings:
                found = in_process(_load, port, reviews, clients, batch, seconds, warm_up)
                figures |= {f"{name} {clients} {batch}": value for name, value in found.items()}
        return figures

    contenders = {
        "textrnn serve": lambda _: measure(partial(_ours, packages["ours"])),
        "MLflow's server": lambda _: measure(partial(_theirs, packages["theirs"])),
    }
    here, there = alternate(contenders, work.repeats(2), work.say).values()
    return Result(
        [_claim(here, there, clients, batch) for clients, batch in settings],
        "Median and 99th percentile of the time to an answer, in ms: "
        f"{'; '.join(_latencies(here, there, clients, batch) for clients, batch in settings)}. "
        "`textrnn serve` (its limits at their defaults) against `mlflow models serve` with a model that "
        "encodes with this project's tokenizer and calls Keras' `predict` on input padded to 500: the same LSTM(32), "
        f"the same reviews in the same order. Clients are threads of one process on the same machine, which keep their "
        f"connections and ask again at once; each row is {seconds:g} s, after {warm_up:g} s that are not counted.",
    )


def soak(work: Workplace) -> Result:
    """Memory of the server while clients ask for single texts, batches, and what is refused."""
    seconds, warm_up, every = (3.0, 1.0, 0.5) if work.quick else (SOAK, SOAK_WARM_UP, EVERY)
    command = partial(_ours, _packages(work)["ours"])
    with _served(command, work.scratch) as (port, server), ThreadPoolExecutor() as pool:
        memory = psutil.Process(server).memory_info
        before = memory().rss / 2**20
        started, readings = time.perf_counter(), list[tuple[float, float]]()
        load = [pool.submit(in_process, _load, port, work.reviews(), 4, batch, seconds, 0.0) for batch in (1, 256)]
        load.append(pool.submit(in_process, _refused, port, seconds))
        while not all(each.done() for each in load):
            time.sleep(every)
            readings.append((time.perf_counter() - started, memory().rss / 2**20))
            work.say(f"{readings[-1][0]:.0f} of {seconds:.0f} s, {readings[-1][1]:.0f} MiB")
        single, batches, refused = (each.result() for each in load)
    warm = [size for at, size in readings if at >= warm_up]
    third = max(1, len(warm) // 3)
    first, last = float(np.median(warm[:third])), float(np.median(warm[-third:]))
    return Result(
        [
            Claim(
                "memory at the beginning, once warm",
                last,
                first,
                "MiB",
                f"{last - first:+.1f} MiB",
                f"at most {GROWTH} more",
                last - first <= GROWTH,
            )
        ],
        f"{seconds:.0f} s of requests by 4 clients with single reviews, 4 with batches of 256, and one whose requests "
        f"are refused: {single['requests']:,.0f}, {batches['requests']:,.0f} and {refused['requests']:,.0f} requests. "
        f"Resident memory of the server was {before:.0f} MiB before the first; after {warm_up:.0f} s it was "
        f"{min(warm):.0f} to {max(warm):.0f} MiB. Compared are the medians of the first and of the last third of this "
        "time.",
    )


def _packages(work: Workplace) -> dict[str, Path]:
    """Returns both models as MLflow serves them."""
    folder, model = work.scratch / "served", untrained_model(work)
    if not folder.is_dir():
        work.say("packing the models")
        in_process(_pack, folder, model)
    return {name: folder / name / "package" for name in ("ours", "theirs")}


def _pack(folder: Path, model: Path) -> Figures:
    import mlflow
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema

    from textrnn.tracking.logged_model import make_package

    warnings.simplefilter("ignore")  # MLflow wants an example
    make_package(folder / "ours" / "package", model, ["neg", "pos"])
    mlflow.pyfunc.save_model(
        folder / "theirs" / "package",
        python_model=str(Path(__file__).with_name("keras_model.py")),
        artifacts={"model": model.as_uri()},
        signature=ModelSignature(Schema([ColSpec("string", "text")])),
        pip_requirements=[],
    )
    return {}


def _ours(package: Path, port: int) -> list[str]:
    """Returns the command line that `textrnn serve` becomes."""
    from textrnn.tracking.scoring import command

    return command(str(package), port, cores(), Serving().model_dump_json())


def _theirs(package: Path, port: int) -> list[str]:
    """Returns the command line of MLflow's own server."""
    where = ["--model-uri", str(package), "--host", "127.0.0.1", "--port", str(port)]
    return [sys.executable, "-m", "mlflow", "models", "serve", "--env-manager", "local", *where]


@contextmanager
def _served(command: Command, folder: Path) -> Iterator[tuple[int, int]]:
    """Starts a server and waits until it answers; yields its port and its process id."""
    port = _free_port()
    log, arguments = folder / f"server-{port}.log", command(port)
    # MLflow's server imports `benchmarks`.
    variables = environment(PYTHONPATH=os.pathsep.join([str(Path.cwd()), os.environ.get("PYTHONPATH", "")]))
    with log.open("wb") as output:
        server = subprocess.Popen(arguments, env=variables, stdout=output, stderr=output, start_new_session=True)
    try:
        deadline = time.monotonic() + PATIENCE
        while not _answers(port):
            if server.poll() is not None or time.monotonic() > deadline:
                raise ConnectionError("no answer")
            time.sleep(0.1)
        yield port, server.pid
    except ConnectionError as error:
        sys.exit(f"{' '.join(arguments)} failed ({error}):\n{log.read_text(errors='replace')}")
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait()
        while _answers(port):  # MLflow's server is a child, which may outlive its parent
            time.sleep(0.1)


def _answers(port: int) -> bool:
    with closing(HTTPConnection("127.0.0.1", port, timeout=5)) as connection:
        try:
            connection.request("GET", "/ping")
            return connection.getresponse().status == 200
        except OSError:
            return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _load(port: int, reviews: Path, clients: int, batch: int, seconds: float, warm_up: float) -> Figures:
    """Sends the test reviews, `batch` at a time, from `clients` threads.

    Returns `requests`, `rate` (requests per second), `median` and `slow` (the 99th percentile, both ms).
    """
    texts = pl.read_parquet(reviews).filter(pl.col("split") == "test").sample(fraction=1, shuffle=True, seed=0)["text"]
    bodies = [
        json.dumps({"dataframe_split": {"columns": ["text"], "data": [[text] for text in rows["text"]]}}).encode()
        for rows in islice(texts.to_frame().iter_slices(batch), 2 * max(CLIENTS))
    ]
    counted = time.perf_counter() + warm_up
    latencies, ended = list[float](), list[float]()

    def client(number: int) -> None:
        is_counted = False
        with closing(HTTPConnection("127.0.0.1", port, timeout=300)) as connection:
            for body in islice(cycle(bodies), number, None):
                started = time.perf_counter()
                if is_counted and started > counted + seconds:  # each has one, however slow the server is
                    return
                is_counted = started >= counted
                status, answer = _ask(connection, body)
                if status != 200:
                    sys.exit(f"the server answered {status}: {answer[:500].decode(errors='replace')}")
                if is_counted:
                    ended.append(time.perf_counter())
                    latencies.append(ended[-1] - started)

    with ThreadPoolExecutor(clients) as pool:
        list(pool.map(client, range(clients)))
    return {
        "requests": len(latencies),
        "rate": len(latencies) / (max(ended) - counted),
        "median": 1000 * float(np.median(latencies)),
        "slow": 1000 * float(np.quantile(latencies, 0.99)),
    }


def _refused(port: int, seconds: float) -> Figures:
    """Sends bodies that are too large, of another format or no JSON, a few a second; returns how many `requests`."""
    bodies = (b" " * (Serving().max_bytes + 1), b'{"inputs": [5]}', b"[" * 10_000)
    deadline, requests = time.perf_counter() + seconds, 0
    with closing(HTTPConnection("127.0.0.1", port, timeout=300)) as connection:
        for body in cycle(bodies):
            if time.perf_counter() > deadline:
                return {"requests": requests}
            status, _ = _ask(connection, body)
            if status not in (400, 413):
                sys.exit(f"the server answered {status}, and not 400 or 413")
            requests += 1
            time.sleep(0.1)
    raise AssertionError("cycle has no end")


def _ask(connection: HTTPConnection, body: bytes) -> tuple[int, bytes]:
    connection.request("POST", "/invocations", body, {"Content-Type": "application/json"})
    response = connection.getresponse()
    return response.status, response.read()


def _claim(here: list[Figures], there: list[Figures], clients: int, batch: int) -> Claim:
    ours, theirs = (best(each, f"rate {clients} {batch}", "most") for each in (here, there))
    name = f"MLflow's own server with Keras, {_name(clients, batch)}"
    return Claim(name, ours, theirs, "requests/s", f"{ours / theirs:.2f}x", "≥ 5x", ours >= 5 * theirs)


def _latencies(here: list[Figures], there: list[Figures], clients: int, batch: int) -> str:
    ours, theirs = (
        " and ".join(f"{best(each, f'{name} {clients} {batch}'):,.0f}" for name in ("median", "slow"))
        for each in (here, there)
    )
    return f"{_name(clients, batch)}: {ours} here, {theirs} there"


def _name(clients: int, batch: int) -> str:
    return f"{clients} {'client' if clients == 1 else 'clients'}, {'one text' if batch == 1 else f'{batch} texts'}"
