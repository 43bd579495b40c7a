"""What the cluster's balancer does with pods that come and go, without a cluster: docker/kubernetes/haproxy.cfg."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.fleet.caller import converse
from tests.fleet.cluster import SERVICE, ClusterDns, running_cluster
from tests.fleet.conftest import Call
from tests.fleet.fleet import STARTS_WITHIN_S, Fleet, eventually
from tests.server.chat_client import open_chat

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(10 * STARTS_WITHIN_S)]


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def cluster(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[Fleet, ClusterDns]]:
    async with running_cluster(tmp_path_factory.mktemp("cluster"), "--slots", "4", "--drain-s", "120") as cluster:
        yield cluster


async def test_pods_are_found_and_share_the_calls(cluster: tuple[Fleet, ClusterDns], call: Call) -> None:
    fleet, _ = cluster
    callers = [await call(fleet.chat) for _ in range(6)]
    assert await fleet.running() == [2, 2, 2]
    await converse(*callers)


@pytest.mark.parametrize(
    "home", ["10-9-9-9", "localhost", "127-0-0-1", "evil.example", "169-254-169-254"], ids=lambda home: home
)
async def test_a_token_leads_nowhere_but_to_pods(cluster: tuple[Fleet, ClusterDns], home: str) -> None:
    fleet, dns = cluster
    async with open_chat(f"{fleet.chat}?events=1&resume={home}.whatever") as client:
        assert (await client.wait_closed())[0] == 1008
        assert (await client.event("end"))["reason"] == "resume"
    assert all(name.endswith(SERVICE) for name in dns.asked)


async def test_a_broken_call_comes_back_to_its_pod_even_while_that_stops(
    cluster: tuple[Fleet, ClusterDns], call: Call
) -> None:
    fleet, dns = cluster
    url = fleet.chat + "?events=1"
    caller = await call(url)
    home = fleet.home(caller.ready["resume"])
    await caller.converse()
    again = await call(f"{url}&resume={caller.ready['resume']}")  # while the old connection seems alive
    assert again.ready["call"] == caller.ready["call"]
    await again.converse()
    await again.vanish()
    assert home.process
    home.process.send_signal(signal.SIGTERM)

    async def gone() -> bool:
        return len(await fleet.seen_ready()) == 2

    await eventually(gone)
    last = await call(f"{url}&resume={again.ready['resume']}")
    assert last.ready["call"] == caller.ready["call"]
    dns.pods.remove(home.host)
    await asyncio.sleep(3)  # HAProxy has forgotten the name by now
    await last.converse()
    await (await call(fleet.chat)).converse()
