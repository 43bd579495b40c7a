"""Somebody who talks to a fleet, at the pace of speech, until they hang up or are lost."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

from websockets.exceptions import ConnectionClosed

from server.audio.framing import FRAME_S
from tests.server.chat_client import TIMEOUT_S, ChatClient, speech

FRAMES = speech(4)


class Caller:
    """A call that has been answered. Begins to talk at once."""

    def __init__(self, client: ChatClient, ready: dict[str, Any] | None = None) -> None:
        """`ready`: what the server said of the call, if it was asked for events."""
        self.ready = ready or {}
        self.heard_frames = 0
        self.is_lost = False
        self._client = client
        self._talk = asyncio.create_task(self._talk_on())

    async def converse(self) -> None:
        """Wait until more is heard than can have been on its way. Raises when the call is lost."""
        heard_before = self.heard_frames
        async with asyncio.timeout(TIMEOUT_S):
            while self.heard_frames < heard_before + 4:
                assert not self.is_lost
                await asyncio.sleep(FRAME_S / 2)

    async def hang_up(self) -> None:
        await self._fall_silent()
        await self._client.socket.close()

    async def vanish(self) -> None:
        """Go without a word."""
        await self._fall_silent()
        self._client.abort()

    async def _fall_silent(self) -> None:
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
            await self._client.send_frame(frame)
            await asyncio.sleep(FRAME_S)

    async def _hear(self) -> None:
        while True:
            await self._client.receive_frame()
            self.heard_frames += 1


async def converse(*callers: Caller) -> None:
    """All of them at the same time."""
    await asyncio.gather(*(caller.converse() for caller in callers))
