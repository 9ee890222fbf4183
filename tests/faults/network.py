"""A network that is not there, stalls, cuts, or serves half an archive; a real server on this machine."""

from __future__ import annotations

import ssl
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Literal

from tiny_project import snippets_csv

from faults.study import REPRO, forget
from faults.trial import Fault, Trial, needs

Mode = Literal["well", "stall", "cut", "half"]


class Archive(ThreadingHTTPServer):
    """Serves the corpus. The next `bad` answers stall after a half, or are cut there, or have zeros from there on.

    Attributes:
        variables: environment variables of a client: it has to trust this server's certificate.
    """

    daemon_threads = True

    def __init__(self, certificate: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
        self.variables = {"REQUESTS_CA_BUNDLE": str(certificate), "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}
        self.mode: Mode = "well"
        self.bad = 0
        self.end = threading.Event()

    @property
    def url(self) -> str:
        """Where the corpus is."""
        return f"https://127.0.0.1:{self.server_port}/snippets.csv"


class _Handler(BaseHTTPRequestHandler):
    server: Archive

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted else 0
        body = snippets_csv().encode()[start:]
        mode: Mode = self.server.mode if self.server.bad > 0 else "well"
        self.server.bad -= 1
        half = len(body) // 2
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{start + len(body) - 1}/{start + len(body)}")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write({"well": body, "half": body[:half] + bytes(len(body) - half)}.get(mode, body[:half]))
        if mode == "stall":
            self.server.end.wait(PATIENCE)

    def log_message(self, *_: object) -> None:
        """Prints nothing."""


PATIENCE = 300.0
"""Seconds that a stalled answer stays open: more than the client waits."""

LOOK = "check the address, your network and your proxy"


@contextmanager
def served_archive() -> Iterator[Archive]:
    """One for all trials: its address is in the catalog, so in dvc.lock."""
    with tempfile.TemporaryDirectory() as folder, Archive(_certificate(Path(folder))) as archive:
        thread = threading.Thread(target=archive.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield archive
        finally:
            archive.end.set()
            archive.shutdown()
            thread.join()


def _certificate(folder: Path) -> Path:
    """Makes key and certificate of the server, in one file."""
    file = folder / "server.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(file), "-out", str(folder / "certificate")]
    subprocess.run(command, check=True, capture_output=True)
    with file.open("ab") as stream:
        stream.write((folder / "certificate").read_bytes())
    return file


def no_network(trial: Trial) -> None:
    """no network"""
    needs("unshare")
    _lose_archive(trial)
    trial.says(trial.call(*REPRO, prefix=("unshare", "--net")), LOOK)
    trial.recover()


def stalled_network(trial: Trial) -> None:
    """the server stops in the middle of the archive; the same call goes on after a minute"""
    _lose_archive(trial, "stall", 1)
    trial.recover()


def cut_network(trial: Trial) -> None:
    """every answer is cut in the middle"""
    archive = _lose_archive(trial, "cut", 1000)
    trial.says(trial.call(*REPRO), LOOK)
    archive.bad = 0
    trial.recover()


def half_an_archive(trial: Trial) -> None:
    """the archive has the right length, and zeros from its middle on"""
    _lose_archive(trial, "half", 1)
    trial.says(trial.call(*REPRO), "run it again; if the hash is the same then")
    trial.recover()


def _lose_archive(trial: Trial, mode: Mode = "well", bad: int = 0) -> Archive:
    """Deletes the downloaded archive; the next `bad` answers are as `mode` says."""
    archive = trial.reference.archive
    assert archive is not None
    archive.mode, archive.bad = mode, bad
    trial.renew(finished=True)
    forget(trial.project, "download_corpus")
    trial.note("download_corpus")
    return archive


FAULTS = tuple(Fault(inject, 1) for inject in (no_network, stalled_network, cut_network, half_an_archive))
