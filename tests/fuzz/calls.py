"""Fuzz targets for the whole application without its sockets: an input is one call or one request.

The server is real, with its engine thread and the echo model. All inputs share it, so what one call leaves behind is
found by later ones.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
from collections.abc import Sequence
from contextlib import suppress
from ipaddress import IPv4Address
from typing import Any
from urllib.parse import quote_from_bytes, unquote

from starlette.types import Message, Scope

from server.access.policy import AccessPolicy
from server.calls.service import Service
from server.commands.serve import runner_factory
from server.http.app import WEB, create_app
from server.settings import Settings
from tests.fuzz.parsers import page, pieces

_TIMEOUT_S = 20.0
_CLOSE_CODES = {1000, 1003, 1007, 1008, 1009, 1011, 1012, 1013}


class ErrorRecords(logging.Handler):
    """The errors that the server logs, which are its own bugs."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.found.append(self.format(record))


class AsgiServer:
    """A server without sockets, whose event loop runs while an input is tried."""

    def __init__(self, token: str | None = None) -> None:
        self.loop = asyncio.new_event_loop()
        self.errors = ErrorRecords()
        logging.getLogger("server").addHandler(self.errors)
        settings = Settings(model="echo", slots=2, token=token)  # type: ignore[arg-type]
        self.service = Service(settings, runner_factory(settings))
        self._app = create_app(self.service, AccessPolicy(settings))
        self.run(self._start())

    def run(self, coroutine: Any) -> Any:
        """Run `coroutine`; fail if it does not end in time, or if the server logs an error."""
        result = self.loop.run_until_complete(asyncio.wait_for(coroutine, _TIMEOUT_S))
        assert not self.errors.found, self.errors.found[0]
        return result

    async def _start(self) -> None:
        self.service.start()
        await self.wait_idle("ready")

    async def wait_idle(self, status: str = "ready") -> None:
        """Wait until the server has `status` and no call is running or waiting."""
        while self.service.status != status or self.service.running or self.service.waiting:  # noqa: ASYNC110
            await asyncio.sleep(0.0001)

    async def call(
        self, query: bytes, messages: Sequence[bytes | str], waits_for_handshake: bool, stay_s: float = 0.003
    ) -> list[Message]:
        """A call that sends `messages`, perhaps after the handshake, and disconnects; the messages of the server."""
        sent: list[Message] = []
        handshake_sent, closed = asyncio.Event(), asyncio.Event()
        incoming_messages = iter([{"type": "websocket.connect"}, *map(_as_incoming, messages)])

        async def receive() -> Message:
            message = next(incoming_messages, None)
            if waits_for_handshake and message is None:
                with suppress(TimeoutError):
                    await asyncio.wait_for(closed.wait(), stay_s)
            elif waits_for_handshake and message and message["type"] == "websocket.receive":
                await handshake_sent.wait()
            return message or {"type": "websocket.disconnect", "code": 1006}

        async def send(message: Message) -> None:
            sent.append(message)
            if message["type"] not in ("websocket.accept", "websocket.send"):
                closed.set()
            if closed.is_set() or message.get("bytes") == b"\0":
                handshake_sent.set()

        await self._app(_scope("websocket", b"/api/chat", query), receive, send)
        await self.wait_idle()
        return sent

    async def get(self, path: bytes, query: bytes) -> list[Message]:
        """A GET request; the messages of its response."""
        sent: list[Message] = []

        async def receive() -> Message:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: Message) -> None:
            sent.append(message)

        await self._app(_scope("http", path, query), receive, send)
        return sent


def _as_incoming(message: bytes | str) -> Message:
    return {"type": "websocket.receive", "text" if isinstance(message, str) else "bytes": message}


_clients = itertools.count(int(IPv4Address("10.0.0.1")))


def _scope(kind: str, path: bytes, query: bytes) -> Scope:
    return {
        "type": kind,
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "ws" if kind == "websocket" else "http",
        "path": unquote(path.decode("latin-1")),
        "raw_path": path,
        "root_path": "",
        "query_string": query,
        "headers": [(b"host", b"127.0.0.1:8998")],
        "client": (str(IPv4Address(next(_clients))), 50_000),  # another one each time, so that none sends too much
        "server": ("127.0.0.1", 8998),
        "subprotocols": [],
        "extensions": {"websocket.http.response": {}},
    }


_server: AsgiServer | None = None


def asgi_server() -> AsgiServer:
    """The server of this process, started by the first call."""
    global _server  # noqa: PLW0603, a fuzz target takes nothing but bytes
    _server = _server or AsgiServer()
    return _server


_guarded: AsgiServer | None = None


def guarded_server() -> AsgiServer:
    """A server with a token, which nobody knows."""
    global _guarded  # noqa: PLW0603
    _guarded = _guarded or AsgiServer("nobody-knows-this-token")
    return _guarded


def call(data: bytes) -> None:
    """A call with any query and messages ends with a known close code, and frees its slot."""
    server = asgi_server()
    query, *parts = [*pieces(data[1:]), b""]
    messages = [b"\1" + page(part[1:]) if part[:1] == b"\x80" else part for part in parts]
    sent = server.run(server.call(query, messages, waits_for_handshake=data[:1] < b"\xc0"))
    for message in sent:
        match message["type"]:
            case "websocket.close":
                assert message["code"] in _CLOSE_CODES and len(message["reason"].encode()) <= 123
            case "websocket.send" if message["bytes"][0] == 4:
                assert json.loads(message["bytes"][1:])["type"]
            case _:
                pass


def path(data: bytes) -> None:
    """A request for any path has a known status, and no file is served that is not the page's."""
    server = asgi_server()
    requested, _, query = data.partition(b"?")
    start, *bodies = server.run(server.get(b"/" + requested, query))
    assert start["status"] in (200, 404, 405, 426), f"{start['status']} for {quote_from_bytes(requested)}"
    headers = dict(start["headers"])
    body = b"".join(message.get("body", b"") for message in bodies)
    if start["status"] == 200 and headers[b"content-type"] != b"application/json":
        assert body in _page_files() or body.startswith(b"# HELP"), (
            f"{quote_from_bytes(requested)} is not a file of the page"
        )
    guarded, *bodies = guarded_server().run(guarded_server().get(b"/" + requested, query))
    if guarded["status"] == 200:
        body = b"".join(message.get("body", b"") for message in bodies)
        is_probe = body.startswith(b'{"status":"') and len(body) < 200
        assert is_probe or body in _page_files(), f"{quote_from_bytes(requested)} needs no token"


_files: set[bytes] = set()


def _page_files() -> set[bytes]:
    if not _files:
        _files.update(file.read_bytes() for file in WEB.rglob("*") if file.is_file())
    return _files
