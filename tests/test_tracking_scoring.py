"""The process that serves a model: what it refuses, how, and that it answers all else as MLflow's clients expect."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import subprocess
import time
import zipfile
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from threading import Event, Thread
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
import uvicorn
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from mlflow.pyfunc.scoring_server.client import ScoringServerClient
from mlflow_site import free_port, stop, wait_for
from schemathesis import GenerationMode, openapi
from schemathesis.specs.openapi.checks import positive_data_acceptance

from textrnn.modeling.linear import LinearModel
from textrnn.modeling.predictor import UNFAMILIAR, Predictor
from textrnn.tracking import scoring
from textrnn.tracking.logged_model import CODE, make_package
from textrnn.tracking.scoring import JSON, TOGETHER, Limited, Limits

LIMITS = Limits(max_bytes=100_000, requests=3, seconds=1)
TEXTS = ["good film", "bad", "a plot", "good good", ""]
OWN = "it has no word that this model's own code knows"


class Answer:
    """Status, headers and body of an HTTP response."""

    def __init__(self, connection: HTTPConnection) -> None:
        response = connection.getresponse()
        self.status, self.headers, self.text = response.status, response.headers, response.read().decode()

    @property
    def message(self) -> str:
        """What an error says; it is one line of text, and no traceback."""
        content = json.loads(self.text)
        assert content.keys() == {"error_code", "message"}, content
        assert "Traceback" not in self.text and len(content["message"]) < 1100
        return str(content["message"])


def post(port: int, body: Any, kind: str | None = JSON, path: str = "/invocations", **options: Any) -> Answer:
    with contextlib.closing(HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
        connection.request("POST", path, body, {"Content-Type": kind} if kind else {}, **options)
        return Answer(connection)


def get(port: int, path: str) -> Answer:
    with contextlib.closing(HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
        connection.request("GET", path)
        return Answer(connection)


def eventually(condition: Any) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


class Scorer:
    """In place of MLflow's application: answers when it may, and keeps what it got."""

    def __init__(self) -> None:
        self.may_answer = Event()
        self.may_answer.set()
        self.at_once = self.most_at_once = 0
        self.bodies: list[bytes] = []
        self.error: Exception | None = None
        self.poison = "poison"

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            return
        status, answer = 200, b"here"
        if scope["path"] == "/invocations":
            self.bodies.append((await receive())["body"])
            texts = [text for (text,) in json.loads(self.bodies[-1])["dataframe_split"]["data"]]
            answer = json.dumps({"predictions": [{"label": text} for text in texts]}).encode()
            if self.poison in texts:
                status, answer = 400, b'{"error_code": "BAD_REQUEST", "message": "bad"}'
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
            while not self.may_answer.is_set():
                await asyncio.sleep(0.01)
            self.at_once -= 1
            if self.error:
                raise self.error
        await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", b"text/plain")]})
        await send({"type": "http.response.body", "body": answer})


@pytest.fixture
def scorer() -> Scorer:
    return Scorer()


@pytest.fixture
def port(scorer: Scorer) -> Iterator[int]:
    """Serves `scorer` within `LIMITS`, one request at a time."""
    port = free_port()
    options: dict[str, Any] = {"port": port, "log_level": "error", "lifespan": "off"}
    server = uvicorn.Server(uvicorn.Config(Limited(scorer, LIMITS, turns=1), **options))
    thread = Thread(target=server.run)
    thread.start()
    eventually(lambda: server.started)
    yield port
    scorer.may_answer.set()
    server.should_exit = True
    thread.join()


def records(*texts: str) -> str:
    return json.dumps({"dataframe_records": [{"text": text} for text in texts]})


