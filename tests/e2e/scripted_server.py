"""A server without a model that does what a test wants."""

from __future__ import annotations

import contextlib
import itertools
import json
import mimetypes
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from server.access.security_headers import security_headers

WEB = Path(__file__).parents[2] / "web"
PACKETS_PER_FRAME = 4
ANYWHERE = {"Access-Control-Allow-Origin": "*"}
# As the real server sends them with every file, the worker's script included.
STRICT = {name.decode(): value.decode() for name, value in security_headers(())}
RESUME_S = 20


class ScriptedServer:
    """Serves the files of web/ and an echo that a test controls.

    The echo sends a text piece with every frame, and resumes calls.

    Every connection gets a new resume token, which is valid until the next one; an invalid token is refused. This
    server starts at once and is never late, unlike a model's server on a busy machine.
    """

    def __init__(self) -> None:
        self.tokens: list[str] = []  # the resume token of each connection
        self.received_packets = 0
        self.is_silent = False  # receives, and sends nothing
        self.last_frame: list[bytes] = []  # messages
        self.keeps_calls = True  # sends resume tokens
        self.close_codes: list[int | None] = []  # of each connection that the page closed
        self.queries: list[dict[str, list[str]]] = []
        self.pages: dict[str, str] = {"/bare": ""}  # path → HTML
        self.prepended: dict[str, str] = {}  # path → code before a script
        self.info: dict[str, Any] | None = None  # what /api/info says
        self.statuses: dict[str, int] = {}  # path → the HTTP status of every request for it, the call's included
        self.delay_frames = 0  # how many frames the echo lags behind
        self.says_numbers = True  # a text piece with every frame
        self._tokens_sent = 0
        self._calls = 0
        self._valid = ""
        self._connections: set[ServerConnection] = set()
        self._server: Server | None = None

    async def __aenter__(self) -> ScriptedServer:
        self._server = await serve(self._answer, "127.0.0.1", 0, process_request=self._file)
        self.url = f"http://127.0.0.1:{next(iter(self._server.sockets)).getsockname()[1]}/"
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server
        self._server.close()

    def drop_connections(self) -> None:
        """Abort every connection without a close frame."""
        for connection in list(self._connections):
            connection.transport.abort()

    def forget_call(self) -> None:
        """Make the present resume token invalid."""
        self._valid = ""

    async def end_calls(self, reason: str) -> None:
        """End every call with an `end` event and a close frame."""
        await self.send(b"\x04" + json.dumps({"type": "end", "reason": reason}).encode())
        for connection in list(self._connections):
            await connection.close(1000)

    async def send(self, message: bytes) -> None:
        """To every connection."""
        for connection in list(self._connections):
            await connection.send(message)

    def _file(self, connection: ServerConnection, request: Request) -> Response | None:
        """A page or a file of web/, or None for the call itself."""
        path = urlsplit(request.path).path
        file = WEB / (path.lstrip("/") or "index.html")
        if path in self.statuses:
            return connection.respond(self.statuses[path], "refused")
        if path == "/api/chat":
            return None
        if path == "/api/info" and self.info is not None:
            return _response(json.dumps(self.info).encode(), "application/json", STRICT)
        if path == "/readyz":
            return connection.respond(200, "ready")
        if path in self.pages:
            return _response(self.pages[path].encode(), "text/html", STRICT if path == "/bare" else {})
        if not file.is_file():
            return connection.respond(404, "not here")
        script = file.suffix in (".js", ".mjs")
        kind = "text/javascript" if script else mimetypes.guess_type(file)[0] or "application/octet-stream"
        return _response(self.prepended.get(path, "").encode() + file.read_bytes(), kind, STRICT)

    async def _answer(self, connection: ServerConnection) -> None:
        assert connection.request
        query = parse_qs(urlsplit(connection.request.path).query)
        token = query.get("resume", [""])[0]
        self.queries.append(query)
        self.tokens.append(token)
        if token and token != self._valid:
            await connection.send(b"\x05That conversation is over.")
            await connection.send(b'\x04{"type": "end", "reason": "resume"}')
            await connection.close(1008)
            return
        self._calls += not token
        self._tokens_sent += 1
        self._valid = f"token-{self._tokens_sent}"
        self._connections.add(connection)
        ready = {"type": "ready", "call": f"call-{self._calls}", "seed": 7, "resume": None}
        if self.keeps_calls:
            ready |= {"resume": self._valid, "resume_s": RESUME_S}
        await connection.send(b"\x04" + json.dumps(ready).encode())
        await connection.send(b"\x00")
        with contextlib.suppress(ConnectionClosed):
            await self._echo(connection)
        self._connections.discard(connection)
        self.close_codes.append(connection.close_code)

    async def _echo(self, connection: ServerConnection) -> None:
        frame: list[bytes] = []
        earlier: list[list[bytes]] = []
        for number in itertools.count():
            frame.append(bytes(await connection.recv(decode=False)))
            self.received_packets += 1
            if len(frame) == PACKETS_PER_FRAME and self.is_silent:
                frame.clear()
            elif len(frame) == PACKETS_PER_FRAME:
                earlier.append(frame.copy())
                frame.clear()
                if len(earlier) <= self.delay_frames:
                    continue
                if self.says_numbers:
                    await connection.send(b"\x02" + f" {number // PACKETS_PER_FRAME}".encode())
                self.last_frame = earlier.pop(0)
                for message in self.last_frame:
                    await connection.send(message)


def _response(body: bytes, kind: str, headers: dict[str, str]) -> Response:
    always = {"Content-Type": kind, "Content-Length": str(len(body)), "Connection": "close"} | ANYWHERE
    return Response(200, "OK", Headers(always | headers), body)
