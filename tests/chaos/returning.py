"""Callers who lose their line and come back: in time, too late, twice, over a line that is not lost, or with a token
that is nobody's. Each knows what has to come of it.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from server.dialects.kyutai_protocol import AudioForm
from tests.chaos.caller import SPEECH, Caller, talk
from tests.server.chat_client import ChatClient

RESUME_S = 1.0  # how long the servers of storms keep a call: short, so that slots go round
_LOUD = 0.05
_OWN_ECHOES = 4  # more than can be on their way when a line breaks


@dataclass(frozen=True)
class Lost:
    """What one knows of a call whose line is lost."""

    token: str
    call: str
    form: AudioForm

    @classmethod
    def by(cls, client: ChatClient) -> Lost:
        """The call of a client that completed the handshake."""
        [ready] = [event for event in client.events if event["type"] == "ready"]
        assert client.wire.form
        return cls(ready["resume"], ready["call"], client.wire.form)


Way: TypeAlias = Callable[[Caller, Lost], Awaitable[None]]


async def vanishing(client: ChatClient, caller: Caller) -> None:
    """Is gone in mid-word, or before the first one; may come back."""
    if caller.chance.random() < 0.3:
        client.abort()
        return
    await lose_and(caller.chance.choice(WAYS), client, caller)


async def lose_and(way: Way, client: ChatClient, caller: Caller) -> None:
    """Talk and vanish, and come back in that way."""
    await talk(client, caller.chance)
    client.abort()
    await way(caller, Lost.by(client))


async def restless(client: ChatClient, caller: Caller) -> None:
    """Goes on over another line before the first one is lost, and hears on that one why it ends."""
    await talk(client, caller.chance)
    lost = Lost.by(client)
    if await _resume(caller, lost) != "resume":
        await client.wait_closed()


async def _stay_away(_: Caller, __: Lost) -> None: ...


async def _in_time(caller: Caller, lost: Lost) -> None:
    """Goes on with the same call, unless somebody else took the slot."""
    await asyncio.sleep(caller.chance.uniform(0, RESUME_S / 2))
    await _resume(caller, lost)


async def _too_late(caller: Caller, lost: Lost) -> None:
    await asyncio.sleep(5 * RESUME_S)
    assert await _resume(caller, lost) == "resume", "a call was kept for longer than is said"


async def _twice(caller: Caller, lost: Lost) -> None:
    """In time, and once more with the token that was good for once."""
    if await _resume(caller, lost) != "resume":
        assert await _resume(caller, lost) == "resume", "a token was good for twice"


async def _as_somebody(caller: Caller, _: Lost) -> None:
    nobodys = Lost(secrets.token_urlsafe(24), "nobody's", AudioForm.RAW)
    assert await _resume(caller, nobodys) == "resume", "a token was good that nobody was told"


WAYS: tuple[Way, ...] = (_stay_away, _in_time, _too_late, _twice, _as_somebody)


async def _resume(caller: Caller, lost: Lost) -> str | None:
    """Go on with that call until one's own voice comes back, and vanish; why there is none, if so."""

    async def go_on(client: ChatClient) -> None:
        await client.handshake()
        assert Lost.by(client).call == lost.call, "somebody else's call"
        caller.ledger.resumed += 1
        own = 0
        while own < _OWN_ECHOES:
            await client.send_frame(caller.chance.choice(SPEECH))
            own += bool(np.abs(await client.receive_frame()).max() > _LOUD)
        client.abort()

    return await caller.dial(f"&resume={lost.token}", go_on, lost.form)
