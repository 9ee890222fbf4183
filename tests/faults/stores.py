"""MLflow's database damaged, locked or of an older version; its server restarted, refusing, or silent."""

from __future__ import annotations

import http.client
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from mlflow_site import free_port, wait_for

from faults.study import REPRO, forget, untrack
from faults.trial import Call, Fault, Trial

OLDER = """\
import sys
from alembic import command
from alembic.script import ScriptDirectory
from mlflow.store.db.utils import _get_alembic_config
from mlflow.store.tracking.dbmodels.initial_models import Base
from sqlalchemy import create_engine

engine = create_engine(sys.argv[1])
Base.metadata.create_all(engine)
config = _get_alembic_config(sys.argv[1])
revisions = [each.revision for each in ScriptDirectory.from_config(config).walk_revisions()]
command.upgrade(config, revisions[int(sys.argv[2])])
"""
"""Makes the database that MLflow made so many migrations ago."""


def database_locked(trial: Trial) -> None:
    """another process holds `mlflow.db` locked, for the whole of a `textrnn sync`"""
    trial.renew(finished=True)
    with closing(sqlite3.connect(trial.project.folder / "mlflow.db", isolation_level=None)) as database:
        database.execute("DELETE FROM tags WHERE key = 'run.digest'")  # so that sync has to write
        database.execute("BEGIN EXCLUSIVE")
        trial.says(trial.call("sync"), "Another process writes there")
    trial.note()
    trial.recover("sync")


def database_corrupt(trial: Trial) -> None:
    """`mlflow.db` is emptied, cut, overwritten, or has flipped bits; it is moved elsewhere, as the message says"""

    def damaged(content: bytes, way: int) -> bytes:
        if way == 0:
            return b""
        if way == 1:
            return content[: trial.random.randrange(len(content))]
        if way == 2:
            return bytes(4096) + content[4096:]
        flipped = bytearray(content)
        for _ in range(2000):
            flipped[trial.random.randrange(len(flipped))] ^= 1 << trial.random.randrange(8)
        return bytes(flipped)

    for number in range(trial.times):
        trial.renew(finished=True)
        file = trial.project.folder / "mlflow.db"
        file.write_bytes(damaged(file.read_bytes(), number % 4))
        call = trial.call("sync")
        if call.status != 0:
            trial.says(call, "Move the database elsewhere")
            file.rename(file.with_name("damaged.db"))
        trial.note()
        trial.recover("sync")


def database_of_older_mlflow(trial: Trial) -> None:
    """`mlflow.db` is of an older MLflow, which upgrades it by itself, or it is done as the message says"""
    for age in (1, 12)[: trial.times]:
        trial.renew(finished=True)
        untrack(trial.project)
        uri = f"sqlite:///{trial.project.folder}/mlflow.db"
        trial.project.run(sys.executable, "-W", "ignore", "-c", OLDER, uri, str(age))
        call = trial.call("sync")
        if call.status != 0:
            trial.says(call, "mlflow db upgrade sqlite:///mlflow.db")
            trial.project.run("mlflow", "db", "upgrade", "sqlite:///mlflow.db")
        trial.note()
        trial.recover("sync")


def server_restarted(trial: Trial) -> None:
    """MLflow's server is killed in the middle of a training, and started again"""
    _with_server(trial, "restart", succeeds=True)


def server_error(trial: Trial) -> None:
    """MLflow's server answers 500 from the middle of a training on"""
    _with_server(trial, "500")


def server_refuses(trial: Trial) -> None:
    """MLflow's server answers 401 from the middle of a training on"""
    _with_server(trial, "401")


def server_silent(trial: Trial) -> None:
    """MLflow's server does not answer at all from the middle of a training on"""
    _with_server(trial, "silent")


