"""Floods of requests that need no token: no round of the event loop, in which calls wait, takes long.

What a round takes is measured as this thread's own processor time, so that a busy machine changes nothing.
"""

from __future__ import annotations

import asyncio
import time
from asyncio import base_events
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
import pytest

from tests.server.calls.neighbour import unaffected_neighbour
from tests.server.conftest import Serve
from tests.server.http.test_page import LARGEST_PATH
from tests.server.transport.handshakes import UPGRADE, head

MAX_ROUND_MS = 10.0  # of 99.9 % of the rounds; compressing one file takes longer
FLOOD_S = 1.0
SOCKETS = 64


async def _flood(port: int, requests: list[bytes]) -> int:
    """Send `requests` over and over from many sockets; how many responses came."""
    answered, until = 0, time.monotonic() + FLOOD_S

    async def one(number: int) -> None:
        nonlocal answered
        while time.monotonic() < until:
            with suppress(OSError, asyncio.IncompleteReadError):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                for step in range(20):
                    if time.monotonic() > until:
                        break
                    writer.write(requests[(number + step) % len(requests)])
                    answer = await reader.readuntil(b"\r\n\r\n")
                    length = int(answer.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
                    await reader.readexactly(length)
                    answered += 1
                writer.close()

    await asyncio.gather(*(one(number) for number in range(SOCKETS)))
    return answered


@contextmanager
def _measured_rounds(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """The processor time of each round of the running loop, in ms."""
    measured, rounds_ms = asyncio.get_running_loop(), list[float]()
    run_once = base_events.BaseEventLoop._run_once  # type: ignore[attr-defined]

    def timed(loop: Any) -> None:
        started_at = time.thread_time()
        run_once(loop)
        if loop is measured:
            rounds_ms.append(1e3 * (time.thread_time() - started_at))

    with monkeypatch.context() as patched:
        patched.setattr(base_events.BaseEventLoop, "_run_once", timed)
        yield rounds_ms


FLOODS = {
    "one compressed module": [head(LARGEST_PATH, "Accept-Encoding: gzip")],
    "probes and metrics": [head("/healthz"), head("/metrics")],
    "refused handshakes": [head("/api/chat", *UPGRADE, "Content-Length: 1"), head("/none", *UPGRADE)],
}


@pytest.mark.usefixtures("unpaced_engine")
@pytest.mark.parametrize("name", FLOODS)
async def test_flood_leaves_every_round_of_the_event_loop_short(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, name: str
):
    served = await serve()
    async with unaffected_neighbour(served):
        with _measured_rounds(monkeypatch) as rounds_ms:
            answered = await asyncio.to_thread(asyncio.run, _flood(served.port, FLOODS[name]))
    assert answered > SOCKETS
    assert np.percentile(rounds_ms, 99.9) < MAX_ROUND_MS
