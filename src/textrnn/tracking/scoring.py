"""The process that serves a model: MLflow's scoring application with limits, and with plain errors.

It imports nothing else of this package, and `textrnn serve` runs it as a file: the code that predicts is the model's
own, as with `mlflow models serve`, not what is installed here.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import sys
from collections import deque
from dataclasses import dataclass
from http import HTTPStatus
from itertools import islice
from typing import Any, Self

import mlflow
import uvicorn
from fastapi import FastAPI
from mlflow.pyfunc import scoring_server
from pydantic import BaseModel, ValidationError, model_validator
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

JSON, CSV = scoring_server.CONTENT_TYPE_JSON, scoring_server.CONTENT_TYPE_CSV
"""What a body may be. MLflow reads Parquet, too, a few bytes of which may be gigabytes in memory."""

ANSWERS = {
    200: "`predictions`: an object for each text, in their order",
    400: "the body holds no texts as they are described here",
    408: "the body was not complete in time",
    413: "the body is too large",
    415: "the body is neither JSON nor CSV",
    500: "the server failed",
    503: "there are too many requests at once",
    504: "scoring took too long",
}
"""What /invocations answers; all but the first are JSON with `error_code` and `message`."""

TOGETHER = 64
"""Texts of waiting requests that are scored in one call: most of a call with one text is not the network's."""

LONGEST = 1000
"""Characters of an error: MLflow repeats the whole body in some."""


class Row(BaseModel, extra="allow"):
    """A text. Other columns are ignored."""

    text: str


class Columns(BaseModel, extra="allow"):
    """Texts by column. Other columns are ignored."""

    text: list[str] | str

    def texts(self) -> list[str]:
        """Returns the column as a list."""
        return [self.text] if isinstance(self.text, str) else self.text


class Frame(BaseModel, extra="forbid"):
    """A data frame, as `DataFrame.to_dict(orient="split")` has it. One of its `columns` is `text`."""

    columns: list[str]
    data: list[list[Any]]
    index: list[Any] | None = None

    @model_validator(mode="after")
    def _has_texts(self) -> Self:
        if self.columns.count("text") != 1:
            raise ValueError("one of the columns is named text")
        for number, row in enumerate(self.data):
            if len(row) != len(self.columns) or not isinstance(row[self.columns.index("text")], str):
                raise ValueError(f"row {number} (counted from 0) has a value for each column, and text is a string")
        return self

    def texts(self) -> list[str]:
        """Returns the column `text`."""
        return [row[self.columns.index("text")] for row in self.data]


FORMATS = ("dataframe_records", "dataframe_split", "inputs", "instances")


class Body(BaseModel, extra="forbid", json_schema_extra={"oneOf": [{"required": [each]} for each in FORMATS]}):
    """Texts in exactly one of MLflow's formats."""

    dataframe_records: list[Row] = []
    dataframe_split: Frame = Frame(columns=["text"], data=[])
    inputs: Columns | list[str] = []
    instances: list[Row] | list[str] = []
    params: dict[str, Any] | None = None

    @model_validator(mode="after")
    def _has_one_format(self) -> Self:
        if len(self.model_fields_set - {"params"}) != 1:
            raise ValueError(f"exactly one of {', '.join(FORMATS)} is given")
        return self

    def texts(self) -> list[str]:
        """Returns the texts in their order."""
        (given,) = (getattr(self, name) for name in self.model_fields_set - {"params"})
        return given.texts() if isinstance(given, Columns | Frame) else [getattr(each, "text", each) for each in given]


@dataclass(frozen=True)
class Limits:
    """What one client may ask for, and all together: `serving` in `params.yaml`."""

    max_bytes: int
    requests: int
    seconds: float


class Refused(Exception):
    """The answer to a request that is not scored."""

    def __init__(self, status: HTTPStatus, message: str, **headers: str) -> None:
        super().__init__(message)
        content = {"error_code": status.name, "message": message}
        self.answer = JSONResponse(content, status, {name.replace("_", "-"): text for name, text in headers.items()})


