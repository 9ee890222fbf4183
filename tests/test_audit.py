"""`make audit` asks for every package of the lock file, and fails if one has a known vulnerability."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import distributions
from pathlib import Path
from threading import Thread

import pytest
from tiny_project import PROJECT


class Database(BaseHTTPRequestHandler):
    """Answers as osv.dev does; knows of a vulnerability of each package in `vulnerable`."""

    asked: list[str]
    vulnerable: tuple[str, ...]

    def do_POST(self) -> None:
        name = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["package"]["name"]
        self.asked.append(name)
        known = {"id": "GHSA-test", "summary": "bad", "affected": [{"package": {"name": name, "ecosystem": "PyPI"}}]}
        known["affected"][0]["ranges"] = [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "999"}]}]
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps({"vulns": [known]} if name in self.vulnerable else {}).encode())

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def database() -> Iterator[str]:
    """The address of a database of vulnerabilities."""
    Database.asked, Database.vulnerable = [], ()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Database)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def audit(database: str) -> subprocess.CompletedProcess[str]:
    command = ["bash", PROJECT / ".ci" / "audit", "--vulnerability-service", "osv", "--osv-url", database]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(command, env={**os.environ, "PATH": path}, capture_output=True, text=True)


def test_every_package_is_looked_up(database: str) -> None:
    assert audit(database).returncode == 0
    pinned = set(re.findall(r"^([\w.-]+)==", (PROJECT / "requirements.lock").read_text(encoding="utf-8"), re.MULTILINE))
    installed = {re.sub(r"[-_.]+", "-", each.name).lower() for each in distributions()}
    assert pinned & installed <= set(Database.asked)


def test_a_known_vulnerability_fails(database: str) -> None:
    Database.vulnerable = ("jinja2",)
    done = audit(database)
    assert done.returncode == 1
    assert re.search(r"jinja2 +[\d.]+ +GHSA-test +999", done.stdout)
