"""The dashboard: MLflow's own, opened on the study."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import webbrowser
from collections.abc import Callable
from pathlib import Path
from threading import Thread
from urllib.error import URLError
from urllib.request import ProxyHandler, build_opener

from textrnn.config.params import Params
from textrnn.errors import TextrnnError
from textrnn.tracking.store import open_store
from textrnn.tracking.view import address


def show(project: Path, params: Params, port: int, say: Callable[[str], None]) -> int:
    """Serves the store until it is stopped; once it answers, says the link to the study and opens it in a browser.

    Nothing is served where `MLFLOW_TRACKING_URI` is a server. Returns the server's exit status.

    Raises:
        TextrnnError: the port is in use.
    """
    store = open_store(project, f"{params.study}/{params.corpus}")
    home = f"http://127.0.0.1:{port}"
    link = address(store, home)

    def answer() -> None:
        say(f"{params.study}: {link}")
        if has_browser():
            webbrowser.open(link)

    if store.uri.startswith("http"):
        answer()
        return 0
    check_free(port, "ui")
    where = ["--host", "127.0.0.1", "--port", str(port), "--workers", "1", "--uvicorn-opts", "--log-level warning"]
    variables = {
        "MLFLOW_BACKEND_STORE_URI": store.uri,  # which may hold a password: a command line would show it
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # jobs evaluate language models
        "PYTHONWARNINGS": "ignore",
    }
    server = subprocess.Popen(
        [sys.executable, "-m", "mlflow", "ui", *where],
        env={**os.environ, **variables},
        stdout=subprocess.DEVNULL,  # what it assumes; errors go to standard error
    )
    signal.signal(signal.SIGTERM, lambda *_: server.terminate())
    Thread(target=_when_up, args=(home, server, answer), daemon=True).start()
    while True:
        try:
            return server.wait()
        except KeyboardInterrupt:  # which the server got as well
            continue


def has_browser() -> bool:
    """Whether somebody sits here: a terminal, a screen, and no CI."""
    has_screen = sys.platform in ("win32", "darwin") or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    return bool(has_screen) and sys.stdout.isatty() and not os.environ.get("CI")


def check_free(port: int, command: str) -> None:
    """Raises a `TextrnnError` if `port` is in use, which `textrnn <command>` would serve at."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a server that has just ended leaves it occupied
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise TextrnnError(
                f"port {port} of this machine: {error.strerror}. Name another: `make {command} PORT=5002` or "
                f"`textrnn {command} --port 5002`."
            ) from None


def _when_up(home: str, server: subprocess.Popen[bytes], act: Callable[[], None]) -> None:
    opener = build_opener(ProxyHandler({}))
    while server.poll() is None:
        try:
            with opener.open(f"{home}/health", timeout=5):
                return act()
        except (URLError, OSError):
            time.sleep(0.2)
