"""Callers who lose their line and come back: in time, too late, twice, over a line that is not lost, or with a token
that is nobody's. Each knows what has to come of it.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import numpy as np

from tests.chaos.caller import SPEECH, Caller, talk
from tests.server.phone import Phone

RESUME_S = 1.0  # how long the servers of storms keep a call: short, so that slots go round
_LOUD = 0.05
_OWN_ECHOES = 4  # more than can be on their way when a line breaks

Way: TypeAlias = Callable[[Caller, dict[str, Any]], Awaitable[None]]  # with what was told at the greeting


async def vanishing(phone: Phone, caller: Caller) -> None:
    """Is gone in mid-word, or before the first one; may come back."""
    if caller.chance.random() < 0.3:
        phone.vanish()
        return
    await lose_and(caller.chance.choice(WAYS), phone, caller)


async def lose_and(way: Way, phone: Phone, caller: Caller) -> None:
    """Talk and vanish, and come back in that way."""
    await talk(phone, caller.chance)
    phone.vanish()
    [ready] = _ready(phone)
    await way(caller, ready)


async def restless(phone: Phone, caller: Caller) -> None:
    """Goes on over another line before the first one is lost, and hears on that one why it ends."""
    await talk(phone, caller.chance)
    [ready] = _ready(phone)
    if await _resume(caller, ready) != "resume":
        await phone.end()


async def _stay_away(_: Caller, __: dict[str, Any]) -> None: ...


async def _in_time(caller: Caller, ready: dict[str, Any]) -> None:
    """Goes on with the same call, unless somebody else took the slot."""
    await asyncio.sleep(caller.chance.uniform(0, RESUME_S / 2))
    await _resume(caller, ready)


async def _too_late(caller: Caller, ready: dict[str, Any]) -> None:
    await asyncio.sleep(5 * RESUME_S)
    assert await _resume(caller, ready) == "resume", "a call was kept for longer than is said"


async def _twice(caller: Caller, ready: dict[str, Any]) -> None:
    """In time, and once more with the token that was good for once."""
    if await _resume(caller, ready) != "resume":
        assert await _resume(caller, ready) == "resume", "a token was good for twice"


async def _as_somebody(caller: Caller, _: dict[str, Any]) -> None:
    stranger = {"resume": secrets.token_urlsafe(24), "call": "nobody's"}
    assert await _resume(caller, stranger) == "resume", "a token was good that nobody was told"


WAYS: tuple[Way, ...] = (_stay_away, _in_time, _too_late, _twice, _as_somebody)


async def _resume(caller: Caller, ready: dict[str, Any]) -> str | None:
    """Go on with that call until one's own voice comes back, and vanish; why there is none, if so."""

    async def go_on(phone: Phone) -> None:
        await phone.greeting()
        [again] = _ready(phone)
        assert again["call"] == ready["call"], "somebody else's call"
        caller.ledger.resumed += 1
        own = 0
        while own < _OWN_ECHOES:
            await phone.say(caller.chance.choice(SPEECH))
            own += bool(np.abs(await phone.hear()).max() > _LOUD)
        phone.vanish()

    return await caller.dial(f"&resume={ready['resume']}", go_on)


def _ready(phone: Phone) -> list[dict[str, Any]]:
    return [event for event in phone.events if event["type"] == "ready"]
