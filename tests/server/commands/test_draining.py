"""Going down: those who talk are told and may finish, nobody else begins, and all of it is bounded."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time

import pytest
from websockets.exceptions import InvalidStatus

from server.commands.serve import serve
from server.settings import Settings
from server.transport.listener import ConnectionLimiter, listen
from tests.fakes import TalkingRunner
from tests.server.commands.test_serve import get, process
from tests.server.conftest import Serve
from tests.server.phone import PATIENCE_S, dial, speech, until

LONG_S = 2 * PATIENCE_S  # no test would live to see it


async def test_calls_go_on_while_nobody_else_gets_in_and_the_last_one_to_leave_ends_it():
    async with process("--slots", "2", "--drain-s", str(LONG_S)) as (running, address):
        chat = address.replace("http", "ws") + "/api/chat"
        async with dial(chat + "?events=1") as phone, dial(chat) as stock, dial(chat + "?events=1") as waiting:
            for caller in (phone, stock):
                await caller.greeting()
            await waiting.event("queue")
            running.send_signal(signal.SIGTERM)
            assert (await phone.event("drain"))["left_s"] == LONG_S
            assert (await waiting.end())[0] == 1012 and "restarting" in waiting.errors[0]
            status, _, body = await asyncio.to_thread(get, address + "/readyz")
            assert status == 503 and "stopping" in body
            with pytest.raises(InvalidStatus) as refused:
                async with dial(chat):
                    pass
            assert refused.value.response.status_code == 503 and b"stopping" in (refused.value.response.body or b"")
            async with dial(chat + "?events=1") as late:
                assert (await late.end())[0] == 1013 and (await late.event("end"))["reason"] == "stopping"
            for caller in (phone, stock):
                await caller.say(speech(1)[0])
                await caller.hear()
            assert stock.events == []
            ready = await phone.event("ready")
            phone.vanish()
            async with dial(f"{chat}?events=1&resume={ready['resume']}") as back:
                await back.greeting()
                assert (await back.event("drain"))["left_s"] <= LONG_S
                await back.say(speech(1)[0])
                await back.hear()
            assert running.returncode is None
        async with asyncio.timeout(PATIENCE_S):
            assert await running.wait() == 0


async def test_when_the_time_is_over_calls_end_politely(serve: Serve):
    served = await serve(drain_s=0.3)
    async with dial(served.chat + "?events=1") as phone, dial(served.chat) as stock:
        for caller in (phone, stock):
            await caller.greeting()
            await caller.say(speech(1)[0])
            await caller.hear()
        served.server.end()
        for caller in (phone, stock):
            assert (await caller.end())[0] == 1012
        assert (await phone.event("end"))["reason"] == "restarting"


async def test_a_parked_call_is_waited_for_no_longer_than_others(serve: Serve):
    served = await serve(drain_s=0.2, resume_s=3600)
    async with dial(served.chat + "?events=1") as phone:
        await phone.greeting()
        phone.vanish()
        await until(lambda: served.service.parked == 1)
        served.server.end()
        await until(lambda: served.server.should_exit)
    assert served.service.metrics.ended["restarting"] == 1


async def test_a_second_signal_ends_it_at_once():
    async with (
        process("--slots", "1", "--drain-s", str(LONG_S)) as (running, address),
        dial(address.replace("http", "ws") + "/api/chat?events=1") as phone,
    ):
        await phone.greeting()
        running.send_signal(signal.SIGTERM)
        await phone.event("drain")
        begun_at = time.monotonic()
        running.send_signal(signal.SIGTERM)
        assert (await phone.end())[0] == 1012
        async with asyncio.timeout(PATIENCE_S):
            assert await running.wait() == 0
        assert time.monotonic() - begun_at < LONG_S / 2
        assert running.stderr
        assert "Traceback" not in (await running.stderr.read()).decode()


async def test_a_signal_while_the_model_loads_is_not_kept_waiting():
    loaded = threading.Event()

    class SlowRunner(TalkingRunner):
        def warm_up(self) -> None:
            loaded.wait(LONG_S)

    listener = listen("127.0.0.1", 0, ConnectionLimiter(Settings()))
    address = f"http://127.0.0.1:{listener.getsockname()[1]}"
    serving = asyncio.create_task(serve(Settings(model="echo", drain_s=LONG_S), lambda: SlowRunner(1), listener))
    try:
        async with asyncio.timeout(PATIENCE_S):
            while (await asyncio.to_thread(get, address + "/healthz"))[0] != 200:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            os.kill(os.getpid(), signal.SIGTERM)
            assert await serving == 0
    finally:
        loaded.set()
