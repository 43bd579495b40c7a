"""What the cluster's balancer does with pods that come and go, without a cluster: docker/kubernetes/haproxy.cfg."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
import pytest_asyncio

from tests.fleet.cluster import SERVICE, ClusterDns, running_cluster
from tests.fleet.fleet import Fleet, eventually
from tests.server.phone import Phone, dial, speech

pytestmark = pytest.mark.asyncio(loop_scope="module")
FRAME = speech(1)[0]


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def cluster(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[Fleet, ClusterDns]]:
    flags = ("--model", "echo", "--slots", "4", "--drain-s", "20")
    async with running_cluster(tmp_path_factory.mktemp("cluster"), *flags) as cluster:
        yield cluster


@pytest_asyncio.fixture(loop_scope="module")
async def calls() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


async def call(calls: AsyncExitStack, url: str) -> Phone:
    phone = await calls.enter_async_context(dial(url))
    await phone.greeting()
    return phone


async def converse(phone: Phone) -> None:
    await phone.say(FRAME)
    await phone.hear()


async def test_pods_are_found_and_share_the_calls(cluster: tuple[Fleet, ClusterDns], calls: AsyncExitStack) -> None:
    fleet, _ = cluster
    phones = [await call(calls, fleet.chat) for _ in range(6)]
    assert await fleet.running() == [2, 2, 2]
    await asyncio.gather(*map(converse, phones))


@pytest.mark.parametrize(
    "home", ["10-9-9-9", "localhost", "127-0-0-1", "evil.example", "169-254-169-254"], ids=lambda home: home
)
async def test_a_token_leads_nowhere_but_to_pods(
    cluster: tuple[Fleet, ClusterDns], calls: AsyncExitStack, home: str
) -> None:
    fleet, dns = cluster
    phone = await calls.enter_async_context(dial(f"{fleet.chat}?events=1&resume={home}.whatever"))
    assert (await phone.end())[0] == 1008
    assert (await phone.event("end"))["reason"] == "resume"
    assert all(name.endswith(SERVICE) for name in dns.asked)


async def test_a_broken_call_comes_back_to_its_pod_even_while_that_stops(
    cluster: tuple[Fleet, ClusterDns], calls: AsyncExitStack
) -> None:
    fleet, dns = cluster
    url = fleet.chat + "?events=1"
    phone = await call(calls, url)
    token = (ready := await phone.event("ready"))["resume"]
    home = next(server for server in fleet.servers if server.name == token.split(".")[0])
    await converse(phone)
    again = await call(calls, f"{url}&resume={token}")  # while the old connection seems alive
    back = await again.event("ready")
    assert back["call"] == ready["call"]
    await converse(again)
    again.vanish()
    assert home.process
    home.process.send_signal(signal.SIGTERM)

    async def gone() -> bool:
        return len(await fleet.seen_ready()) == 2

    await eventually(gone)
    last = await call(calls, f"{url}&resume={back['resume']}")
    assert (await last.event("ready"))["call"] == ready["call"]
    dns.pods.remove(home.host)
    await asyncio.sleep(3)  # HAProxy has forgotten the name by now
    await converse(last)
    await converse(await call(calls, fleet.chat))