@dataclass(frozen=True, eq=False)
class Job:
    """A request that waits for its turn, its texts, and the JSON that will answer it."""

    request: Request
    texts: list[str]
    answer: asyncio.Future[bytes]


class Limited:
    """An ASGI application: `application`, MLflow's, but a request is scored only within `limits`.

    `turns` calls are computed at once, in the order in which bodies were complete; requests that wait meanwhile share
    the next one, up to `TOGETHER` texts. Errors are JSON with `error_code` and `message`, as MLflow's are, without a
    traceback.
    """

    def __init__(self, application: ASGIApp, limits: Limits, turns: int) -> None:
        self._application = application
        self._limits = limits
        self._present = 0
        self._turns = asyncio.Semaphore(turns)
        self._waiting: deque[Job] = deque()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request, as ASGI defines it."""
        if scope["type"] != "http" or (scope["method"], scope["path"]) != ("POST", "/invocations"):
            await self._application(scope, receive, send)
            return
        request = Request(scope, receive)
        with contextlib.suppress(ClientDisconnect):
            try:
                answer: Response = Response(await self._within_limits(request), media_type=JSON)
            except Refused as refusal:
                answer = refusal.answer
            await answer(scope, receive, send)

    async def _within_limits(self, request: Request) -> bytes:
        if self._present >= self._limits.requests:
            raise Refused(
                HTTPStatus.SERVICE_UNAVAILABLE,
                f"This server works on {self._limits.requests} requests at once, and has as many: try again later.",
                retry_after="1",
            )
        self._present += 1
        try:
            body = await self._body(request)
            if _type(request) == JSON:
                return await self._score(request, _texts(body))
            async with self._turns:
                return await self._call(request.scope, body)
        finally:
            self._present -= 1

    async def _score(self, request: Request, texts: list[str]) -> bytes:
        """Waits for a turn, and scores what waits then; unless another turn has taken this request along."""
        job = Job(request, texts, asyncio.get_running_loop().create_future())
        self._waiting.append(job)
        async with self._turns:
            if job in self._waiting and (jobs := await self._next()):
                await self._score_together(jobs)
        return await job.answer

    async def _next(self) -> list[Job]:
        """Returns the jobs of the next call, without those whose client has left."""
        jobs = [self._waiting.popleft()]
        while self._waiting and sum(len(job.texts) for job in (*jobs, self._waiting[0])) <= TOGETHER:
            jobs.append(self._waiting.popleft())
        left = [job for job in jobs if await job.request.is_disconnected()]
        for job in left:
            job.answer.set_exception(ClientDisconnect())
        return [job for job in jobs if job not in left]

    async def _score_together(self, jobs: list[Job]) -> None:
        texts = [text for job in jobs for text in job.texts]
        # Of `inputs` and `instances` MLflow makes arrays: each text takes the memory of the longest, numbers become
        # texts, and rows that differ are lost.
        body = json.dumps({"dataframe_split": {"columns": ["text"], "data": [[text] for text in texts]}}).encode()
        try:
            answer = await self._call({**jobs[0].request.scope, "headers": [(b"content-type", JSON.encode())]}, body)
        except Refused as refusal:
            if len(jobs) == 1:
                jobs[0].answer.set_exception(refusal)
            else:  # nobody gets an error that is another's
                for job in jobs:
                    await self._score_together([job])
            return
        if len(jobs) == 1:
            jobs[0].answer.set_result(answer)
        else:
            rows = iter(json.loads(answer)["predictions"])
            for job in jobs:
                job.answer.set_result(json.dumps({"predictions": [*islice(rows, len(job.texts))]}).encode())

    async def _body(self, request: Request) -> bytes:
        """Returns the whole body. Raises `Refused`: it is no JSON or CSV, too large, or comes too slowly."""
        given = _type(request)
        if given not in (JSON, CSV):
            message = f"The body has the content type {given[:99]!r}, and must have {JSON} or {CSV}."
            raise Refused(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, message)
        body, seconds = bytearray(), self._limits.seconds
        self._check_size(int(request.headers.get("content-length", 0)))
        try:
            async with asyncio.timeout(seconds):
                async for chunk in request.stream():
                    body += chunk
                    self._check_size(len(body))
        except TimeoutError:
            message = f"The body was not complete after {seconds:g} seconds: send fewer texts at once."
            raise Refused(HTTPStatus.REQUEST_TIMEOUT, message, connection="close") from None
        return bytes(body)

    def _check_size(self, size: int) -> None:
        if size > self._limits.max_bytes:
            message = f"The body is larger than {self._limits.max_bytes:,} bytes: send fewer texts at once."
            raise Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, message)

    async def _call(self, scope: Scope, body: bytes) -> bytes:
        """Returns the application's answer to `body`. Raises `Refused` where it is an error."""
        messages: list[Message] = []
        whole: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive() -> Message:
            return whole.pop() if whole else await asyncio.Future()  # whoever leaves, a call goes on

        async def send(message: Message) -> None:
            messages.append(message)

        try:
            await self._application(scope, receive, send)
        except Exception:
            logging.getLogger(__name__).exception("A request failed.")
            raise Refused(HTTPStatus.INTERNAL_SERVER_ERROR, "The server failed; its log says why.") from None
        status = HTTPStatus(messages[0]["status"])
        answer = b"".join(message.get("body", b"") for message in messages)
        if status >= HTTPStatus.BAD_REQUEST:
            raise Refused(status, _cut(_reason(answer.decode(errors="replace"))))
        return answer


