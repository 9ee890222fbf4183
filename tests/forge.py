"""A forge in miniature: git over HTTP, which anybody reads and a token writes, and an API that takes comments."""

from __future__ import annotations

import base64
import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

TOKEN = "writes-to-the-repository"


@dataclass
class Forge:
    """The server's address, the folder of its bare repositories, and what was posted: path and text."""

    address: str
    folder: Path
    comments: list[tuple[str, str]] = field(default_factory=list)


@contextmanager
def forge(folder: Path) -> Iterator[Forge]:
    """Serves the bare repositories in `folder`."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    served = _Handler.served = Forge(f"http://127.0.0.1:{server.server_port}", folder)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield served
    finally:
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    served: Forge

    def do_GET(self) -> None:
        self._git(b"")

    def do_POST(self) -> None:
        body = self._body()
        if not self.path.startswith("/api/"):
            self._git(body)
        elif self.headers.get("PRIVATE-TOKEN") != TOKEN:
            self.send_error(401)
        else:
            self.served.comments.append((self.path, parse_qs(body.decode())["body"][0]))
            self._answer(201, {}, b"{}")

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        chunks = []
        while size := int(self.rfile.readline(), 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(chunks)

    def _git(self, body: bytes) -> None:
        """Answers as git's own CGI program does."""
        address = urlsplit(self.path)
        scheme, _, credentials = self.headers.get("Authorization", "").partition(" ")
        password = base64.b64decode(credentials).decode().partition(":")[2] if scheme.lower() == "basic" else ""
        if "git-receive-pack" in self.path and password != TOKEN:
            self._answer(401, {"WWW-Authenticate": 'Basic realm="forge"'}, b"")
            return
        team, repository, rest = address.path.lstrip("/").split("/", 2)
        done = subprocess.run(
            ["git", "http-backend"],
            input=body,
            env={
                **os.environ,
                "GIT_PROJECT_ROOT": str(self.served.folder),
                "GIT_HTTP_EXPORT_ALL": "1",
                "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
                "PATH_INFO": f"/{team}/{repository.removesuffix('.git')}.git/{rest}",
                "QUERY_STRING": address.query,
                "REQUEST_METHOD": self.command,
                "REMOTE_USER": "robot" if password else "",
                "CONTENT_TYPE": self.headers.get("Content-Type", ""),
                "CONTENT_LENGTH": str(len(body)),
                "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            },
            stdout=subprocess.PIPE,
            check=True,
        )
        head, _, content = done.stdout.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().splitlines())
        self._answer(int(headers.pop("Status", "200").split()[0]), headers, content)

    def _answer(self, status: int, headers: dict[str, str], content: bytes) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *arguments: object) -> None:
        """Says nothing."""
