"""The cluster's balancer, docker/kubernetes/haproxy.cfg, with pods that start and stop, without a cluster."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.fleet.caller import converse
from tests.fleet.cluster import SERVICE, ClusterDns, running_cluster
from tests.fleet.conftest import StartCall
from tests.fleet.fleet import START_TIMEOUT_S, Fleet, eventually
from tests.server.chat_client import open_chat

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(10 * START_TIMEOUT_S)]


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def cluster(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[Fleet, ClusterDns]]:
    async with running_cluster(tmp_path_factory.mktemp("cluster"), "--slots", "4", "--drain-s", "120") as cluster:
        yield cluster


async def test_pods_are_found_by_dns_and_calls_are_balanced(cluster: tuple[Fleet, ClusterDns], call: StartCall) -> None:
    fleet, _ = cluster
    callers = [await call(fleet.chat) for _ in range(6)]
    assert await fleet.running() == [2, 2, 2]
    await converse(*callers)


@pytest.mark.parametrize(
    "home", ["10-9-9-9", "localhost", "127-0-0-1", "evil.example", "169-254-169-254"], ids=lambda home: home
)
async def test_a_resume_token_reaches_only_pods(cluster: tuple[Fleet, ClusterDns], home: str) -> None:
    fleet, dns = cluster
    async with open_chat(f"{fleet.chat}?events=1&resume={home}.whatever") as client:
        assert (await client.wait_closed())[0] == 1008
        assert (await client.event("end"))["reason"] == "resume"
    assert all(name.endswith(SERVICE) for name in dns.asked)


async def test_a_lost_call_is_resumed_on_its_pod_even_while_that_drains(
    cluster: tuple[Fleet, ClusterDns], call: StartCall
) -> None:
    fleet, dns = cluster
    url = fleet.chat + "?events=1"
    caller = await call(url)
    home = fleet.server_of(caller.ready["resume"])
    await caller.converse()
    again = await call(f"{url}&resume={caller.ready['resume']}")  # while the old connection seems to exist
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
