"""Callers who join, leave, stall, vanish, come back and send garbage at random, and whether the server's books agree
with theirs.

Everyone asks for events, so the server's own word for each end is known on both sides.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TypeAlias

from websockets.exceptions import WebSocketException

from server.audio.framing import FRAME_S
from server.calls.receiver import MAX_UNDECODABLE
from server.dialects.kyutai_protocol import AudioForm
from server.metrics import Count
from tests.chaos.caller import SPEECH, Caller, Ledger, listen, talk
from tests.chaos.returning import restless, vanishing
from tests.server.chat_client import ChatClient, wait_until
from tests.server.conftest import RunningServer

Behaviour: TypeAlias = Callable[[ChatClient, Caller], Awaitable[None]]


async def polite(client: ChatClient, caller: Caller) -> None:
    """Says goodbye."""
    await talk(client, caller.chance)


async def hurried(client: ChatClient, caller: Caller) -> None:
    """Sends four times as fast as time passes."""
    await talk(client, caller.chance, pace=0.25)


async def deaf(client: ChatClient, caller: Caller) -> None:
    """Talks and reads nothing."""
    for _ in range(caller.chance.randint(10, 60)):
        await client.send_frame(caller.chance.choice(SPEECH))
        await asyncio.sleep(FRAME_S / 2)
    client.abort()


async def muted(client: ChatClient, caller: Caller) -> None:
    """Is silent in between."""
    await talk(client, caller.chance)
    await asyncio.sleep(caller.chance.uniform(0, 2))
    await client.send_frame(SPEECH[0])


async def garbling(client: ChatClient, caller: Caller) -> None:
    """Sends noise among its words until nobody wants to hear more."""
    await client.handshake()
    for _ in range(caller.chance.randint(1, 40)):
        await client.socket.send(caller.chance.randbytes(caller.chance.randint(0, 400)))
        await client.send_frame(caller.chance.choice(SPEECH))
        await asyncio.sleep(FRAME_S / 4)


async def undecodable(client: ChatClient, caller: Caller) -> None:
    """Sends what is no Opus, and hears why that is the end."""
    await client.handshake()
    for _ in range(MAX_UNDECODABLE):
        await client.socket.send(b"\1\xff\xff" + caller.chance.randbytes(1))
    await client.wait_closed()


async def texting(client: ChatClient, _: Caller) -> None:
    """Sends text where bytes belong, and hears why that is the end."""
    await client.handshake()
    await client.socket.send("hello")
    await client.wait_closed()


async def oversized(client: ChatClient, _: Caller) -> None:
    """Sends a megabyte."""
    await client.handshake()
    await client.socket.send(bytes(1_000_000))
    await client.wait_closed()


async def limited(client: ChatClient, caller: Caller) -> None:
    """Wants a short call, and hears its end."""
    await client.handshake()
    listening = asyncio.create_task(listen(client))
    for _ in range(40):
        if listening.done():
            break
        await client.send_frame(caller.chance.choice(SPEECH))
        await asyncio.sleep(FRAME_S)
    await listening


async def mistaken(client: ChatClient, _: Caller) -> None:
    """Asked for what there is not, and hears what."""
    await client.wait_closed()


# With what query, and how often.
BEHAVIOURS: dict[Behaviour, tuple[str, int]] = {
    polite: ("", 6),
    hurried: ("", 2),
    vanishing: ("", 5),
    restless: ("", 1),
    deaf: ("", 2),
    muted: ("", 2),
    garbling: ("", 3),
    undecodable: ("", 1),
    texting: ("", 1),
    oversized: ("", 1),
    limited: ("&max_steps=5", 2),
    mistaken: ("&text_temperature=hot", 1),
}


async def call(caller: Caller) -> None:
    """One call, whatever comes of it, written down."""
    chance = caller.chance
    behaviour = chance.choices([*BEHAVIOURS], [often for _, often in BEHAVIOURS.values()])[0]
    form = AudioForm.RAW if behaviour is undecodable else None
    query = f"&seed={chance.randrange(1000)}{BEHAVIOURS[behaviour][0]}"
    caller.ledger.behaved[behaviour.__name__] += 1
    await caller.dial(query, lambda client: behaviour(client, caller), form, max_queue=4 if behaviour is deaf else None)


async def knock(port: int, chance: random.Random) -> None:
    """Something that does not even speak HTTP."""
    with suppress(OSError):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(chance.randbytes(chance.randint(0, 200)))
        await asyncio.sleep(chance.uniform(0, 0.2))
        writer.close()


async def storm(served: RunningServer, callers: int, seconds: float, seed: int, ledger: Ledger | None = None) -> Ledger:
    """So many callers for so long, each beginning another call when one is over; all of it is added to `ledger`."""
    ledger = ledger or Ledger()
    loop = asyncio.get_running_loop()
    ends_at = loop.time() + seconds

    async def call_again(number: int) -> None:
        chance = random.Random(seed * 1000 + number)
        caller = Caller(served.chat, chance, ledger)
        await asyncio.sleep(chance.uniform(0, 0.2 * seconds))
        while loop.time() < ends_at:
            if chance.random() < 0.1:
                await knock(served.port, chance)
            try:
                await call(caller)
            except (TimeoutError, WebSocketException, OSError):
                ledger.broken_off += 1
            await asyncio.sleep(chance.expovariate(2.0))

    await asyncio.gather(*map(call_again, range(callers)))
    return ledger


async def settle_accounts(served: RunningServer, ledger: Ledger, others: int = 0, others_resumed: int = 0) -> None:
    """Wait until everybody is gone; assert that the server counted what they saw, and that nothing is left of them.

    `others` are calls that were made beside the storm, and how often they were resumed.
    """
    metrics, service = served.service.metrics, served.service
    with suppress(TimeoutError):
        await wait_until(lambda: not len(service.calls.admission) and not service.running)
    left = [f"{session.id} is {session.state.value}" for session in service.calls.admission]
    assert not left, f"still there: {', '.join(left)}"
    ended = Counter({code: count for code, count in metrics.ended.items() if code != "left"})
    resumed = metrics.counts[Count.CALLS_RESUMED] - others_resumed
    told = ledger.told - Counter(taken_over=resumed)  # which ends no call
    unsure = ledger.gone + ledger.broken_off
    for code, count in (ended + metrics.refused).items():
        assert told[code] <= count <= told[code] + unsure, f"{code}: the server counts {count}, callers {told[code]}"
    assert set(told) <= {*ended, *metrics.refused}, f"callers saw {told}, which the server never counted"
    assert ledger.resumed <= resumed <= ledger.resumed + unsure, f"{resumed} resumed, callers saw {ledger.resumed}"
    answered = metrics.counts[Count.SESSIONS_ENDED] + resumed + metrics.refused.total() - others
    sure = ledger.asked, ledger.asked + ledger.broken_off
    assert sure[0] <= answered <= sure[1], f"{ledger.asked} asked, and {answered} were answered"
    assert not {"engine", "broken"} & {*ledger.told}, "something failed that was not made to"
    assert service.running == service.parked == service.waiting == 0
    service._engine.check_integrity()
    assert service.status == "ready"