def test_a_body_above_the_limit_is_refused_unread_and_the_connection_goes_on(port: int, scorer: Scorer) -> None:
    long = records("a" * LIMITS.max_bytes)
    with contextlib.closing(HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
        for body in (long, records("a")):
            connection.request("POST", "/invocations", body, {"Content-Type": JSON})
            answer = Answer(connection)
            if body is long:
                assert answer.status == 413
                assert answer.message == "The body is larger than 100,000 bytes: send fewer texts at once."
        assert answer.status == 200
    assert len(scorer.bodies) == 1


def test_a_body_of_unknown_length_is_refused_once_it_is_above_the_limit(port: int, scorer: Scorer) -> None:
    chunks = [b" " * 10_000] * 11
    assert post(port, iter(chunks), encode_chunked=True).status == 413
    fitting = [*chunks[:3], records("a").encode()]
    assert post(port, iter(fitting), encode_chunked=True).status == 200
    assert len(scorer.bodies) == 1


def test_a_body_that_comes_too_slowly_is_given_up(port: int) -> None:
    head = b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 50\r\n\r\n"
    with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
        client.sendall(head + b"{")
        started = time.monotonic()
        answer = b"".join(iter(lambda: client.recv(1000), b""))  # to the end: the server closes the connection
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"The body was not complete after 1 seconds: send fewer texts at once." in answer
    assert 0.9 < time.monotonic() - started < 20


def test_more_requests_than_the_limit_are_refused_until_there_is_room(port: int, scorer: Scorer) -> None:
    scorer.may_answer.clear()
    answers: list[Answer] = []
    clients = [Thread(target=lambda: answers.append(post(port, records("a")))) for _ in range(LIMITS.requests + 2)]
    for client in clients:
        client.start()
    eventually(lambda: len(answers) == 2)
    for refused in answers:
        assert (refused.status, refused.headers["Retry-After"]) == (503, "1")
        assert refused.message == "This server works on 3 requests at once, and has as many: try again later."
    assert get(port, "/ping").status == 200
    scorer.may_answer.set()
    for client in clients:
        client.join()
    assert [answer.status for answer in answers] == [503] * 2 + [200] * LIMITS.requests
    assert scorer.most_at_once == 1
    assert post(port, records("a")).status == 200


def test_requests_that_wait_are_scored_together_and_each_gets_its_own_answer(port: int, scorer: Scorer) -> None:
    scorer.may_answer.clear()
    answers: dict[str, Answer] = {}

    def ask(*texts: str) -> None:
        answers[texts[0]] = post(port, records(*texts))

    first = Thread(target=ask, args=["first"])
    first.start()
    eventually(lambda: scorer.at_once == 1)
    others = [Thread(target=ask, args=texts) for texts in (["a", "b"], ["poison"])]
    for other in others:
        other.start()
    time.sleep(0.3)
    scorer.may_answer.set()
    for thread in (first, *others):
        thread.join()
    assert {name: answer.status for name, answer in answers.items()} == {"first": 200, "a": 200, "poison": 400}
    assert json.loads(answers["first"].text)["predictions"] == [{"label": "first"}]
    assert json.loads(answers["a"].text)["predictions"] == [{"label": "a"}, {"label": "b"}]
    assert [body.count(b"[") - 2 for body in scorer.bodies[:2]] == [1, 3]  # a text is in brackets


def test_what_waits_is_not_scored_together_above_the_limit(port: int, scorer: Scorer) -> None:
    scorer.may_answer.clear()
    many = records(*["a"] * (TOGETHER - 1))
    clients = [Thread(target=post, args=(port, body)) for body in (records("first"), many, many)]
    clients[0].start()
    eventually(lambda: scorer.at_once == 1)
    for client in clients[1:]:
        client.start()
    time.sleep(0.3)
    scorer.may_answer.set()
    for client in clients:
        client.join()
    assert [body.count(b"[") - 2 for body in scorer.bodies] == [1, TOGETHER - 1, TOGETHER - 1]


def test_slow_senders_and_clients_that_left_hold_no_turn(port: int, scorer: Scorer) -> None:
    head = b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    body = records("left").encode()
    with socket.create_connection(("127.0.0.1", port)) as slow:
        slow.sendall(head % 50)
        assert post(port, records("a")).status == 200
    scorer.may_answer.clear()
    first = Thread(target=post, args=(port, records("first")))
    first.start()
    eventually(lambda: scorer.at_once == 1)
    with socket.create_connection(("127.0.0.1", port)) as impatient:
        impatient.sendall(head % len(body) + body)
        time.sleep(0.2)
    time.sleep(0.2)
    scorer.may_answer.set()
    first.join()
    assert post(port, records("last")).status == 200
    assert not [each for each in scorer.bodies if b"left" in each]


def test_a_failure_is_not_shown_to_clients(port: int, scorer: Scorer, caplog: pytest.LogCaptureFixture) -> None:
    scorer.error = ZeroDivisionError("a secret")
    answer = post(port, records("a"))
    assert (answer.status, answer.message) == (500, "The server failed; its log says why.")
    assert "a secret" in caplog.text


@pytest.mark.parametrize(
    "body",
    [
        {"inputs": ["long " * 1000, *[""] * 1000]},
        {"inputs": {"text": ["long " * 1000, *[""] * 1000]}},
        {"instances": ["long " * 1000, *[""] * 1000]},
        {"dataframe_split": {"columns": ["x", "text"], "data": [[1, "long " * 1000], *[[1, ""]] * 1000], "index": []}},
    ],
    ids=lambda body: next(iter(body)),
)
def test_mlflow_gets_texts_in_the_format_that_makes_no_arrays_of_them(port: int, scorer: Scorer, body: Any) -> None:
    assert post(port, json.dumps(body)).status == 200
    got = json.loads(scorer.bodies[-1])["dataframe_split"]
    assert got == {"columns": ["text"], "data": [["long " * 1000], *[[""]] * 1000]}


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("saved") / "saved"
    LinearModel(("bad", "good"), 1, ["good", "bad"], np.array([[2.0, -1.5]]), np.array([0.25])).save(folder)
    return folder


@pytest.fixture(scope="module")
def served(saved: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The process, with a model whose code says something else of texts without a known word."""
    folder = tmp_path_factory.mktemp("served")
    make_package(folder / "package", saved, ["bad", "good"])
    archive, changed = folder / "package" / "code" / CODE, folder / "changed.zip"
    with zipfile.ZipFile(archive) as old, zipfile.ZipFile(changed, "w") as new:
        for name in old.namelist():
            new.writestr(name, old.read(name).replace(UNFAMILIAR.encode(), OWN.encode()))
    changed.replace(archive)
    port = free_port()
    command = scoring.command(str(folder / "package"), port, 2, '{"max_bytes": 100000, "requests": 64, "seconds": 60}')
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    try:
        wait_for(f"http://127.0.0.1:{port}/ping", server, folder / "log")
        yield port
    finally:
        stop(server)
    said = (folder / "log").read_text()
    assert said == f"the model answers at http://127.0.0.1:{port}/invocations\n"


def expected(saved: Path, texts: list[str]) -> list[dict[str, Any]]:
    table = Predictor(saved).table(pl.Series(texts, dtype=pl.String))
    return table.with_columns(pl.col("warning").replace(UNFAMILIAR, OWN)).to_dicts()


def test_the_model_predicts_with_its_own_code(served: int, saved: Path) -> None:
    (row,) = json.loads(post(served, records("unheard of")).text)["predictions"]
    assert row["warning"] == OWN
    assert [row] == expected(saved, ["unheard of"])


def test_mlflows_client_and_its_pages_work(served: int, saved: Path) -> None:
    client = ScoringServerClient("127.0.0.1", served)
    frame = pd.DataFrame({"more": range(5), "text": TEXTS}, index=[3, 1, 4, 1, 5])
    assert client.invoke(frame).get_predictions().to_dict("records") == expected(saved, TEXTS)
    assert client.get_version()
    assert {
        path: get(served, path).status for path in ("/ping", "/health", "/version", "/nothing", "/invocations")
    } == {
        **dict.fromkeys(("/ping", "/health", "/version"), 200),
        "/nothing": 404,
        "/invocations": 405,
    }


@pytest.mark.parametrize(
    "body",
    [
        {"dataframe_split": {"columns": ["text"], "index": [9, 3, 9, 1, 0], "data": [[text] for text in TEXTS]}},
        {"dataframe_records": [{"text": text, "more": row} for row, text in enumerate(TEXTS)]},
        {"instances": [{"text": text} for text in TEXTS]},
        {"instances": TEXTS},
        {"inputs": {"text": TEXTS}, "params": {}},
        {"inputs": TEXTS},
        pl.DataFrame({"text": [f'"{text}"' for text in TEXTS]}).write_csv(quote_style="never"),
    ],
    ids=lambda body: next(iter(body)) if isinstance(body, dict) else "csv",
)
def test_every_way_in_keeps_every_text(served: int, saved: Path, body: Any) -> None:
    texts = TEXTS
    if isinstance(body, str):
        texts = TEXTS[:-1]  # pandas reads an empty field as missing
        answer = post(served, body.removesuffix('""\n'), "text/csv; charset=utf-8")
    else:
        answer = post(served, json.dumps(body))
    assert json.loads(answer.text)["predictions"] == expected(saved, texts)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("", "Invalid JSON: EOF while parsing a value at line 1 column 0"),
        (b"\xff", "Invalid JSON"),
        ("[" * 100_000, "Invalid JSON: recursion limit exceeded"),
        (f'{{"dataframe_records": [{{"text": "a", "x": {"[" * 500}{"]" * 500}}}]}}', "recursion limit exceeded"),
        (f'{{"dataframe_records": [{{"text": "a", "x": {"9" * 5000}}}]}}', "number out of range"),
        (r'{"inputs": ["\ud800"]}', "Invalid JSON"),
        ("[1]", "describes: Input should be an object."),
        ("{}", "exactly one of dataframe_records, dataframe_split, inputs, instances is given"),
        ('{"inputs": ["a"], "instances": ["a"]}', "exactly one of"),
        ('{"prompt": "a"}', "prompt: Extra inputs are not permitted."),
        ('{"dataframe_records": [{"texts": "a"}]}', "dataframe_records.0.text: Field required."),
        ('{"dataframe_records": [{"text": "a"}, {"text": null}]}', "dataframe_records.1.text: Input should be a valid"),
        ('{"dataframe_records": null}', "dataframe_records: Input should be a valid array."),
        ('{"instances": [{"text": "a"}, {"b": "c"}]}', "1.text: Field required."),
        ('{"inputs": {"text": ["a", 5]}}', "1: Input should be a valid string."),
        ('{"dataframe_split": {"columns": ["x"], "data": [["a"]]}}', "one of the columns is named text"),
        (
            '{"dataframe_split": {"columns": ["text"], "data": [["a"], ["a", "b"]]}}',
            "row 1 (counted from 0) has a value",
        ),
        ('{"dataframe_split": {"columns": ["text"], "data": [[NaN]]}}', "row 0 (counted from 0)"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_wrong_body_is_said_to_be_wrong_where_it_is(served: int, body: Any, said: str) -> None:
    answer = post(served, body)
    assert answer.status == 400
    assert said in answer.message


@pytest.mark.parametrize("body", ["", "x\na\n", 'text\n"a', "text\n\n,\n", "text\na\nNA\n", b"text\n\xff\n"], ids=repr)
def test_wrong_csv_is_said_to_be_wrong(served: int, body: Any) -> None:
    answer = post(served, body, "text/csv")
    assert answer.status == 400
    assert answer.message


@pytest.mark.parametrize(
    "kind", [None, "", "text/plain", "application/vnd.apache.parquet", "text/csv; charset=latin-1", "x" * 5000]
)
def test_other_types_of_content_are_refused(served: int, kind: str | None) -> None:
    answer = post(served, records("a").encode(), kind)
    assert answer.status == 415
    assert answer.message


TEXT = st.text(max_size=20)
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers(-(2**70), 2**70) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT | st.just("text"), inner, max_size=3),
    max_leaves=8,
)
TEXTS_DRAWN = st.lists(TEXT, max_size=3)
ROWS = st.lists(st.fixed_dictionaries({"text": TEXT}, optional={"more": ANYTHING}), max_size=3)
COLUMNS = st.fixed_dictionaries({"text": TEXTS_DRAWN | TEXT})
FRAME = st.fixed_dictionaries(
    {"columns": st.just(["text"]), "data": st.lists(st.tuples(TEXT), max_size=3)},
    optional={"index": st.lists(ANYTHING, max_size=3)},
)
FORMATS = {
    "dataframe_records": ROWS,
    "dataframe_split": FRAME,
    "inputs": COLUMNS | TEXTS_DRAWN,
    "instances": ROWS | TEXTS_DRAWN,
}
RIGHT = st.one_of([st.fixed_dictionaries({name: content}) for name, content in FORMATS.items()])
LIKE_THEM = st.fixed_dictionaries(
    {},
    optional={
        **{name: content | st.lists(ROWS | ANYTHING, max_size=3) | ANYTHING for name, content in FORMATS.items()},
        "params": ANYTHING,
        "more": ANYTHING,
    },
)


def test_what_is_answered_is_what_the_schema_says(served: int) -> None:
    description = json.loads(get(served, "/openapi.json").text)
    operation = description["paths"]["/invocations"]["post"]
    schema = operation["requestBody"]["content"][JSON]["schema"]
    validator = Draft202012Validator({**schema, "components": description["components"]})
    seen = {200: 0, 400: 0}

    @settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
    @given(RIGHT | LIKE_THEM | ANYTHING)
    def answers(drawn: Any) -> None:
        text = json.dumps(drawn)
        answer, body = post(served, text), json.loads(text)
        assert str(answer.status) in operation["responses"]
        seen[answer.status] += 1
        is_frame = isinstance(body, dict) and "dataframe_split" in body
        if answer.status == 200:
            assert validator.is_valid(body)
            assert isinstance(json.loads(answer.text)["predictions"], list)
        else:
            assert answer.message
            assert is_frame or not validator.is_valid(body)  # no schema says which of a frame's columns holds text

    answers()
    assert min(seen.values()) > 30, seen


@pytest.mark.parametrize("mode", GenerationMode)
def test_schemathesis_finds_nothing_that_the_schema_does_not_describe(served: int, mode: GenerationMode) -> None:
    """The test above knows what is valid; here what a body holds comes from the schema alone."""
    operation = openapi.from_url(f"http://127.0.0.1:{served}/openapi.json")["/invocations"]["POST"]
    answered = []

    @settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
    @given(operation.as_strategy(generation_mode=mode))
    def answers(case: Any) -> None:
        # No schema says which column of a frame, or of CSV, holds text.
        answered.append(case.call_and_validate(excluded_checks=[positive_data_acceptance]).status_code)

    answers()
    assert len(answered) >= 100
    assert (200 in answered) == (mode == GenerationMode.POSITIVE)
