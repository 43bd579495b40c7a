"""A line between browser and server that fails when a test wants it to, and a server that does what a test wants."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import ssl
import subprocess
import tempfile
from pathlib import Path
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
CHUNK_BYTES = 65536
RESUME_S = 20


class CuttableLine:
    """A TCP proxy before a server: cuts every connection on demand, speaks TLS, and has a prefix before every path."""

    def __init__(self, target: str, prefix: str = "/", tls: bool = False) -> None:
        self._target = urlsplit(target)
        self._prefix = prefix
        self._tls = tls
        self._writers: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> CuttableLine:
        context = _certificate() if self._tls else None
        self._server = await asyncio.start_server(self._relay, "127.0.0.1", 0, ssl=context)
        port = self._server.sockets[0].getsockname()[1]
        self.url = f"{'https' if self._tls else 'http'}://127.0.0.1:{port}{self._prefix}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self.cut()
        self._server.close()

    def cut(self) -> None:
        """Every connection stops without a word."""
        for writer in self._writers:
            writer.transport.abort()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there_reader, there_writer = await asyncio.open_connection(self._target.hostname, self._target.port)
        ends = {writer, there_writer}
        self._writers |= ends
        with contextlib.suppress(OSError):
            await asyncio.gather(self._pump(reader, there_writer), self._pump(there_reader, writer))
        self._writers -= ends

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(CHUNK_BYTES):
                if data.startswith(b"GET "):
                    data = data.replace(f"GET {self._prefix}".encode(), b"GET /", 1)
                writer.write(data)
                await writer.drain()
        finally:
            writer.close()


def _certificate() -> ssl.SSLContext:
    with tempfile.TemporaryDirectory() as directory:
        key, certificate = Path(directory) / "key.pem", Path(directory) / "certificate.pem"
        made = f"openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=127.0.0.1 -keyout {key} -out {certificate}"
        subprocess.run(made.split(), check=True, capture_output=True)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        return context


class PuppetServer:
    """The page's files, and an echo that does what a test wants: it says a word with every frame, and it resumes calls.

    Every line gets a new token, good until the next; one that is not good is refused. The puppet is there at once and
    never late, which a model's server on a busy machine is not.
    """

    def __init__(self) -> None:
        self.tokens: list[str] = []  # as each line brought it
        self.heard_packets = 0
        self.is_silent = False  # hears, and says nothing
        self.said: list[bytes] = []  # the last frame's messages
        self.keeps_calls = True  # gives tokens
        self.goodbyes: list[int | None] = []  # the close code of each line that the page ended
        self.queries: list[dict[str, list[str]]] = []
        self.pages: dict[str, str] = {"/bare": ""}  # path → HTML
        self.before: dict[str, str] = {}  # path → what a script begins with
        self._given = 0
        self._calls = 0
        self._valid = ""
        self._lines: set[ServerConnection] = set()
        self._server: Server | None = None

    async def __aenter__(self) -> PuppetServer:
        self._server = await serve(self._answer, "127.0.0.1", 0, process_request=self._file)
        self.url = f"http://127.0.0.1:{next(iter(self._server.sockets)).getsockname()[1]}/"
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server
        self._server.close()

    def cut(self) -> None:
        """Every line stops without a word."""
        for line in list(self._lines):
            line.transport.abort()

    def forget(self) -> None:
        """No token given before is good any more."""
        self._valid = ""

    async def hang_up(self, reason: str) -> None:
        """End whoever is on the line, politely."""
        await self.send(b"\x04" + json.dumps({"type": "end", "reason": reason}).encode())
        for line in list(self._lines):
            await line.close(1000)

    async def send(self, message: bytes) -> None:
        """To whoever is on the line."""
        for line in list(self._lines):
            await line.send(message)

    def _file(self, connection: ServerConnection, request: Request) -> Response | None:
        """A page or a file of web/, or None for the call itself."""
        path = urlsplit(request.path).path
        file = WEB / path.lstrip("/")
        if path == "/api/chat":
            return None
        if path == "/readyz":
            return connection.respond(200, "ready")
        if path in self.pages:
            return _response(self.pages[path].encode(), "text/html", STRICT if path == "/bare" else {})
        if not file.is_file():
            return connection.respond(404, "not here")
        kind = "text/javascript" if file.suffix in (".js", ".mjs") else "application/octet-stream"
        return _response(self.before.get(path, "").encode() + file.read_bytes(), kind, STRICT)

    async def _answer(self, line: ServerConnection) -> None:
        assert line.request
        query = parse_qs(urlsplit(line.request.path).query)
        token = query.get("resume", [""])[0]
        self.queries.append(query)
        self.tokens.append(token)
        if token and token != self._valid:
            await line.send(b"\x05That conversation is over.")
            await line.send(b'\x04{"type": "end", "reason": "resume"}')
            await line.close(1008)
            return
        self._calls += not token
        self._given += 1
        self._valid = f"token-{self._given}"
        self._lines.add(line)
        ready = {"type": "ready", "call": f"call-{self._calls}", "seed": 7, "resume": None}
        if self.keeps_calls:
            ready |= {"resume": self._valid, "resume_s": RESUME_S}
        await line.send(b"\x04" + json.dumps(ready).encode())
        await line.send(b"\x00")
        with contextlib.suppress(ConnectionClosed):
            await self._echo(line)
        self._lines.discard(line)
        self.goodbyes.append(line.close_code)

    async def _echo(self, line: ServerConnection) -> None:
        frame: list[bytes] = []
        for number in itertools.count():
            frame.append(bytes(await line.recv(decode=False)))
            self.heard_packets += 1
            if len(frame) == PACKETS_PER_FRAME and self.is_silent:
                frame.clear()
            elif len(frame) == PACKETS_PER_FRAME:
                await line.send(b"\x02" + f" {number // PACKETS_PER_FRAME}".encode())
                for message in frame:
                    await line.send(message)
                self.said = frame.copy()
                frame.clear()


def _response(body: bytes, kind: str, headers: dict[str, str]) -> Response:
    always = {"Content-Type": kind, "Content-Length": str(len(body)), "Connection": "close"} | ANYWHERE
    return Response(200, "OK", Headers(always | headers), body)
