"""Callers that lose their connection and resume: in time, too late, twice, while the old connection still exists, or
with an unknown token. Each checks the outcome.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from server.dialects.kyutai_protocol import AudioForm
from tests.chaos.caller import SPEECH, ChaosCaller, talk
from tests.server.chat_client import ChatClient

RESUME_S = 1.0  # how long these servers keep a call: short, so that slots are reused
_LOUD = 0.05
_MIN_ECHOES = 4  # more than can be in transit when a connection is lost


@dataclass(frozen=True)
class LostCall:
    """What a caller knows about a call whose connection is lost."""

    token: str
    call: str
    form: AudioForm

    @classmethod
    def by(cls, client: ChatClient) -> LostCall:
        """The call of a client that got its handshake."""
        [ready] = [event for event in client.events if event["type"] == "ready"]
        assert client.wire.form
        return cls(ready["resume"], ready["call"], client.wire.form)


Way: TypeAlias = Callable[[ChaosCaller, LostCall], Awaitable[None]]


async def disconnecting(client: ChatClient, caller: ChaosCaller) -> None:
    """Disconnects while speaking, or before; may resume."""
    if caller.rng.random() < 0.3:
        client.abort()
        return
    await lose_then(caller.rng.choice(WAYS), client, caller)


async def lose_then(way: Way, client: ChatClient, caller: ChaosCaller) -> None:
    """Talk, disconnect, and resume in that way."""
    await talk(client, caller.rng)
    client.abort()
    await way(caller, LostCall.by(client))


async def taking_over(client: ChatClient, caller: ChaosCaller) -> None:
    """Resumes over another connection while the first one still exists, and gets the reason for its end there."""
    await talk(client, caller.rng)
    lost = LostCall.by(client)
    if await _resume(caller, lost) != "resume":
        await client.wait_closed()


async def _stay_away(_: ChaosCaller, __: LostCall) -> None: ...


async def _in_time(caller: ChaosCaller, lost: LostCall) -> None:
    """Resumes the same call, unless another caller took the slot."""
    await asyncio.sleep(caller.rng.uniform(0, RESUME_S / 2))
    await _resume(caller, lost)


async def _too_late(caller: ChaosCaller, lost: LostCall) -> None:
    await asyncio.sleep(5 * RESUME_S)
    assert await _resume(caller, lost) == "resume", "a call was kept for too long"


async def _twice(caller: ChaosCaller, lost: LostCall) -> None:
    """Resumes in time, then again with the same token."""
    if await _resume(caller, lost) != "resume":
        assert await _resume(caller, lost) == "resume", "a token was accepted twice"


async def _with_unknown_token(caller: ChaosCaller, _: LostCall) -> None:
    unknown = LostCall(secrets.token_urlsafe(24), "unknown", AudioForm.RAW)
    assert await _resume(caller, unknown) == "resume", "an unknown token was accepted"


WAYS: tuple[Way, ...] = (_stay_away, _in_time, _too_late, _twice, _with_unknown_token)


async def _resume(caller: ChaosCaller, lost: LostCall) -> str | None:
    """Resume the call until the caller's own voice comes back, then disconnect. Returns why the call ended, if so."""

    async def go_on(client: ChatClient) -> None:
        await client.handshake()
        assert LostCall.by(client).call == lost.call, "resumed another caller's call"
        caller.tally.resumed += 1
        echoes = 0
        while echoes < _MIN_ECHOES:
            await client.send_frame(caller.rng.choice(SPEECH))
            echoes += bool(np.abs(await client.receive_frame()).max() > _LOUD)
        client.abort()

    return await caller.dial(f"&resume={lost.token}", go_on, lost.form)
