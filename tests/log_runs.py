"""A client of a tracking server, in a process of its own: opens some runs at once, and logs to them in turn.

python tests/log_runs.py NAME RUNS EPOCHS prints the seconds of each call, as a list of JSON.
"""

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from textrnn.tracking.store import open_store
from textrnn.tracking.upload import upload


def main(name: str, runs: int, epochs: int) -> None:
    calls: list[float] = []

    @contextmanager
    def timed() -> Iterator[None]:
        started = time.perf_counter()
        yield
        calls.append(time.perf_counter() - started)

    store = open_store(Path.cwd(), "load/test")
    opened = []
    for number in range(runs):
        with timed():
            opened.append(store.create({"mlflow.runName": f"{name} {number}"}, {"units": 64, "cell": "lstm"}))
    for epoch in range(1, epochs + 1):
        for run_id in opened:
            with timed():
                store.log_metrics(run_id, [(epoch, {f"metric_{each}": epoch + each / 10 for each in range(8)})])
    with TemporaryDirectory() as folder:
        Path(folder, "history.csv").write_text("epoch,loss\n" + "1,0.5\n" * 2000, encoding="utf-8")
        for run_id in opened:
            with timed():
                upload(store, store.client.get_run(run_id).info.artifact_uri, Path(folder))
            with timed():
                store.close(run_id, [(0, {"valid_accuracy": 0.75})])
    print(json.dumps(calls))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
