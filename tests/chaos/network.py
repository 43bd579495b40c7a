"""A bad network between a caller and the server: a TCP proxy that delays, stalls, narrows and cuts."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass


@dataclass(frozen=True)
class Weather:
    """What the network does to each way of a connection."""

    delay_s: float = 0.0
    jitter_s: float = 0.0  # as much more or less; what comes later never overtakes
    loss: float = 0.0  # of segments; TCP sends them again, and meanwhile all that follows waits
    resend_s: float = 0.2
    bytes_per_s: float = float("inf")


class BadNetwork:
    """The proxy. `outage` and `cut` befall all who are connected at that moment."""

    def __init__(self, port: int, weather: Weather, seed: int = 1) -> None:
        self.port = 0
        self._server_port = port
        self._weather = weather
        self._chance = random.Random(seed)
        self._open = asyncio.Event()
        self._open.set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def outage(self, seconds: float) -> None:
        """Nothing gets through for so long; then all of it does."""
        self._open.clear()
        await asyncio.sleep(seconds)
        self._open.set()

    def cut(self) -> None:
        """Reset every connection where it stands, in mid-message too."""
        for writer in self._writers:
            writer.transport.abort()

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Join a caller to the server."""
        there, back = await asyncio.open_connection("127.0.0.1", self._server_port)
        self._writers |= {writer, back}
        try:
            async with asyncio.TaskGroup() as ways:
                ways.create_task(self._carry(reader, back))
                ways.create_task(self._carry(there, writer))
        finally:
            self._writers -= {writer, back}
            for end in (writer, back):
                end.close()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One way, in order: each piece is due some time after it came, and not before the one before it."""
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
        weather, due_at = self._weather, 0.0
        with suppress(ConnectionError):
            while piece := await reader.read(1400):
                late_s = weather.delay_s + self._chance.uniform(-weather.jitter_s, weather.jitter_s)
                late_s += weather.resend_s * (self._chance.random() < weather.loss)
                due_at = max(due_at, loop.time() + late_s) + len(piece) / weather.bytes_per_s
                pieces.put_nowait((due_at, piece))
        pieces.put_nowait((due_at, b""))
        await delivering


@asynccontextmanager
async def bad_network(port: int, weather: Weather) -> AsyncIterator[BadNetwork]:
    """A network to the server on `port`, for as long as the block lasts; its own port is `port` of it."""
    network = BadNetwork(port, weather)
    server = await asyncio.start_server(network.accept, "127.0.0.1", 0)
    network.port = server.sockets[0].getsockname()[1]
    try:
        yield network
    finally:
        network._open.set()
        network.cut()
        server.close()
        await server.wait_closed()
