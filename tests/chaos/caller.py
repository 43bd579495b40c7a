"""One of many callers: connects, behaves in some way, and records the outcome."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from websockets.exceptions import ConnectionClosed, InvalidStatus

from server.audio.framing import FRAME_S
from server.dialects.kyutai_protocol import AudioForm
from tests.server.chat_client import ChatClient, open_chat, speech

SPEECH = speech(50)


@dataclass
class CallTally:
    """What all callers observed together."""

    answered: int = 0  # requests that the server answered, with a call or a refusal
    failed_connects: int = 0  # connections that failed: the server may have answered them or not
    end_reasons: Counter[str] = field(default_factory=Counter)  # of refusals and ended calls, as the server names them
    left_early: int = 0  # callers that left before they got a reason
    resumed: int = 0  # calls that were found again
    behaviours: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class ChaosCaller:
    """Which server to call, the randomness to act by, and where the outcome is counted."""

    url: str
    rng: random.Random
    tally: CallTally

    async def dial(
        self, query: str, behave: Callable[[ChatClient], Awaitable[None]], form: AudioForm | None = None, **options: Any
    ) -> str | None:
        """Make one request and behave in the call. Returns the reason of its end, if the server gave one."""
        tally = self.tally
        try:
            async with open_chat(
                f"{self.url}?events=1{query}", form or self.rng.choice([*AudioForm]), **options
            ) as client:
                tally.answered += 1
                with suppress(ConnectionClosed):
                    await behave(client)
                with suppress(ConnectionClosed):  # messages that came with the close
                    while client.socket.close_code is not None:
                        client._note(await client._receive())
        except InvalidStatus as refused:
            tally.answered += 1
            code = json.loads(refused.response.body or b"")["error"]["code"]
            tally.end_reasons[code] += 1
            return code
        ends = [event["reason"] for event in client.events if event["type"] == "end"]
        assert len(ends) <= 1, "a call ends once"
        tally.end_reasons.update(ends)
        tally.left_early += not ends
        return ends[0] if ends else None


async def talk(client: ChatClient, rng: random.Random, pace: float = 1.0) -> None:
    """Speak for up to two seconds, and listen at the same time."""
    await client.handshake()
    listening = asyncio.create_task(listen(client))
    try:
        for _ in range(rng.randint(1, 25)):
            await client.send_frame(rng.choice(SPEECH))
            await asyncio.sleep(FRAME_S * pace)
    finally:
        listening.cancel()
        with suppress(asyncio.CancelledError):
            await listening


async def listen(client: ChatClient) -> None:
    """Receive until the call ends."""
    with suppress(ConnectionClosed):
        await client.wait_closed()
