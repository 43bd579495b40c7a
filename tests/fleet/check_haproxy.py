"""Calls through docker/haproxy.cfg to three servers: balanced, refused, killed, drained, updated, resumed.

The servers are started as by `make run`, with the demo model. The file is named so that `make test` leaves it out: it
needs HAProxy and a minute. `make fleet-check` runs it.
"""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from websockets.exceptions import InvalidStatus

from tests.fleet.caller import FleetCaller, converse
from tests.fleet.conftest import StartCall
from tests.fleet.fleet import (
    START_TIMEOUT_S,
    Fleet,
    FleetServer,
    balancing,
    config,
    eventually,
    get,
    running_fleet,
    three_servers,
)
from tests.server.chat_client import open_chat

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(10 * START_TIMEOUT_S)]
SLOTS = 8


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def one_fleet(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Fleet]:
    async with running_fleet(tmp_path_factory.mktemp("fleet"), "--slots", str(SLOTS), "--drain-s", "120") as fleet:
        yield fleet


@pytest_asyncio.fixture(loop_scope="module")
async def fleet(one_fleet: Fleet) -> Fleet:
    """Three ready servers without calls."""
    await one_fleet.restore()
    return one_fleet


async def test_a_fleet_without_a_ready_server_refuses_as_servers_do(tmp_path: Path) -> None:
    fleet = three_servers()
    async with balancing(fleet, tmp_path, config(fleet)):

        async def has_no_server() -> bool:
            return (await get(f"http://127.0.0.1:{fleet.metrics_port}/metrics"))[
                0
            ] == 200 and not await fleet.seen_ready()

        await eventually(has_no_server)
        with pytest.raises(InvalidStatus) as refused:
            async with open_chat(fleet.chat):
                pass
    response = refused.value.response
    assert (response.status_code, response.headers["Retry-After"]) == (503, "5")
    assert json.loads(response.body or b"")["error"]["code"] == "starting"


async def test_calls_are_balanced_evenly(fleet: Fleet, call: StartCall) -> None:
    callers = [await call(fleet.chat) for _ in range(9)]
    assert await fleet.running() == [3, 3, 3]
    await converse(*callers)


async def test_a_full_server_is_skipped_and_a_full_fleet_refuses_as_servers_do(fleet: Fleet, call: StartCall) -> None:
    full = fleet.servers[1]
    callers = [await call(full.chat) for _ in range(SLOTS)]  # HAProxy does not know of these calls
    callers += [await call(fleet.chat) for _ in range(2 * SLOTS)]
    assert await fleet.running() == [SLOTS] * 3
    with pytest.raises(InvalidStatus) as refused:
        await call(fleet.chat)
    response = refused.value.response
    assert (response.status_code, response.headers["Retry-After"]) == (503, "5")
    assert b'"code":"full"' in (response.body or b"")
    await converse(*callers)


async def test_a_killed_server_loses_only_its_own_calls(fleet: Fleet, call: StartCall) -> None:
    callers = [await call(fleet.chat) for _ in range(6)]
    assert await fleet.running() == [2, 2, 2]
    await fleet.servers[0].end(signal.SIGKILL)
    newcomer = await call(fleet.chat)  # at once, before HAProxy has noticed

    async def two_are_lost() -> bool:
        return sum(caller.is_lost for caller in callers) == 2

    await eventually(two_are_lost)
    await converse(newcomer, *(caller for caller in callers if not caller.is_lost))


async def test_a_draining_server_keeps_its_calls_and_gets_no_new_ones(fleet: Fleet, call: StartCall) -> None:
    callers = [await call(fleet.chat) for _ in range(3)]
    stopping = fleet.servers[0]
    ended = asyncio.create_task(stopping.end(signal.SIGTERM))
    newcomers = [await call(fleet.chat) for _ in range(4)]  # some before HAProxy has noticed
    await eventually(lambda: _not_ready(fleet, stopping))
    assert await fleet.running() == [1, 3, 3]
    await converse(*callers, *newcomers)
    assert not ended.done()
    for caller in callers:
        await caller.hang_up()
    assert await ended == 0
    await converse(*newcomers)


async def _not_ready(fleet: Fleet, server: FleetServer) -> bool:
    return server.name not in await fleet.seen_ready()


async def test_an_update_of_all_servers_under_load_loses_no_call(fleet: Fleet) -> None:
    updating = True
    served: list[int] = []  # the caller of each call

    async def calls_again_and_again(number: int) -> None:
        while updating:
            async with open_chat(fleet.chat) as client:
                await client.handshake()
                caller = FleetCaller(client)
                for _ in range(3):
                    await caller.converse()
                await caller.hang_up()
            served.append(number)

    async with asyncio.TaskGroup() as group:  # raises any caller's error
        for number in range(12):
            group.create_task(calls_again_and_again(number))
        for server in fleet.servers:
            assert await server.end(signal.SIGTERM) == 0
            await server.start()
            await eventually(fleet.all_ready)
        updating = False
    assert set(served) == set(range(12))


@pytest.mark.parametrize("stops", [False, True], ids=["ready", "stopping"])
async def test_a_lost_call_is_resumed_on_its_server(fleet: Fleet, call: StartCall, stops: bool) -> None:
    url = fleet.chat + "?events=1"
    callers = [await call(url) for _ in range(5)]  # two on two servers and one on the third, where a new call would go
    caller = callers[0]
    home = fleet.server_of(caller.ready["resume"])
    await caller.converse()
    await caller.vanish()
    if stops:
        assert home.process
        home.process.send_signal(signal.SIGTERM)
        await eventually(lambda: _not_ready(fleet, home))
    back = await call(f"{url}&resume={caller.ready['resume']}&token=not-for-the-log")
    assert back.ready["call"] == caller.ready["call"] and "gap_s" in back.ready
    await back.converse()
    assert fleet.log
    log = fleet.log.read_text()
    assert f"GET /api/chat 101 server={home.name}" in log
    assert "not-for-the-log" not in log and caller.ready["resume"] not in log