class Gate(ThreadingHTTPServer):
    """Passes requests on to a real server, until the one number `last`: from then on it does as `mode` says."""

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.folder = folder
        self.port = free_port()
        self.last: int | None = None
        self.mode = ""
        self.count = 0
        self.lock = threading.Lock()
        self.end = threading.Event()
        self.starting = threading.Thread(target=self.start)
        self.starting.start()
        self.starting.join()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def start(self) -> None:
        """Starts the server, and waits until it answers."""
        log = self.folder / "server.log"
        with log.open("ab") as stream:
            self.server = subprocess.Popen(
                [
                    *(sys.executable, "-m", "mlflow", "server", "--workers", "1"),
                    *("--backend-store-uri", f"sqlite:///{self.folder}/server.db"),
                    *("--artifacts-destination", str(self.folder / "artifacts")),
                    *("--host", "127.0.0.1", "--port", str(self.port), "--allowed-hosts", "*"),
                ],
                env={**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"},
                stdout=stream,
                stderr=stream,
                start_new_session=True,
            )
        wait_for(f"http://127.0.0.1:{self.port}/health", self.server, log)

    def kill(self) -> None:
        """Kills the server and its workers."""
        with suppress(ProcessLookupError):
            os.killpg(self.server.pid, signal.SIGKILL)
        self.server.wait()

    def close(self) -> None:
        """Ends all."""
        self.end.set()
        self.shutdown()
        self.kill()

    def now(self) -> str:
        """What to do with the next request."""
        with self.lock:
            self.count += 1
            if self.last is None or self.count <= self.last:
                return ""
            if self.mode == "restart":
                self.last = None
                self.kill()
                self.starting = threading.Thread(target=self.start)
                self.starting.start()
                return ""
            return self.mode


class _Handler(BaseHTTPRequestHandler):
    server: Gate
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        mode = self.server.now()
        if mode == "silent":
            self.server.end.wait(60)
            self.close_connection = True
            return
        if mode:
            self._answer(int(mode), {"Content-Type": "text/plain"}, b"no")
            return
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=60)
        headers = {key: value for key, value in self.headers.items() if key.lower() != "host"}
        try:
            connection.request(self.command, self.path, body, headers)
            answer = connection.getresponse()
            self._answer(answer.status, dict(answer.getheaders()), answer.read())
        except OSError:  # it is being restarted: as one without a gate, it closes the connection
            self.close_connection = True
        finally:
            connection.close()

    do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = do_GET

    def _answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        for key, value in headers.items():
            if key.lower() not in ("content-length", "transfer-encoding", "connection", "date", "server"):
                self.send_header(key, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Prints nothing."""


def _with_server(trial: Trial, mode: str, succeeds: bool = False) -> None:
    """A training whose server is lost goes on, and says so. Once the server is back, `textrnn sync` makes it whole."""
    trial.renew(finished=True)
    forget(trial.project, "train@lstm")
    gate = Gate(trial.scratch)
    trial.undo.callback(gate.close)
    trial.store = (trial.scratch / "server.db", trial.scratch / "artifacts")
    trial.variables |= {"MLFLOW_TRACKING_URI": f"http://127.0.0.1:{gate.server_port}", "NO_PROXY": "127.0.0.1"}

    def act(trial: Trial, call: Call) -> None:
        gate.mode, gate.last = mode, gate.count + trial.random.randrange(1, 12)

    call = trial.call(*REPRO, act=act, when=lambda call: "train@lstm" in call.stages)
    trial.check(call.status == 0, f"the study did not go on:\n{call.text}")
    trial.check(gate.count > (gate.last or 0), "it was over before the server was lost")
    if not succeeds:
        trial.check("training continues without MLflow" in call.text, f"no word of it in:\n{call.text}")
        trial.says(trial.call("sync"), "Check MLFLOW_TRACKING_URI, user and password, and that the server runs.")
    gate.last = None
    gate.starting.join()
    trial.recover("sync")


FAULTS = (
    Fault(database_locked, 1),
    Fault(database_corrupt, 8),
    Fault(database_of_older_mlflow, 2),
    Fault(server_restarted, 1),
    Fault(server_error, 1),
    Fault(server_refuses, 1),
    Fault(server_silent, 1),
)
