"""Callers who join, leave, stall, vanish and send garbage at random, and a ledger of what each of them was told.

Everyone asks for events, so the server's own word for each end is known on both sides.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TypeAlias

from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from server.audio.framing import FRAME_S
from server.connection import MAX_UNDECODABLE
from server.wire.kyutai import AudioForm
from tests.server.conftest import Served
from tests.server.phone import Phone, dial, speech, until

SPEECH = speech(50)


@dataclass
class Ledger:
    """What the callers saw."""

    asked: int = 0  # whose request the server answered, with a call or without
    broken_off: int = 0  # whose dialling failed: the server may have answered or not
    told: Counter[str] = field(default_factory=Counter)  # why there is no call any more, in the server's word
    gone: int = 0  # who left before they were told anything
    behaved: Counter[str] = field(default_factory=Counter)


Behaviour: TypeAlias = Callable[[Phone, random.Random], Awaitable[None]]


async def _talk(phone: Phone, chance: random.Random, pace: float = 1.0) -> None:
    """Up to two seconds of speech, listening meanwhile."""
    await phone.greeting()
    listening = asyncio.create_task(_listen(phone))
    try:
        for _ in range(chance.randint(1, 25)):
            await phone.say(chance.choice(SPEECH))
            await asyncio.sleep(FRAME_S * pace)
    finally:
        listening.cancel()
        with suppress(asyncio.CancelledError):
            await listening


async def _listen(phone: Phone) -> None:
    with suppress(ConnectionClosed):
        await phone.end()


async def polite(phone: Phone, chance: random.Random) -> None:
    """Says goodbye."""
    await _talk(phone, chance)


async def hurried(phone: Phone, chance: random.Random) -> None:
    """Sends four times as fast as time passes."""
    await _talk(phone, chance, pace=0.25)


async def vanishing(phone: Phone, chance: random.Random) -> None:
    """Is gone in mid-word, or before the first one."""
    if chance.random() < 0.7:
        await _talk(phone, chance)
    phone.vanish()


async def deaf(phone: Phone, chance: random.Random) -> None:
    """Talks and reads nothing."""
    for _ in range(chance.randint(10, 60)):
        await phone.say(chance.choice(SPEECH))
        await asyncio.sleep(FRAME_S / 2)
    phone.vanish()


async def muted(phone: Phone, chance: random.Random) -> None:
    """Is silent in between."""
    await _talk(phone, chance)
    await asyncio.sleep(chance.uniform(0, 2))
    await phone.say(SPEECH[0])


async def garbling(phone: Phone, chance: random.Random) -> None:
    """Sends noise among its words until nobody wants to hear more."""
    await phone.greeting()
    for _ in range(chance.randint(1, 40)):
        await phone.socket.send(chance.randbytes(chance.randint(0, 400)))
        await phone.say(chance.choice(SPEECH))
        await asyncio.sleep(FRAME_S / 4)


async def undecodable(phone: Phone, chance: random.Random) -> None:
    """Sends what is no Opus, and hears why that is the end."""
    await phone.greeting()
    for _ in range(MAX_UNDECODABLE):
        await phone.socket.send(b"\1\xff\xff" + chance.randbytes(1))
    await phone.end()


async def texting(phone: Phone, _: random.Random) -> None:
    """Sends text where bytes belong, and hears why that is the end."""
    await phone.greeting()
    await phone.socket.send("hello")
    await phone.end()


async def oversized(phone: Phone, _: random.Random) -> None:
    """Sends a megabyte."""
    await phone.greeting()
    await phone.socket.send(bytes(1_000_000))
    await phone.end()


async def limited(phone: Phone, chance: random.Random) -> None:
    """Wants a short call, and hears its end."""
    await phone.greeting()
    listening = asyncio.create_task(_listen(phone))
    for _ in range(40):
        if listening.done():
            break
        await phone.say(chance.choice(SPEECH))
        await asyncio.sleep(FRAME_S)
    await listening


async def mistaken(phone: Phone, _: random.Random) -> None:
    """Asked for what there is not, and hears what."""
    await phone.end()


# With what query, and how often.
BEHAVIOURS: dict[Behaviour, tuple[str, int]] = {
    polite: ("", 6),
    hurried: ("", 2),
    vanishing: ("", 4),
    deaf: ("", 2),
    muted: ("", 2),
    garbling: ("", 3),
    undecodable: ("", 1),
    texting: ("", 1),
    oversized: ("", 1),
    limited: ("&max_steps=5", 2),
    mistaken: ("&text_temperature=hot", 1),
}


async def call(url: str, chance: random.Random, ledger: Ledger) -> None:
    """One call, whatever comes of it, written down."""
    behaviour = chance.choices([*BEHAVIOURS], [often for _, often in BEHAVIOURS.values()])[0]
    form = AudioForm.RAW if behaviour is undecodable else chance.choice([*AudioForm])
    query = f"?events=1&seed={chance.randrange(1000)}{BEHAVIOURS[behaviour][0]}"
    ledger.behaved[behaviour.__name__] += 1
    try:
        async with dial(url + query, form, max_queue=4 if behaviour is deaf else None) as phone:
            ledger.asked += 1
            with suppress(ConnectionClosed):
                await behaviour(phone, chance)
            with suppress(ConnectionClosed):  # what came together with the end
                while phone.socket.close_code is not None:
                    phone._note(await phone._receive())
    except InvalidStatus as refused:
        ledger.asked += 1
        ledger.told[json.loads(refused.response.body or b"")["error"]["code"]] += 1
        return
    ends = [event["reason"] for event in phone.events if event["type"] == "end"]
    assert len(ends) <= 1, "a call ends once"
    ledger.told.update(ends)
    ledger.gone += not ends


async def knock(port: int, chance: random.Random) -> None:
    """Something that does not even speak HTTP."""
    with suppress(OSError):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(chance.randbytes(chance.randint(0, 200)))
        await asyncio.sleep(chance.uniform(0, 0.2))
        writer.close()


async def storm(served: Served, callers: int, seconds: float, seed: int, ledger: Ledger | None = None) -> Ledger:
    """So many callers for so long, each beginning another call when one is over; all of it is added to `ledger`."""
    ledger = ledger or Ledger()
    loop = asyncio.get_running_loop()
    ends_at = loop.time() + seconds

    async def caller(number: int) -> None:
        chance = random.Random(seed * 1000 + number)
        await asyncio.sleep(chance.uniform(0, 0.2 * seconds))
        while loop.time() < ends_at:
            if chance.random() < 0.1:
                await knock(served.port, chance)
            try:
                await call(served.chat, chance, ledger)
            except (TimeoutError, WebSocketException, OSError):
                ledger.broken_off += 1
            await asyncio.sleep(chance.expovariate(2.0))

    await asyncio.gather(*map(caller, range(callers)))
    return ledger


async def settle_accounts(served: Served, ledger: Ledger, others: int = 0) -> None:
    """Wait until everybody is gone; assert that the server counted what they saw, and that nothing is left of them.

    `others` are calls that were made beside the storm.
    """
    metrics, reception = served.reception.metrics, served.reception
    with suppress(TimeoutError):
        await until(lambda: not len(reception.calls.seats) and not reception.running)
    left = [f"{session.call} is {session.state.value}" for session in reception.calls.seats]
    assert not left, f"still there: {', '.join(left)}"
    ended = Counter({code: count for code, count in metrics.ended.items() if code != "left"})
    for code, count in (ended + metrics.refused).items():
        saw = ledger.told[code]
        unsure = ledger.gone + ledger.broken_off
        assert saw <= count <= saw + unsure, f"{code}: the server counts {count}, {saw} callers saw it"
    assert set(ledger.told) <= {*ended, *metrics.refused}, f"callers saw {ledger.told}, which the server never counted"
    answered = metrics.counts["calls"] + metrics.refused.total() - others
    sure = ledger.asked, ledger.asked + ledger.broken_off
    assert sure[0] <= answered <= sure[1], f"{ledger.asked} asked, and {answered} were answered"
    assert not {"engine", "broken"} & {*ledger.told}, "something failed that was not made to"
    assert reception.running == reception.parked == reception.waiting == 0
    reception._engine.check_integrity()
    assert reception.status == "ready"