def _type(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip()


def _texts(body: bytes) -> list[str]:
    """Returns the texts of a JSON body. Raises `Refused` where it holds none."""
    try:
        return Body.model_validate_json(body).texts()
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place, rule = ".".join(map(str, first["loc"])), first["msg"].removeprefix("Value error, ")
        message = f"The body is not what /openapi.json describes: {place}{': ' if place else ''}{rule}."
        raise Refused(HTTPStatus.BAD_REQUEST, _cut(message)) from None


def _reason(text: str) -> str:
    """Returns what MLflow says in an error: its message, and the last line of a traceback, if there is one."""
    try:
        content = json.loads(text)
        message, trace = content["message"], content.get("stack_trace", "").strip()
    except (ValueError, LookupError, TypeError, AttributeError):
        return text
    return f"{message} {trace.splitlines()[-1]}" if trace else str(message)


def _cut(message: str) -> str:
    half = LONGEST // 2
    return message if len(message) <= LONGEST else f"{message[:half]} ... {message[-half:]}"


def describe(application: FastAPI) -> None:
    """Says in the application's /openapi.json what a request to /invocations holds."""
    schema = Body.model_json_schema(ref_template="#/components/schemas/{model}")
    description = application.openapi()
    description["components"] = {"schemas": schema.pop("$defs")}
    description["paths"]["/invocations"]["post"] |= {
        "requestBody": {"required": True, "content": {JSON: {"schema": schema}, CSV: {"schema": {"type": "string"}}}},
        "responses": {str(status): {"description": meaning} for status, meaning in ANSWERS.items()},
    }


def serve(model: str, port: int, turns: int, limits: Limits) -> None:
    """Serves `model`, a path or address that MLflow knows, at 127.0.0.1 until it is stopped."""
    os.environ["MLFLOW_SCORING_SERVER_REQUEST_TIMEOUT"] = str(int(limits.seconds))
    application = scoring_server.init(mlflow.pyfunc.load_model(model))
    describe(application)
    logging.getLogger("mlflow").setLevel(logging.ERROR)  # it warns of clients' mistakes
    print(f"the model answers at http://127.0.0.1:{port}/invocations", flush=True)
    limited = Limited(application, limits, turns)
    uvicorn.run(limited, host="127.0.0.1", port=port, log_level="error", access_log=False)


def command(model: str, port: int, turns: int, limits: str) -> list[str]:
    """Returns the command line of a process that serves; `limits` is JSON. Without -P it would find our modules."""
    return [sys.executable, "-P", __file__, model, str(port), str(turns), limits]


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Limits(**json.loads(sys.argv[4])))
