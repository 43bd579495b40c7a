"""Callers that join, leave, stall, disconnect, resume and send garbage at random, and a check that the server's counts
agree with theirs.

All of them ask for events, so both sides know the server's reason for each end.
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
from tests.chaos.caller import SPEECH, CallTally, ChaosCaller, listen, talk
from tests.chaos.resuming import disconnecting, taking_over
from tests.server.chat_client import ChatClient, wait_until
from tests.server.conftest import RunningServer

Behaviour: TypeAlias = Callable[[ChatClient, ChaosCaller], Awaitable[None]]


async def polite(client: ChatClient, caller: ChaosCaller) -> None:
    """Speaks and closes normally."""
    await talk(client, caller.rng)


async def hurried(client: ChatClient, caller: ChaosCaller) -> None:
    """Sends four times faster than real time."""
    await talk(client, caller.rng, pace=0.25)


async def deaf(client: ChatClient, caller: ChaosCaller) -> None:
    """Sends without reading."""
    for _ in range(caller.rng.randint(10, 60)):
        await client.send_frame(caller.rng.choice(SPEECH))
        await asyncio.sleep(FRAME_S / 2)
    client.abort()


async def muted(client: ChatClient, caller: ChaosCaller) -> None:
    """Pauses between words."""
    await talk(client, caller.rng)
    await asyncio.sleep(caller.rng.uniform(0, 2))
    await client.send_frame(SPEECH[0])


async def garbling(client: ChatClient, caller: ChaosCaller) -> None:
    """Mixes random bytes with speech, until the server ends the call or the caller leaves."""
    await client.handshake()
    for _ in range(caller.rng.randint(1, 40)):
        await client.socket.send(caller.rng.randbytes(caller.rng.randint(0, 400)))
        await client.send_frame(caller.rng.choice(SPEECH))
        await asyncio.sleep(FRAME_S / 4)


async def undecodable(client: ChatClient, caller: ChaosCaller) -> None:
    """Sends packets that cannot be decoded as Opus, and gets the reason for the end."""
    await client.handshake()
    for _ in range(MAX_UNDECODABLE):
        await client.socket.send(b"\1\xff\xff" + caller.rng.randbytes(1))
    await client.wait_closed()


async def texting(client: ChatClient, _: ChaosCaller) -> None:
    """Sends a text message instead of bytes, and gets the reason for the end."""
    await client.handshake()
    await client.socket.send("hello")
    await client.wait_closed()


async def oversized(client: ChatClient, _: ChaosCaller) -> None:
    """Sends a megabyte."""
    await client.handshake()
    await client.socket.send(bytes(1_000_000))
    await client.wait_closed()


async def limited(client: ChatClient, caller: ChaosCaller) -> None:
    """Asks for a short call, and receives until its end."""
    await client.handshake()
    listening = asyncio.create_task(listen(client))
    for _ in range(40):
        if listening.done():
            break
        await client.send_frame(caller.rng.choice(SPEECH))
        await asyncio.sleep(FRAME_S)
    await listening


async def mistaken(client: ChatClient, _: ChaosCaller) -> None:
    """Asked with an invalid parameter, and gets the reason."""
    await client.wait_closed()


# The query of each behaviour, and its weight.
BEHAVIOURS: dict[Behaviour, tuple[str, int]] = {
    polite: ("", 6),
    hurried: ("", 2),
    disconnecting: ("", 5),
    taking_over: ("", 1),
    deaf: ("", 2),
    muted: ("", 2),
    garbling: ("", 3),
    undecodable: ("", 1),
    texting: ("", 1),
    oversized: ("", 1),
    limited: ("&max_steps=5", 2),
    mistaken: ("&text_temperature=hot", 1),
}


async def call(caller: ChaosCaller) -> None:
    """One call of a random behaviour."""
    rng = caller.rng
    behaviour = rng.choices([*BEHAVIOURS], [often for _, often in BEHAVIOURS.values()])[0]
    form = AudioForm.RAW if behaviour is undecodable else None
    query = f"&seed={rng.randrange(1000)}{BEHAVIOURS[behaviour][0]}"
    caller.tally.behaviours[behaviour.__name__] += 1
    await caller.dial(query, lambda client: behaviour(client, caller), form, max_queue=4 if behaviour is deaf else None)


async def send_garbage(port: int, rng: random.Random) -> None:
    """Open a connection and send bytes that are not HTTP."""
    with suppress(OSError):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(rng.randbytes(rng.randint(0, 200)))
        await asyncio.sleep(rng.uniform(0, 0.2))
        writer.close()


async def run_callers(
    served: RunningServer, callers: int, seconds: float, seed: int, tally: CallTally | None = None
) -> CallTally:
    """Run `callers` for `seconds`, each starting another call when one is over; outcomes are added to `tally`."""
    tally = tally or CallTally()
    loop = asyncio.get_running_loop()
    ends_at = loop.time() + seconds

    async def call_again(number: int) -> None:
        rng = random.Random(seed * 1000 + number)
        caller = ChaosCaller(served.chat, rng, tally)
        await asyncio.sleep(rng.uniform(0, 0.2 * seconds))
        while loop.time() < ends_at:
            if rng.random() < 0.1:
                await send_garbage(served.port, rng)
            try:
                await call(caller)
            except (TimeoutError, WebSocketException, OSError):
                tally.failed_connects += 1
            await asyncio.sleep(rng.expovariate(2.0))

    await asyncio.gather(*map(call_again, range(callers)))
    return tally


async def assert_counts_agree(
    served: RunningServer, tally: CallTally, others: int = 0, others_resumed: int = 0
) -> None:
    """Wait until all callers have left; assert that the server counted what they saw and that nothing is left of them.

    `others`: the number of calls made besides those of `tally`; `others_resumed`: how often these were resumed.
    """
    metrics, service = served.service.metrics, served.service
    with suppress(TimeoutError):
        await wait_until(lambda: not len(service.calls.admission) and not service.running)
    left = [f"{session.id} is {session.state.value}" for session in service.calls.admission]
    assert not left, f"sessions are left: {', '.join(left)}"
    ended = Counter({code: count for code, count in metrics.ended.items() if code != "left"})
    resumed = metrics.counts[Count.CALLS_RESUMED] - others_resumed
    reasons = tally.end_reasons - Counter(taken_over=resumed)  # which does not end a call
    unsure = tally.left_early + tally.failed_connects
    for code, count in (ended + metrics.refused).items():
        assert reasons[code] <= count <= reasons[code] + unsure, (
            f"{code}: the server counts {count}, callers {reasons[code]}"
        )
    assert set(reasons) <= {*ended, *metrics.refused}, f"callers saw {reasons}, which the server never counted"
    assert tally.resumed <= resumed <= tally.resumed + unsure, f"{resumed} resumed, callers saw {tally.resumed}"
    answered = metrics.counts[Count.SESSIONS_ENDED] + resumed + metrics.refused.total() - others
    maximum = tally.answered + tally.failed_connects
    assert tally.answered <= answered <= maximum, f"the server answered {answered}, callers {tally.answered}"
    assert not {"engine", "broken"} & {*tally.end_reasons}, "the server failed"
    assert service.running == service.parked == service.waiting == 0
    service._engine.check_integrity()
    assert service.status == "ready"
