"""Calls through docker/haproxy.cfg to three servers: spread, turned away, killed, drained, updated, resumed.

Named so that `make test` leaves it out: it needs HAProxy, and half a minute. `make fleet-check` runs it.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
import pytest_asyncio
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.fleet.fleet import Fleet, Server, eventually, running_fleet
from tests.server.phone import PATIENCE_S, Phone, dial, speech

pytestmark = pytest.mark.asyncio(loop_scope="module")
SLOTS = 8
FRAMES = speech(4)


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def one_fleet(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Fleet]:
    directory = tmp_path_factory.mktemp("fleet")
    async with running_fleet(directory, "--model", "echo", "--slots", str(SLOTS), "--drain-s", "20") as fleet:
        yield fleet


@pytest_asyncio.fixture(loop_scope="module")
async def fleet(one_fleet: Fleet) -> Fleet:
    """Three servers, all ready and without a call."""
    await one_fleet.heal()
    return one_fleet


@pytest_asyncio.fixture(loop_scope="module")
async def calls() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


async def call(calls: AsyncExitStack, url: str) -> Phone:
    phone = await calls.enter_async_context(dial(url))
    await phone.greeting()
    return phone


async def converse(phone: Phone) -> None:
    """Say a frame and hear one."""
    await phone.say(FRAMES[0])
    await phone.hear()


async def lost(phone: Phone) -> bool:
    try:
        await converse(phone)
    except ConnectionClosed:
        return True
    return False


async def busiest(fleet: Fleet) -> Server:
    running = await fleet.running()
    return fleet.servers[running.index(max(running))]


async def test_calls_are_spread_evenly(fleet: Fleet, calls: AsyncExitStack) -> None:
    phones = [await call(calls, fleet.chat) for _ in range(9)]
    assert await fleet.running() == [3, 3, 3]
    await asyncio.gather(*map(converse, phones))


async def test_a_full_server_is_passed_over_and_a_full_fleet_says_so_itself(
    fleet: Fleet, calls: AsyncExitStack
) -> None:
    full = fleet.servers[1]
    for _ in range(SLOTS):
        await call(calls, full.chat)  # HAProxy knows nothing of these
    phones = [await call(calls, fleet.chat) for _ in range(2 * SLOTS)]
    assert await fleet.running() == [SLOTS] * 3
    await asyncio.gather(*map(converse, phones))
    with pytest.raises(InvalidStatus) as refused:
        await call(calls, fleet.chat)
    response = refused.value.response
    assert (response.status_code, response.headers["Retry-After"]) == (503, "5")
    assert b'"code":"full"' in (response.body or b"")


async def test_a_killed_server_takes_only_its_own_calls_along(fleet: Fleet, calls: AsyncExitStack) -> None:
    phones = [await call(calls, fleet.chat) for _ in range(6)]
    assert await fleet.running() == [2, 2, 2]
    await fleet.servers[0].end(signal.SIGKILL)
    assert sorted([await lost(phone) for phone in phones]) == [False] * 4 + [True] * 2
    await converse(await call(calls, fleet.chat))  # at once, before HAProxy has noticed


async def test_a_server_that_stops_keeps_its_calls_and_gets_no_new_ones(fleet: Fleet, calls: AsyncExitStack) -> None:
    async with AsyncExitStack() as old_calls:
        phones = [await call(old_calls, fleet.chat) for _ in range(3)]
        stopping = fleet.servers[0]
        ended = asyncio.create_task(stopping.end(signal.SIGTERM))
        others = [await call(calls, fleet.chat) for _ in range(4)]  # some before HAProxy has noticed
        await eventually(lambda: _not_ready(fleet, stopping))
        assert [await server.running() for server in fleet.servers] == [1, 3, 3]
        await asyncio.gather(*map(converse, [*phones, *others]))
        assert not ended.done()
    assert await ended == 0


async def _not_ready(fleet: Fleet, server: Server) -> bool:
    return server.name not in await fleet.seen_ready()


async def test_an_update_of_all_servers_under_load_loses_no_call(fleet: Fleet) -> None:
    updating = True
    made: list[int] = []

    async def caller() -> None:
        while updating:
            async with dial(fleet.chat) as phone:
                await phone.greeting()
                for _ in range(8):
                    await converse(phone)
                    await asyncio.sleep(0.08)
            made.append(1)

    callers = [asyncio.create_task(caller()) for _ in range(12)]
    for server in fleet.servers:
        assert await server.end(signal.SIGTERM) == 0
        await server.start()
        await eventually(fleet.all_ready)
    updating = False
    async with asyncio.timeout(PATIENCE_S):
        await asyncio.gather(*callers)  # raises what a caller met
    assert len(made) >= len(callers)


@pytest.mark.parametrize("stops", [False, True], ids=["ready", "stopping"])
async def test_a_broken_call_comes_back_to_its_server(fleet: Fleet, calls: AsyncExitStack, stops: bool) -> None:
    url = fleet.chat + "?events=1"
    phones = [await call(calls, url) for _ in range(5)]  # two on each but one: a new call would go there
    phone = phones[0]
    ready = await phone.event("ready")
    home = next(server for server in fleet.servers if server.name == ready["resume"].split(".")[0])
    await converse(phone)
    phone.vanish()
    if stops:
        assert home.process
        home.process.send_signal(signal.SIGTERM)
        await eventually(lambda: _not_ready(fleet, home))
    async with dial(f"{url}&resume={ready['resume']}&token=not-for-the-log") as again:
        await again.greeting()
        back = await again.event("ready")
        assert back["call"] == ready["call"] and "gap_s" in back
        await converse(again)
    assert fleet.log
    log = fleet.log.read_text()
    assert f"GET /api/chat 101 server={home.name}" in log
    assert "not-for-the-log" not in log and ready["resume"] not in log
