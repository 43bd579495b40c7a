"""What one client may have and send in all, over any number of connections."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, suppress
from functools import partial
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from server.calls.callers import Callers
from server.calls.receiver import Receiver
from server.dialects.kyutai import KyutaiDialect
from server.dialects.kyutai_protocol import AudioForm
from server.errors import RateLimited, TooManyCalls
from server.metrics import Count
from server.sessions.params import SessionParams
from server.sessions.session import Session
from server.settings import Settings
from server.transport.rate_limit import BURST_S, SOUND_S_PER_S, RateLimiter
from tests.fakes import FakeClock
from tests.server.chat_client import open_chat, wait_until
from tests.server.conftest import RunningServer, Serve

LONG_PACKET = bytes([0b01110_1_11, 12]) + bytes(24)  # 120 ms: twelve times 10 ms of stereo hybrid


def as_client(address: str) -> dict[str, Any]:
    """The client of this address, through a proxy on this machine."""
    return {"additional_headers": {"X-Forwarded-For": address}}


async def is_refused(served: RunningServer, address: str) -> bool:
    """Whether this client may have no other call."""
    try:
        async with open_chat(served.chat, **as_client(address)) as client:
            await client.handshake()
            return False
    except InvalidStatus as refusal:
        return refusal.response.status_code == 429


async def test_client_cannot_have_more_calls_by_parking_some(serve: Serve):
    served = await serve(slots=8, max_calls_per_caller=2)
    async with AsyncExitStack() as calls:
        tokens: list[str] = []
        for _ in range(2):
            client = await calls.enter_async_context(open_chat(served.chat + "?events=1", **as_client("2001:db8::1")))
            tokens.append((await client.event("ready"))["resume"])
            await client.handshake()
            client.abort()
        await wait_until(lambda: served.service.parked == 2)
        assert await is_refused(served, "2001:db8::2")
        for token in tokens:
            url = f"{served.chat}?events=1&resume={token}"
            client = await calls.enter_async_context(open_chat(url, **as_client("2001:db8::3")))
            await client.handshake()
        assert await is_refused(served, "2001:db8::4")
        assert served.service.running == 2


async def test_call_that_is_taken_over_counts_once(serve: Serve):
    served = await serve(slots=4, max_calls_per_caller=2)
    async with open_chat(served.chat + "?events=1", **as_client("203.0.113.7")) as client:
        token = (await client.event("ready"))["resume"]
        await client.handshake()
        async with open_chat(f"{served.chat}?events=1&resume={token}", **as_client("203.0.113.7")) as again:
            await again.handshake()
            async with open_chat(served.chat, **as_client("203.0.113.7")) as second:
                await second.handshake()
                assert await is_refused(served, "203.0.113.7")
    await wait_until(lambda: served.service.running == 0)
    assert not await is_refused(served, "203.0.113.7")


@pytest.mark.parametrize("written", ["127.0.0.1", "127.0.0.2", "::ffff:127.0.0.1"])
async def test_client_that_writes_loopback_into_its_header_is_counted(serve: Serve, written: str):
    served = await serve(slots=4, max_calls_per_caller=1)
    async with open_chat(served.chat, **as_client(f"{written}, 203.0.113.7")) as client:
        await client.handshake()
        assert await is_refused(served, "127.0.0.1, 203.0.113.7")
    async with open_chat(served.chat, **as_client(written)) as client:
        await client.handshake()
        assert await is_refused(served, written)


async def test_client_without_an_address_is_refused(serve: Serve):
    served = await serve()
    with pytest.raises(InvalidStatus) as refusal:
        async with open_chat(served.chat, **as_client("nobody")):
            pass
    assert refusal.value.response.status_code == 400


def new_session(callers: Callers, clock: FakeClock, key: str | None) -> Session:
    session = Session(SessionParams(), clock)
    callers.check(key)
    callers.enter(session, key)
    return session


def test_next_call_of_a_client_gets_no_fresh_burst():
    clock = FakeClock()
    callers = Callers(Settings(model="echo", max_calls_per_caller=2), clock)
    for number in range(3):
        session = new_session(callers, clock, "203.0.113.7")
        neighbour = new_session(callers, clock, "203.0.113.8")
        callers.rate_limiter(neighbour).spend(1, 0)
        limiter = callers.rate_limiter(session)
        if number == 0:
            limiter.spend(0, 0, BURST_S * SOUND_S_PER_S)
        else:
            with pytest.raises(RateLimited):
                limiter.spend(0, 0, 0.1)
        callers.leave(session)
        callers.leave(neighbour)


def test_rate_limiters_of_clients_that_left_are_forgotten():
    clock = FakeClock()
    callers = Callers(Settings(model="echo"), clock)
    for number in range(3000):
        clock.advance(0.05)
        session = new_session(callers, clock, f"client {number}")
        callers.rate_limiter(session).spend(0, 0, 1.0)
        callers.leave(session)
    assert len(callers._unused) < 700 and not callers._callers


def test_parked_and_waiting_calls_count_until_they_end():
    clock = FakeClock()
    callers = Callers(Settings(model="echo", max_calls_per_caller=2), clock)
    first, _ = (new_session(callers, clock, "203.0.113.7") for _ in range(2))
    with pytest.raises(TooManyCalls, match="2 calls"):
        callers.check("203.0.113.7")
    callers.check("203.0.113.8")
    callers.check(None)
    callers.leave(first)
    callers.check("203.0.113.7")


async def test_resumed_call_gets_no_fresh_burst(serve: Serve):
    served = await serve()
    url, message, sounds = served.chat + "?events=1", b"\1" + LONG_PACKET, 0
    while sounds < 5:  # of 12 s each
        async with open_chat(url, AudioForm.RAW) as client:
            token = (await client.event("ready"))["resume"]
            await client.handshake()
            with suppress(ConnectionClosed):
                for _ in range(100):
                    await client.socket.send(message)
            sounds += 1
            is_over = partial(_is_received, served, sounds * 100 * len(message))
            await wait_until(is_over)
            if not served.service.running:
                await client.wait_closed()
                assert (await client.event("end"))["reason"] == "flood"
                break
            client.abort()
        url = f"{served.chat}?events=1&resume={token}"
    assert sounds == 3, "a resumption brought a fresh burst"


def _is_received(served: RunningServer, expected_bytes: int) -> bool:
    """Whether all of it was read, or the call was ended before."""
    return served.service.counts[Count.RECEIVED_BYTES] >= expected_bytes or not served.service.running


async def test_long_packets_leave_the_event_loop_to_others():
    clock = FakeClock()
    session = Session(SessionParams(), clock)
    session.open()
    receiver = Receiver(None, KyutaiDialect({}), RateLimiter(1e9, clock), clock)  # type: ignore[arg-type]
    decoding = asyncio.create_task(receiver._decode([LONG_PACKET] * 40, session, session.outbox))
    turns = 0
    while not decoding.done():
        await asyncio.sleep(0)
        turns += 1
    assert turns >= 40, "more than 120 ms of sound were decoded in one turn of the loop"
