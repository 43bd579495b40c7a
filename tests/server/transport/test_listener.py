"""Connections beyond the limit are refused when they are accepted, and running calls are unaffected."""

from __future__ import annotations

import asyncio
import os
import resource
from contextlib import AsyncExitStack, suppress

import httpx
import pytest

from server.metrics import Count
from server.settings import Settings
from server.transport import http
from server.transport.listener import ConnectionLimiter
from tests.server.calls.neighbour import unaffected_neighbour
from tests.server.chat_client import TIMEOUT_S, open_chat, wait_until
from tests.server.conftest import Serve

SOCKETS = int(os.environ.get("PARLEY_TEST_SOCKETS", "1000"))  # 10000 takes half a minute

pytestmark = pytest.mark.usefixtures("unpaced_engine")


def test_limiter_bounds_connections_by_address_and_in_total():
    limiter = ConnectionLimiter(Settings(max_sockets=16, max_sockets_per_address=3, trusted_proxy="192.0.2.0/24"))  # type: ignore[arg-type]
    acquired = [limiter.acquire("198.51.100.1") for _ in range(3)]
    with pytest.raises(ConnectionAbortedError):
        limiter.acquire("198.51.100.1")
    networks = [limiter.acquire(address) for address in ("2001:db8::1", "2001:db8::2", "2001:db8::ffff:3")]
    with pytest.raises(ConnectionAbortedError):
        limiter.acquire("2001:db8::4")  # the same /64 network
    others = [limiter.acquire("127.0.0.1") for _ in range(5)] + [limiter.acquire("192.0.2.9") for _ in range(4)]
    limiter.acquire("2001:db8:0:1::1")
    with pytest.raises(ConnectionAbortedError):
        limiter.acquire("203.0.113.1")  # the total limit is reached
    for caller in [*acquired, *networks, *others]:
        limiter.release(caller)
    assert limiter.open == 1
    assert limiter.acquire("198.51.100.1") == "198.51.100.1"


def test_limiter_keeps_half_of_the_open_files_free():
    limiter = ConnectionLimiter(Settings(max_sockets=4096), open_files=256)
    for _ in range(128):
        limiter.acquire("127.0.0.1")
    with pytest.raises(ConnectionAbortedError):
        limiter.acquire("127.0.0.1")


async def test_connection_beyond_the_limit_gets_503_until_another_one_closes(serve: Serve):
    served = await serve(max_sockets=16)
    async with AsyncExitStack() as open_ones:
        for _ in range(16):
            _, writer = await asyncio.open_connection("127.0.0.1", served.port)
            open_ones.callback(writer.close)
        async with httpx.AsyncClient(base_url=served.http) as http_client:
            answer = await http_client.get("/healthz")
        assert answer.status_code == 503 and answer.json()["error"]["code"] == "sockets"
        assert served.service.metrics.counts[Count.CONNECTIONS_REFUSED] == 1
    await wait_until(lambda: served.server.server_state.connections == set())
    async with httpx.AsyncClient(base_url=served.http) as http_client:
        assert (await http_client.get("/healthz")).status_code == 200


async def test_neighbour_is_unaffected_by_thousands_of_connections(serve: Serve, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(http, "REQUEST_HEAD_TIMEOUT_S", 3 * TIMEOUT_S)  # no connection times out during the test
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))
    served = await serve(slots=4, max_sockets=200)
    silent: list[asyncio.StreamWriter] = []
    at_once = asyncio.Semaphore(200)

    async def connect() -> None:
        async with at_once:
            with suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", served.port)
                silent.append(writer)
                if len(silent) > 1000:  # refused before, unlike the first ones
                    silent.pop(400).close()

    try:
        async with unaffected_neighbour(served), asyncio.timeout(2 * TIMEOUT_S):
            await asyncio.gather(*(connect() for _ in range(SOCKETS)))
            await wait_until(lambda: served.service.metrics.counts[Count.CONNECTIONS_REFUSED] > SOCKETS - 300)
            assert len(served.server.server_state.connections) <= 200
        for writer in silent:
            writer.close()
        await wait_until(lambda: len(served.server.server_state.connections) < 100)
        async with open_chat(served.chat) as client:
            await client.handshake()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
