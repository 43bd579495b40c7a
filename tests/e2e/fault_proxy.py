"""A TCP proxy between the browser and a server that drops connections when a test wants it to."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import subprocess
import tempfile
from pathlib import Path
from urllib.parse import urlsplit

CHUNK_BYTES = 65536


class FaultProxy:
    """Drops every connection on demand; can speak TLS to the browser and remove a prefix from every path."""

    def __init__(self, target: str, prefix: str = "/", tls: bool = False) -> None:
        self._target = urlsplit(target)
        self._prefix = prefix
        self._tls = tls
        self._writers: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> FaultProxy:
        context = _certificate() if self._tls else None
        self._server = await asyncio.start_server(self._relay, "127.0.0.1", 0, ssl=context)
        port = self._server.sockets[0].getsockname()[1]
        self.url = f"{'https' if self._tls else 'http'}://127.0.0.1:{port}{self._prefix}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self.drop_connections()
        self._server.close()

    def drop_connections(self) -> None:
        """Abort every connection without a close frame."""
        for writer in self._writers:
            writer.transport.abort()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server_reader, server_writer = await asyncio.open_connection(self._target.hostname, self._target.port)
        ends = {writer, server_writer}
        self._writers |= ends
        with contextlib.suppress(OSError):
            await asyncio.gather(self._pump(reader, server_writer), self._pump(server_reader, writer))
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
