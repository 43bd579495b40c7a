"""One caller of a storm: dials, and writes down what came of it."""

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
class Ledger:
    """What the callers saw."""

    asked: int = 0  # whose request the server answered, with a call or without
    broken_off: int = 0  # whose dialling failed: the server may have answered or not
    told: Counter[str] = field(default_factory=Counter)  # why there is no call any more, in the server's word
    gone: int = 0  # who left before they were told anything
    resumed: int = 0  # who found their call again
    behaved: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class Caller:
    """Where they call, by what chance they act, and where it is written down."""

    url: str
    chance: random.Random
    ledger: Ledger

    async def dial(
        self, query: str, behave: Callable[[ChatClient], Awaitable[None]], form: AudioForm | None = None, **options: Any
    ) -> str | None:
        """One request, and what the caller does with it; why there is no call any more, if they were told."""
        ledger = self.ledger
        try:
            async with open_chat(
                f"{self.url}?events=1{query}", form or self.chance.choice([*AudioForm]), **options
            ) as client:
                ledger.asked += 1
                with suppress(ConnectionClosed):
                    await behave(client)
                with suppress(ConnectionClosed):  # what came together with the end
                    while client.socket.close_code is not None:
                        client._note(await client._receive())
        except InvalidStatus as refused:
            ledger.asked += 1
            code = json.loads(refused.response.body or b"")["error"]["code"]
            ledger.told[code] += 1
            return code
        ends = [event["reason"] for event in client.events if event["type"] == "end"]
        assert len(ends) <= 1, "a call ends once"
        ledger.told.update(ends)
        ledger.gone += not ends
        return ends[0] if ends else None


async def talk(client: ChatClient, chance: random.Random, pace: float = 1.0) -> None:
    """Up to two seconds of speech, listening meanwhile."""
    await client.handshake()
    listening = asyncio.create_task(listen(client))
    try:
        for _ in range(chance.randint(1, 25)):
            await client.send_frame(chance.choice(SPEECH))
            await asyncio.sleep(FRAME_S * pace)
    finally:
        listening.cancel()
        with suppress(asyncio.CancelledError):
            await listening


async def listen(client: ChatClient) -> None:
    """Until the end."""
    with suppress(ConnectionClosed):
        await client.wait_closed()
