"""Floods a server on this machine from its own process, limited in requests and time, and prints what came of it.

    python -m tests.bench.flooder PORT FLOOD SECONDS

Where a flood comes from is said with `X-Forwarded-For`, which servers trust from this machine: the server takes each
caller for the one of that address, and this machine's own callers, such as the neighbour, for others. All are
addresses for benchmarks (198.18.0.0/15), which nobody has.
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import cycle, islice, repeat

from tests.bench.processes import ROOT

REQUESTS = 11_500  # at most, of a flood
_PAUSE_S = 0.01  # after a connection that the server closed
_MODULE = max((ROOT / "web").rglob("*.*js"), key=lambda path: path.stat().st_size)
MODULE = "/" + _MODULE.relative_to(ROOT / "web").as_posix()
MODULE_BYTES = _MODULE.stat().st_size
_UPGRADE = (
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
)
_GZIP = ("Accept-Encoding: gzip",)
_FOREIGN = (*_GZIP, "Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: no-cors", "Sec-Fetch-Dest: script")
_ORIGIN = ("Origin: https://elsewhere.example", "Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: cors")

CLOSED, UNANSWERED = "closed", "unanswered"

Requests = Iterator[bytes]  # of one connection, in turn


@dataclass(slots=True)
class FloodOutcome:
    """What came of a flood. Times are those of `time.perf_counter`, which all processes share on Linux."""

    answers: Counter[str] = field(
        default_factory=Counter
    )  # by status; "closed", "none": the connection was, or was not
    received_bytes: int = 0
    longest_s: float = 0.0  # from a request to its answer, or to the end of the connection
    started_at: float = 0.0
    ended_at: float = 0.0


def _request(port: int, path: str, address: str, *headers: str) -> bytes:
    lines = (f"GET {path} HTTP/1.1", f"Host: localhost:{port}", f"X-Forwarded-For: {address}", *headers)
    return "\r\n".join([*lines, "", ""]).encode()


def modules(port: int) -> list[Requests]:
    """64 connections of one address that ask for the page's largest module, compressed."""
    return [repeat(_request(port, MODULE, "198.18.0.1", *_GZIP)) for _ in range(64)]


def probes(port: int) -> list[Requests]:
    """64 connections of one address that ask for /healthz and /metrics in turn."""
    return [cycle([_request(port, path, "198.18.0.1") for path in ("/healthz", "/metrics")]) for _ in range(64)]


def addresses(port: int) -> list[Requests]:
    """A thousand addresses, with one connection each, that load the page and its largest module."""
    each = [f"198.18.{1 + number // 250}.{1 + number % 250}" for number in range(1000)]
    return [cycle([_request(port, path, address, *_GZIP) for path in ("/", MODULE)]) for address in each]


def half_open(port: int) -> list[Requests]:
    """Sixteen upgrades that one HTTP parser accepts and the next one refuses, each on its own connection, once."""
    oddities = [
        ("Content-Length: 1",),
        ("Transfer-Encoding: chunked",),
        tuple(f"X-{number}: 1" for number in range(130)),
        ("X-Long: " + 9000 * "x",),
    ]
    made = [_request(port, "/api/chat", "198.18.0.1", *_UPGRADE, *headers) for headers in oddities]
    return [iter([made[number % len(made)]]) for number in range(16)]


def page(port: int) -> list[Requests]:
    """A page of another site in a visitor's browser: six connections, as browsers allow, and upgrades on a seventh."""
    paths = (MODULE, "/healthz", "/metrics", "/api/info", "/")
    asked = [_request(port, path, "198.18.0.2", *headers) for path in paths for headers in (_FOREIGN, _ORIGIN)]
    upgrade = _request(port, "/api/chat", "198.18.0.2", *_UPGRADE, _ORIGIN[0])
    return [*(islice(cycle(asked), start, None) for start in range(6)), repeat(upgrade)]


FLOODS = {flood.__name__: flood for flood in (modules, probes, addresses, half_open, page)}


class Flooder:
    """Sends the requests of each connection in turn, the next one after an answer."""

    def __init__(self, port: int, seconds: float) -> None:
        self.outcome = FloodOutcome()
        self._port, self._seconds = port, seconds
        self._left = REQUESTS

    async def run(self, connections: list[Requests]) -> None:
        self.outcome.started_at = time.perf_counter()
        with suppress(TimeoutError):
            async with asyncio.timeout(self._seconds):
                await asyncio.gather(*map(self._send_all, connections))
        self.outcome.ended_at = time.perf_counter()

    async def _send_all(self, requests: Requests) -> None:
        while self._left > 0:
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
            except OSError:
                self.outcome.answers[CLOSED] += 1
                await asyncio.sleep(_PAUSE_S)
                continue
            try:
                for request in requests:
                    self._left -= 1
                    writer.write(request)
                    if not await self._answer(reader) or self._left <= 0:
                        break
                else:
                    return
            finally:
                writer.transport.abort()
            await asyncio.sleep(_PAUSE_S)

    async def _answer(self, reader: asyncio.StreamReader) -> bool:
        """Read an answer and count it; False when no more can be asked on this connection."""
        asked_at, status = time.perf_counter(), UNANSWERED
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            status = head.split(None, 2)[1].decode()
            await self._skip_body(reader, head)
        except (OSError, asyncio.IncompleteReadError):
            status = CLOSED if status == UNANSWERED else status
            return False
        finally:
            self.outcome.answers[status] += 1
            self.outcome.longest_s = max(self.outcome.longest_s, time.perf_counter() - asked_at)
        return b"connection: close" not in head and status != "101"

    async def _skip_body(self, reader: asyncio.StreamReader, head: bytes) -> None:
        headers = dict(line.split(b": ", 1) for line in head.split(b"\r\n") if b": " in line)
        if b"chunked" in headers.get(b"transfer-encoding", b""):
            while size := int(await reader.readuntil(b"\r\n"), 16):
                self.outcome.received_bytes += len(await reader.readexactly(size + 2))
            await reader.readuntil(b"\r\n")
        else:
            size = int(headers.get(b"content-length", b"0"))
            self.outcome.received_bytes += len(await reader.readexactly(size))


def main() -> int:
    port, name, seconds = int(sys.argv[1]), sys.argv[2], float(sys.argv[3])
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, hard) if hard > 0 else 4096, hard))
    flooder = Flooder(port, seconds)
    asyncio.run(flooder.run(FLOODS[name](port)))
    outcome = flooder.outcome
    print(json.dumps({name: getattr(outcome, name) for name in FloodOutcome.__slots__}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
