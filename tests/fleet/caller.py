"""A caller of a fleet: it talks in real time until it hangs up or loses its connection."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

from websockets.exceptions import ConnectionClosed

from server.audio.framing import FRAME_S
from tests.server.chat_client import TIMEOUT_S, ChatClient, speech

FRAMES = speech(4)


class FleetCaller:
    """A call that has been admitted. Starts to talk at once."""

    def __init__(self, client: ChatClient, ready: dict[str, Any] | None = None) -> None:
        """`ready`: the server's ready event, if the call asked for events."""
        self.ready = ready or {}
        self.received_frames = 0
        self.is_lost = False
        self._phone = client
        self._talk = asyncio.create_task(self._talk_on())

    async def converse(self) -> None:
        """Wait until more frames arrive than can have been in transit. Fails if the connection is lost."""
        received_before = self.received_frames
        async with asyncio.timeout(TIMEOUT_S):
            while self.received_frames < received_before + 4:
                assert not self.is_lost
                await asyncio.sleep(FRAME_S / 2)

    async def hang_up(self) -> None:
        await self._stop_talking()
        await self._phone.socket.close()

    async def vanish(self) -> None:
        """Drop the connection without closing it."""
        await self._stop_talking()
        self._phone.abort()

    async def _stop_talking(self) -> None:
        self._talk.cancel()
        await asyncio.wait([self._talk])

    async def _talk_on(self) -> None:
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(self._say())
                both.create_task(self._hear())
        except* ConnectionClosed:
            self.is_lost = True

    async def _say(self) -> None:
        for frame in itertools.cycle(FRAMES):
            await self._phone.send_frame(frame)
            await asyncio.sleep(FRAME_S)

    async def _hear(self) -> None:
        while True:
            await self._phone.receive_frame()
            self.received_frames += 1


async def converse(*callers: FleetCaller) -> None:
    """Let all callers converse at the same time."""
    await asyncio.gather(*(caller.converse() for caller in callers))
