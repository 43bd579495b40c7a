"""A bad network between a caller and the server: a TCP proxy that delays, stalls, throttles and resets."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass


@dataclass(frozen=True)
class NetworkConditions:
    """What the network does to each direction of a connection."""

    delay_s: float = 0.0
    jitter_s: float = 0.0  # plus or minus; bytes never overtake earlier ones
    loss: float = 0.0  # share of segments; TCP resends them, and everything behind them waits
    resend_s: float = 0.2
    bytes_per_s: float = float("inf")


class BadNetwork:
    """The proxy. `outage` and `reset` affect every connection that is open at that moment."""

    def __init__(self, port: int, conditions: NetworkConditions, seed: int = 1) -> None:
        self.port = 0
        self._server_port = port
        self._weather = conditions
        self._chance = random.Random(seed)
        self._open = asyncio.Event()
        self._open.set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def outage(self, seconds: float) -> None:
        """Nothing gets through for `seconds`; then everything does."""
        self._open.clear()
        await asyncio.sleep(seconds)
        self._open.set()

    def reset(self) -> None:
        """Reset every connection, even within a message."""
        for writer in self._writers:
            writer.transport.abort()

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Connect a caller to the server."""
        server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self._server_port)
        self._writers |= {writer, server_writer}
        try:
            async with asyncio.TaskGroup() as directions:
                directions.create_task(self._carry(reader, server_writer))
                directions.create_task(self._carry(server_reader, writer))
        finally:
            self._writers -= {writer, server_writer}
            for end in (writer, server_writer):
                end.close()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One direction, in order: each piece is delivered some time after it came, and never before an earlier one."""
        loop = asyncio.get_running_loop()
        pieces: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

        async def deliver() -> None:
            while True:
                due_at, piece = await pieces.get()
                await asyncio.sleep(due_at - loop.time())
                await self._open.wait()
                if not piece:
                    writer.close()
                    return
                writer.write(piece)
                with suppress(ConnectionError):
                    await writer.drain()

        delivering = asyncio.create_task(deliver())
        conditions, due_at = self._weather, 0.0
        with suppress(ConnectionError):
            while piece := await reader.read(1400):
                late_s = conditions.delay_s + self._chance.uniform(-conditions.jitter_s, conditions.jitter_s)
                late_s += conditions.resend_s * (self._chance.random() < conditions.loss)
                due_at = max(due_at, loop.time() + late_s) + len(piece) / conditions.bytes_per_s
                pieces.put_nowait((due_at, piece))
        pieces.put_nowait((due_at, b""))
        await delivering


@asynccontextmanager
async def bad_network(port: int, conditions: NetworkConditions) -> AsyncIterator[BadNetwork]:
    """A network to the server on `port` while the block lasts; callers connect to its own `port`."""
    network = BadNetwork(port, conditions)
    server = await asyncio.start_server(network.accept, "127.0.0.1", 0)
    network.port = server.sockets[0].getsockname()[1]
    try:
        yield network
    finally:
        network._open.set()
        network.reset()
        server.close()
        await server.wait_closed()
