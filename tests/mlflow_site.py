"""A real MLflow server with basic authentication that also serves artifacts, and a real PostgreSQL."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

USER, PASSWORD = "reviewer", "correct horse battery staple"
PATIENCE = 120
"""Seconds: what migrating an empty database may take on a busy machine."""


def free_port() -> int:
    """A TCP port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def postgresql() -> Iterator[str]:
    """Starts a PostgreSQL of its own, as Debian packages it; yields its address. Skips where there is none."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not programs:
        pytest.skip("PostgreSQL is not installed: Debian's package is called postgresql")
    folder = Path(tempfile.mkdtemp(prefix="textrnn-postgresql-"))
    user = "postgres" if os.geteuid() == 0 else None  # PostgreSQL refuses to run as root
    if user:
        shutil.chown(folder, user, user)

    def control(*command: str) -> None:
        subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL, user=user, group=user)

    program, data, port = programs[-1], str(folder / "data"), free_port()
    try:
        control(str(program / "initdb"), "--no-sync", "--auth=trust", "--username=mlflow", data)
        options = f"-p {port} -h 127.0.0.1 -k {folder}"
        control(str(program / "pg_ctl"), "-D", data, "-l", str(folder / "log"), "-o", options, "-w", "start")
        try:
            yield f"postgresql+psycopg2://mlflow@127.0.0.1:{port}/postgres"
        finally:
            control(str(program / "pg_ctl"), "-D", data, "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder)


@contextmanager
def mlflow_server(folder: Path, database: str) -> Iterator[dict[str, str]]:
    """Starts MLflow's server; yields the environment variables that a user of it sets."""
    port = free_port()
    (folder / "auth.ini").write_text(
        "[mlflow]\n"
        "default_permission = READ\n"
        f"database_uri = sqlite:///{folder / 'auth.db'}\n"
        f"admin_username = {USER}\n"
        f"admin_password = {PASSWORD}\n"
        "authorization_function = mlflow.server.auth:authenticate_request_basic_auth\n"
        "auth_cache_ttl_seconds = 3600\n"  # otherwise each request hashes the password: 0.3 s
    )
    command = [
        *(sys.executable, "-m", "mlflow", "server"),
        *("--app-name", "basic-auth"),
        *("--backend-store-uri", database, "--artifacts-destination", str(folder / "artifacts")),
        *("--host", "127.0.0.1", "--port", str(port), "--workers", "1"),
        *("--allowed-hosts", f"127.0.0.1:{port}"),
    ]
    environment = {
        **os.environ,
        "MLFLOW_AUTH_CONFIG_PATH": str(folder / "auth.ini"),
        "MLFLOW_FLASK_SERVER_SECRET_KEY": secrets.token_hex(),
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    with (folder / "server.log").open("wb") as log:
        server = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
    address = f"http://127.0.0.1:{port}"
    try:
        wait_for(f"{address}/health", server, folder / "server.log")
        yield {
            "MLFLOW_TRACKING_URI": address,
            "MLFLOW_TRACKING_USERNAME": USER,
            "MLFLOW_TRACKING_PASSWORD": PASSWORD,
        }
    finally:
        stop(server)


def wait_for(address: str, server: subprocess.Popen[bytes], log: Path) -> None:
    """Waits until `address` answers; a server that ends, or takes too long, fails with its log."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and server.poll() is None:
        try:
            if requests.get(address, timeout=5).ok:
                return
        except requests.RequestException:
            pass
        time.sleep(0.2)
    raise AssertionError(log.read_text(errors="replace")[-3000:])


def stop(server: subprocess.Popen[bytes]) -> None:
    """Ends a server and its workers."""
    if server.poll() is None:
        os.killpg(server.pid, 15)
        server.wait(30)
