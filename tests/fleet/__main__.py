"""The cost of the balancer: `python -m tests.fleet`, or the end of `make fleet-check`.

Two calls to one server send frames in turn, one of them through HAProxy; the difference of their medians is the cost of
the balancer. Then a full fleet refuses calls with 503, and the time until the refusal is measured. The servers echo,
because the time of a model's step would only blur the difference.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path

import numpy as np

from server.audio.framing import FRAME_S
from tests.fleet.fleet import Fleet, running_fleet
from tests.server.chat_client import ChatClient, open_chat, speech

FRAMES = 400
REFUSALS = 100
FRAME = speech(1)[0]


async def main() -> int:
    with tempfile.TemporaryDirectory() as directory:
        async with running_fleet(Path(directory), "--model", "echo", "--slots", "4") as fleet:
            await balancing(fleet)
            await refusing(fleet)
    return 0


async def balancing(fleet: Fleet) -> None:
    async with AsyncExitStack() as calls:
        through = await calls.enter_async_context(open_chat(fleet.chat + "?events=1"))
        await through.handshake()
        server = fleet.server_of((await through.event("ready"))["resume"])
        direct = await calls.enter_async_context(open_chat(server.chat))
        await direct.handshake()
        took_ms: dict[ChatClient, list[float]] = {direct: [], through: []}
        for _ in range(FRAMES):
            for client, taken in took_ms.items():
                await asyncio.sleep(FRAME_S / 2)
                taken.append(await round_trip_ms(client))
    for label, taken in zip(("direct", "through HAProxy"), took_ms.values(), strict=True):
        print(f"{label:<16} {spread(taken)}, {FRAMES} frames")
    direct_ms, through_ms = (float(np.median(taken)) for taken in took_ms.values())
    print(f"{'balancing adds':<16} {through_ms - direct_ms:.2f} ms p50\n")


async def round_trip_ms(client: ChatClient) -> float:
    started_at = time.perf_counter()
    await client.send_frame(FRAME)
    await client.receive_frame()
    return 1e3 * (time.perf_counter() - started_at)


async def refusing(fleet: Fleet) -> None:
    """Three full servers. Each request is raw, because a client library takes longer than the answer."""
    async with AsyncExitStack() as calls:
        for _ in range(12):
            await (await calls.enter_async_context(open_chat(fleet.chat))).handshake()
        took_ms = [await refused_after_ms(fleet.port) for _ in range(REFUSALS)]
    print(f"{'503 when full':<16} {spread(took_ms)}, {REFUSALS} requests, each of which tried several servers")


async def refused_after_ms(port: int) -> float:
    request = (
        "GET /api/chat HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    )
    started_at = time.perf_counter()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request.encode())
    head = await reader.readuntil(b"\r\n\r\n")
    took_ms = 1e3 * (time.perf_counter() - started_at)
    writer.close()
    assert head.startswith(b"HTTP/1.1 503 ") and b"retry-after" in head.lower(), head
    return took_ms


def spread(took_ms: list[float]) -> str:
    p50, p95, p99 = np.percentile(took_ms, [50, 95, 99])
    return f"p50 {p50:.2f} · p95 {p95:.2f} · p99 {p99:.2f} ms"


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
