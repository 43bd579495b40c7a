"""Raw requests over a socket, as no library would send them."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import Any

from tests.server.chat_client import TIMEOUT_S

UPGRADE = (
    "Upgrade: websocket",
    "Connection: Upgrade",
    f"Sec-WebSocket-Key: {'A' * 22}==",
    "Sec-WebSocket-Version: 13",
)


@dataclass(frozen=True)
class RawResponse:
    """A response that was read until the server closed the connection."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def error(self) -> dict[str, Any]:
        return json.loads(self.body)["error"]


def head(target: str = "/api/chat", *lines: str, method: str = "GET") -> bytes:
    return "\r\n".join([f"{method} {target} HTTP/1.1", "Host: localhost", *lines, "", ""]).encode("latin-1")


async def exchange(port: int, request: bytes) -> RawResponse:
    """Send `request` and read until the server closes. Raises TimeoutError."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    async with asyncio.timeout(TIMEOUT_S):
        writer.write(request)
        received = await reader.read()
    writer.close()
    start, _, body = received.partition(b"\r\n\r\n")
    status, *lines = start.decode("latin-1").split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    return RawResponse(int(status.split()[1]) if received else 0, headers, body)
