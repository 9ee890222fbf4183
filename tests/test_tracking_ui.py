"""`textrnn ui`: which link it says, and when a browser opens; `test_tracking_view_in_browser.py` opens one."""

from __future__ import annotations

import io
import socket
import subprocess
import webbrowser
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import Any

import pytest

from textrnn.errors import TextrnnError
from textrnn.tracking import ui, view


class Terminal(io.StringIO):
    """Standard output that is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def somebody_sits_here(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A terminal with a screen, and no CI. Returns the links that a browser was asked to open."""
    opened: list[str] = []
    # Not the real ones: pytest puts a standard output of its own in place for each test.
    monkeypatch.setattr(ui, "sys", SimpleNamespace(platform="linux", stdout=Terminal()))
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setattr(webbrowser, "open", opened.append)
    return opened


def test_a_browser_needs_a_terminal_a_screen_and_no_ci(
    somebody_sits_here: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ui.has_browser()
    with monkeypatch.context() as patch:
        patch.setenv("CI", "true")
        assert not ui.has_browser()
    with monkeypatch.context() as patch:
        patch.setattr(ui.sys, "stdout", io.StringIO())
        assert not ui.has_browser()
    monkeypatch.delenv("DISPLAY")
    assert not ui.has_browser()
    monkeypatch.setattr(ui.sys, "platform", "darwin")
    assert ui.has_browser()


def test_of_a_server_it_opens_the_study_and_serves_nothing(
    somebody_sits_here: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    client = SimpleNamespace(get_experiment=lambda experiment_id: SimpleNamespace(tags={view.TAG: view.envelope()}))
    store = SimpleNamespace(uri="https://mlflow.example.org/", client=client, experiment_id="7")
    monkeypatch.setattr(ui, "open_store", lambda *_: store)
    monkeypatch.setattr(subprocess, "Popen", lambda *_, **__: pytest.fail("a server was started"))
    params: Any = SimpleNamespace(study="tiny", corpus="snippets")
    said: list[str] = []
    assert ui.show(Path(), params, 5000, said.append) == 0
    link = "https://mlflow.example.org/#/experiments/7/runs?workflowType=machine_learning&viewStateShareKey=leaderboard"
    assert said == [f"tiny: {link}"]
    assert somebody_sits_here == [link]


def test_a_password_in_the_servers_address_is_not_said() -> None:
    client = SimpleNamespace(get_experiment=lambda experiment_id: SimpleNamespace(tags={}))
    store: Any = SimpleNamespace(uri="https://me:secret@mlflow.example.org:8443/ml/", client=client, experiment_id="7")
    link = "https://mlflow.example.org:8443/ml/#/experiments/7/runs?workflowType=machine_learning"
    assert view.address(store) == link


def test_what_waits_for_the_server_acts_once_it_answers() -> None:
    answers = [503, 503, 200]

    class Health(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            assert self.path == "/health"
            self.send_response(answers.pop(0))
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server: Any = SimpleNamespace(poll=lambda: None)
    with HTTPServer(("127.0.0.1", 0), Health) as site:
        Thread(target=site.serve_forever, daemon=True).start()
        done: list[str] = []
        ui._when_up(f"http://127.0.0.1:{site.server_port}", server, lambda: done.append("up"))
        site.shutdown()
    assert (done, answers) == (["up"], [])
    ended: Any = SimpleNamespace(poll=lambda: 1)
    ui._when_up("http://127.0.0.1:1", ended, lambda: pytest.fail("it ended before it was up"))


def test_a_port_in_use_is_refused_before_anything_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ui, "open_store", lambda *_: SimpleNamespace(uri="sqlite:///mlflow.db"))
    monkeypatch.setattr(ui, "address", lambda *_: "the link")
    monkeypatch.setattr(subprocess, "Popen", lambda *_, **__: pytest.fail("a server was started"))
    params: Any = SimpleNamespace(study="tiny", corpus="snippets")
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(TextrnnError, match=f"port {port} of this machine: .* Name another: `make ui PORT="):
            ui.show(tmp_path, params, port, pytest.fail)
