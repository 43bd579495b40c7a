"""Draining: running calls may finish, new ones are refused, and all of it ends in time."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time

from server.commands.serve import serve
from server.settings import Settings
from server.transport.listener import ConnectionLimiter, listen
from tests.fakes import TalkingRunner
from tests.server.chat_client import TIMEOUT_S, open_chat, speech, wait_until
from tests.server.conftest import Serve
from tests.server.server_process import get, run_process

LONG_S = 2 * TIMEOUT_S  # longer than any test waits


async def test_draining_refuses_new_calls_and_the_process_ends_after_the_last_one():
    async with run_process("--slots", "2", "--drain-s", str(LONG_S)) as (running, address):
        chat = address.replace("http", "ws") + "/api/chat"
        async with (
            open_chat(chat + "?events=1") as client,
            open_chat(chat) as plain,
            open_chat(chat + "?events=1") as waiting,
        ):
            for caller in (client, plain):
                await caller.handshake()
            await waiting.event("queue")
            running.send_signal(signal.SIGTERM)
            assert (await client.event("drain"))["left_s"] == LONG_S
            assert (await waiting.wait_closed())[0] == 1012 and "restarting" in waiting.errors[0]
            status, _, body = await asyncio.to_thread(get, address + "/readyz")
            assert status == 503 and "stopping" in body
            async with open_chat(chat) as late:
                assert "stopping" in await late.error() and (await late.wait_closed())[0] == 1013
            async with open_chat(chat + "?events=1") as new:
                assert (await new.wait_closed())[0] == 1013 and (await new.event("end"))["reason"] == "stopping"
            for caller in (client, plain):
                await caller.send_frame(speech(1)[0])
                await caller.receive_frame()
            assert plain.events == []
            ready = await client.event("ready")
            client.abort()
            async with open_chat(f"{chat}?events=1&resume={ready['resume']}") as resumed:
                await resumed.handshake()
                assert (await resumed.event("drain"))["left_s"] <= LONG_S
                await resumed.send_frame(speech(1)[0])
                await resumed.receive_frame()
            assert running.returncode is None
        async with asyncio.timeout(TIMEOUT_S):
            assert await running.wait() == 0


async def test_calls_end_with_1012_after_drain_s(serve: Serve):
    served = await serve(drain_s=0.3)
    async with open_chat(served.chat + "?events=1") as client, open_chat(served.chat) as plain:
        for caller in (client, plain):
            await caller.handshake()
            await caller.send_frame(speech(1)[0])
            await caller.receive_frame()
        served.server.end()
        for caller in (client, plain):
            assert (await caller.wait_closed())[0] == 1012
        assert (await client.event("end"))["reason"] == "restarting"


async def test_parked_call_ends_after_drain_s(serve: Serve):
    served = await serve(drain_s=0.2, resume_s=3600)
    async with open_chat(served.chat + "?events=1") as client:
        await client.handshake()
        client.abort()
        await wait_until(lambda: served.service.parked == 1)
        served.server.end()
        await wait_until(lambda: served.server.should_exit)
    assert served.service.metrics.ended["restarting"] == 1


async def test_second_signal_ends_the_process_at_once():
    async with (
        run_process("--slots", "1", "--drain-s", str(LONG_S)) as (running, address),
        open_chat(address.replace("http", "ws") + "/api/chat?events=1") as client,
    ):
        await client.handshake()
        running.send_signal(signal.SIGTERM)
        await client.event("drain")
        begun_at = time.monotonic()
        running.send_signal(signal.SIGTERM)
        assert (await client.wait_closed())[0] == 1012
        async with asyncio.timeout(TIMEOUT_S):
            assert await running.wait() == 0
        assert time.monotonic() - begun_at < LONG_S / 2
        assert running.stderr
        assert "Traceback" not in (await running.stderr.read()).decode()


async def test_signal_while_the_model_loads_ends_the_process_at_once():
    loaded = threading.Event()

    class BlockedRunner(TalkingRunner):
        def warm_up(self) -> None:
            loaded.wait(LONG_S)

    listener = listen("127.0.0.1", 0, ConnectionLimiter(Settings()))
    address = f"http://127.0.0.1:{listener.getsockname()[1]}"
    serving = asyncio.create_task(serve(Settings(model="echo", drain_s=LONG_S), lambda: BlockedRunner(1), listener))
    try:
        async with asyncio.timeout(TIMEOUT_S):
            while (await asyncio.to_thread(get, address + "/healthz"))[0] != 200:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            os.kill(os.getpid(), signal.SIGTERM)
            assert await serving == 0
    finally:
        loaded.set()
