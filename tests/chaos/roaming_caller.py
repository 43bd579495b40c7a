"""A caller that moves between networks: it speaks in real time, reconnects when the connection breaks, and measures the
delay with clicks."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import numpy as np
from websockets.exceptions import ConnectionClosed

from server.audio.framing import FRAME_S, FRAME_SAMPLES
from tests.server.chat_client import ChatClient, open_chat

_QUIET = np.zeros(FRAME_SAMPLES, np.float32)
_CLICK = (0.5 * np.sin(np.arange(FRAME_SAMPLES) / 6)).astype(np.float32)
_LOUD = 0.1


class RoamingCaller:
    """One conversation with the echo, over as many connections as it takes."""

    def __init__(self, chat: str) -> None:
        self.calls: list[str] = []  # the call id of each connection
        self.ends: list[str] = []  # why the server ended it
        self._chat = chat
        self._token: str | None = None
        self._clicks = False
        self._came_back = asyncio.Event()

    async def delay_s(self, clicks: int = 5) -> float:
        """From sending a click to receiving it: the minimum of several."""
        delays_s: list[float] = []
        for _ in range(clicks):
            self._came_back.clear()
            sent_at = time.perf_counter()
            self._clicks = True
            await self._came_back.wait()
            delays_s.append(time.perf_counter() - sent_at)
            await asyncio.sleep(3 * FRAME_S)  # until the click has passed
        return min(delays_s)

    async def talk(self) -> None:
        """Talk until cancelled."""
        while not self.ends:
            resume = f"&resume={self._token}" if self._token else ""
            with suppress(ConnectionClosed, OSError, TimeoutError):
                async with open_chat(f"{self._chat}?events=1{resume}") as client:
                    await client.handshake()
                    self._note_ready(client)
                    speaking = asyncio.create_task(self._speak(client))
                    try:
                        await self._listen(client)
                    finally:
                        speaking.cancel()
                        self.ends += [event["reason"] for event in client.events if event["type"] == "end"]

    def _note_ready(self, client: ChatClient) -> None:
        [ready] = [event for event in client.events if event["type"] == "ready"]
        self._token = ready["resume"]
        self.calls.append(ready["call"])

    async def _speak(self, client: ChatClient) -> None:
        with suppress(ConnectionClosed):
            while True:
                clicks, self._clicks = self._clicks, False
                await client.send_frame(_CLICK if clicks else _QUIET)
                await asyncio.sleep(FRAME_S)

    async def _listen(self, client: ChatClient) -> None:
        while True:
            if np.abs(await client.receive_frame()).max() > _LOUD:
                self._came_back.set()


@asynccontextmanager
async def roaming_caller(chat: str) -> AsyncIterator[RoamingCaller]:
    """A caller that talks while the block lasts."""
    caller = RoamingCaller(chat)
    talking = asyncio.create_task(caller.talk())
    try:
        yield caller
    finally:
        talking.cancel()
        with suppress(asyncio.CancelledError):
            await talking
