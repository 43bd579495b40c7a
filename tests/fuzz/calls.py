"""Fuzz targets that go through the whole application, but for the socket: one input, one call or one request.

The server is the real one, its engine thread and all, with the echo for a model. What a call leaves behind would be
found by the next ones.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any
from urllib.parse import quote_from_bytes

import anyio.to_thread
from starlette.types import Message, Scope

from server.access.policy import AccessPolicy
from server.calls.service import Service
from server.commands.serve import runner_factory
from server.http.app import WEB, create_app
from server.settings import Settings
from tests.fuzz.parsers import page, pieces

_WITHIN_S = 20.0
_CLOSE_CODES = {1000, 1003, 1007, 1008, 1009, 1011, 1012, 1013}


class Complaints(logging.Handler):
    """What the server logs of its own bugs."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.found.append(self.format(record))


class Application:
    """A server without sockets, in a loop that turns while an input is tried."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.complaints = Complaints()
        logging.getLogger("server").addHandler(self.complaints)
        anyio.to_thread.run_sync = _at_once  # what a file is like takes a microsecond to ask, and a thread to wait
        settings = Settings(model="echo", slots=2)
        self.service = Service(settings, runner_factory(settings))
        self._app = create_app(self.service, AccessPolicy(settings))
        self.run(self._start())

    def run(self, trial: Any) -> Any:
        """Turn until `trial` ends; fail when it does not, or when the server complains."""
        result = self.loop.run_until_complete(asyncio.wait_for(trial, _WITHIN_S))
        assert not self.complaints.found, self.complaints.found[0]
        return result

    async def _start(self) -> None:
        self.service.start()
        await self.settled("ready")

    async def settled(self, status: str = "ready") -> None:
        """Wait until nobody is on the line."""
        while self.service.status != status or self.service.running or self.service.waiting:  # noqa: ASYNC110
            await asyncio.sleep(0.0001)

    async def call(
        self, query: bytes, messages: Sequence[bytes | str], is_patient: bool, stays_s: float = 0.003
    ) -> list[Message]:
        """A call that sends `messages`, after the greeting if it is patient, and vanishes; what it was told."""
        told: list[Message] = []
        greeted, closed = asyncio.Event(), asyncio.Event()
        coming = iter([{"type": "websocket.connect"}, *map(_incoming, messages)])

        async def receive() -> Message:
            message = next(coming, None)
            if is_patient and message is None:
                with suppress(TimeoutError):
                    await asyncio.wait_for(closed.wait(), stays_s)
            elif is_patient and message and message["type"] == "websocket.receive":
                await greeted.wait()
            return message or {"type": "websocket.disconnect", "code": 1006}

        async def send(message: Message) -> None:
            told.append(message)
            if message["type"] not in ("websocket.accept", "websocket.send"):
                closed.set()
            if closed.is_set() or message.get("bytes") == b"\0":
                greeted.set()

        await self._app(_scope("websocket", b"/api/chat", query), receive, send)
        await self.settled()
        return told

    async def get(self, path: bytes, query: bytes) -> list[Message]:
        """A GET request; what was answered."""
        told: list[Message] = []

        async def receive() -> Message:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: Message) -> None:
            told.append(message)

        await self._app(_scope("http", path, query), receive, send)
        return told


async def _at_once(what: Callable[..., Any], *args: Any, **_: Any) -> Any:
    return what(*args)


def _incoming(message: bytes | str) -> Message:
    return {"type": "websocket.receive", "text" if isinstance(message, str) else "bytes": message}


def _scope(kind: str, path: bytes, query: bytes) -> Scope:
    return {
        "type": kind,
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "ws" if kind == "websocket" else "http",
        "path": path.decode("utf-8", "replace"),
        "raw_path": path,
        "root_path": "",
        "query_string": query,
        "headers": [(b"host", b"127.0.0.1:8998")],
        "client": ("127.0.0.1", 50_000),
        "server": ("127.0.0.1", 8998),
        "subprotocols": [],
        "extensions": {"websocket.http.response": {}},
    }


_application: Application | None = None


def application() -> Application:
    """The one server of this process, started when it is first asked for."""
    global _application  # noqa: PLW0603, a fuzzer's target is a function of bytes alone
    _application = _application or Application()
    return _application


def call(data: bytes) -> None:
    """Whatever a caller asks for and sends, the call ends in a way that has a name, and holds no slot after that."""
    server = application()
    query, *parts = [*pieces(data[1:]), b""]
    messages = [b"\1" + page(part[1:]) if part[:1] == b"\x80" else part for part in parts]
    told = server.run(server.call(query, messages, is_patient=data[:1] < b"\xc0"))
    for message in told:
        match message["type"]:
            case "websocket.close":
                assert message["code"] in _CLOSE_CODES and len(message["reason"].encode()) <= 123
            case "websocket.send" if message["bytes"][0] == 4:
                assert json.loads(message["bytes"][1:])["type"]
            case _:
                pass


def path(data: bytes) -> None:
    """No address that anybody can ask for breaks the server, or is answered with a file that is not the page's."""
    server = application()
    asked, _, query = data.partition(b"?")
    start, *bodies = server.run(server.get(b"/" + asked, query))
    assert start["status"] in (200, 206, 304, 307, 400, 404, 405), f"{start['status']} for {quote_from_bytes(asked)}"
    headers = dict(start["headers"])
    if start["status"] == 200 and headers[b"content-type"] != b"application/json":
        body = b"".join(message.get("body", b"") for message in bodies)
        assert body in _page_files(), f"{quote_from_bytes(asked)} is no file of the page"


_files: set[bytes] = set()


def _page_files() -> set[bytes]:
    if not _files:
        _files.update(file.read_bytes() for file in WEB.rglob("*") if file.is_file())
    return _files
