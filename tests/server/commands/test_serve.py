"""`parley serve`: signals, errors at start, and the exit status."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys

import pytest

from server.commands.serve import serve
from server.settings import Settings
from server.transport.listener import ConnectionLimiter, listen
from tests.fakes import TalkingRunner
from tests.server.chat_client import TIMEOUT_S, connect_with_small_buffer, open_chat, speech, wait_until
from tests.server.conftest import Serve
from tests.server.server_process import COMMAND, get, run_process, wait_ready


@pytest.mark.parametrize("sig", [signal.SIGINT, signal.SIGTERM])
async def test_signal_ends_calls_with_1012_and_an_error_message(sig: int):
    async with run_process("--slots", "1", "--drain-s", "0") as (running, address):
        chat = address.replace("http", "ws") + "/api/chat?events=1"
        async with open_chat(chat) as talking, open_chat(chat) as waiting:
            await talking.handshake()
            await talking.send_frame(speech(1)[0])
            await talking.receive_frame()
            await waiting.event("queue")
            running.send_signal(sig)
            for client in (talking, waiting):
                assert await client.wait_closed() == (1012, "The server is restarting. Please call again in a moment.")
                assert (await client.event("end"))["reason"] == "restarting"
                assert "restarting" in client.errors[-1]
        async with asyncio.timeout(TIMEOUT_S):
            assert await running.wait() == 0
        assert running.stderr
        log = (await running.stderr.read()).decode()
        assert "call ended" in log and "why=restarting" in log and "Traceback" not in log


async def test_clients_that_do_not_answer_do_not_delay_the_exit():
    async with run_process("--slots", "2", "--drain-s", "0") as (running, address):
        unread = await connect_with_small_buffer(int(address.rpartition(":")[2]))
        chat = address.replace("http", "ws") + "/api/chat"
        async with (
            open_chat(chat, sock=unread, max_queue=1, close_timeout=0.1) as client,
            open_chat(chat, close_timeout=0.1),
        ):
            for frame in speech(30):
                await client.send_frame(frame)
            running.send_signal(signal.SIGSTOP)  # so that SIGTERM is pending when the server continues
            running.send_signal(signal.SIGTERM)
            running.send_signal(signal.SIGCONT)
            async with asyncio.timeout(TIMEOUT_S):
                assert await running.wait() == 0


async def test_banner_of_all_addresses_has_a_url_that_can_be_opened():
    running = await asyncio.create_subprocess_exec(
        *COMMAND, "--port", "0", "--host", "0.0.0.0", stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert running.stdout
    try:
        async with asyncio.timeout(TIMEOUT_S):
            line = (await running.stdout.readline()).decode()
        assert "all addresses" in line
        address, _, token = line.split()[-1].partition("/#token=")
        assert (await asyncio.to_thread(get, address + "/api/info"))[0] == 401
        assert (await asyncio.to_thread(get, f"{address}/api/info?token={token}"))[0] == 200
    finally:
        running.kill()
        await running.wait()


@pytest.mark.parametrize("host", ["no.such.host.invalid", "192.0.2.1"])
async def test_host_of_another_machine_is_a_one_line_error(host: str):
    done = await asyncio.to_thread(
        subprocess.run, [*COMMAND, "--host", host], capture_output=True, text=True, timeout=TIMEOUT_S
    )
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    assert f"{host} is not an address of this machine" in line and "--port" not in line


async def test_port_in_use_is_a_one_line_error():
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        done = await asyncio.to_thread(
            subprocess.run, [*COMMAND, "--port", str(port)], capture_output=True, text=True, timeout=TIMEOUT_S
        )
    assert done.returncode == 1 and done.stdout == ""
    [line] = done.stderr.splitlines()
    assert str(port) in line and "--port" in line


@pytest.mark.parametrize(
    ("flags", "environment", "expected"),
    [
        (["--slots", "none"], {}, "--slots (or PARLEY_SLOTS) should be 'auto', or should be a valid integer"),
        (["--slots", "0"], {}, "should be greater than or equal to 1"),
        ([], {"PARLEY_PORT": "70000"}, "PARLEY_PORT"),
    ],
)
async def test_invalid_setting_is_a_one_line_error(flags: list[str], environment: dict[str, str], expected: str):
    done = await asyncio.to_thread(
        subprocess.run, [*COMMAND, *flags], capture_output=True, text=True, env={**os.environ, **environment}
    )
    assert done.returncode == 2
    [line] = done.stderr.splitlines()
    assert expected in line


async def test_engine_failure_ends_calls_with_1011_and_the_process_with_3(caplog: pytest.LogCaptureFixture):
    steps: list[int] = []

    def fail_at_the_third_step() -> None:
        steps.append(1)
        if len(steps) == 3:
            raise RuntimeError("the device is lost")

    settings = Settings(model="echo", slots=1)
    listener = listen("127.0.0.1", 0, ConnectionLimiter(settings))
    runner = TalkingRunner(1, before_step=fail_at_the_third_step)
    serving = asyncio.create_task(serve(settings, lambda: runner, listener))
    address = f"127.0.0.1:{listener.getsockname()[1]}"
    async with asyncio.timeout(TIMEOUT_S):
        await wait_ready(f"http://{address}")
        async with open_chat(f"ws://{address}/api/chat?events=1") as client:
            await client.handshake()
            for frame in speech(3):
                await client.send_frame(frame)
            code, reason = await client.wait_closed()
            assert code == 1011 and "our fault" in reason
            assert (await client.event("end"))["reason"] == "engine"
        assert await serving == 3
    errors = [record.message for record in caplog.records if record.levelname == "ERROR"]
    assert errors == ["engine step failed", "engine failed"]


HANGING = """
import sys, threading
from server import cli
from server.commands import serve
from tests.fakes import TalkingRunner
serve.runner_factory = lambda settings: lambda: TalkingRunner(1, before_step=threading.Event().wait)
serve.Service.watch.__globals__["WATCH_EVERY_S"] = 0.02
sys.exit(cli.main(["serve", "--port", "0"]))
"""


async def test_hanging_step_ends_calls_with_1011_and_the_process_with_3():
    running = await asyncio.create_subprocess_exec(
        sys.executable, "-c", HANGING, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert running.stdout and running.stderr
    try:
        async with asyncio.timeout(TIMEOUT_S):
            address = (await running.stdout.readline()).decode().split()[-1]
            await wait_ready(address)
            chat = address.replace("http", "ws") + "/api/chat?events=1"
            async with open_chat(chat) as talking, open_chat(chat) as waiting:
                await talking.handshake()
                await talking.send_frame(speech(1)[0])
                for client in (talking, waiting):
                    code, reason = await client.wait_closed()
                    assert code == 1011 and "our fault" in reason
            assert await running.wait() == 3
        assert b"did not end within 10 s" in await running.stderr.read()
    finally:
        if running.returncode is None:
            running.kill()
        await running.wait()


async def test_model_that_cannot_be_loaded_ends_the_process_with_1():
    def fail() -> TalkingRunner:
        raise FileNotFoundError("no such checkpoint: nowhere")

    listener = listen("127.0.0.1", 0, ConnectionLimiter(Settings()))
    async with asyncio.timeout(TIMEOUT_S):
        assert await serve(Settings(model="nowhere"), fail, listener) == 1


async def test_server_answers_while_the_model_warms_up(serve: Serve):
    import threading

    warm = threading.Event()

    class SlowRunner(TalkingRunner):
        def warm_up(self) -> None:
            assert warm.wait(TIMEOUT_S)

    served = await serve(make_runner=lambda: SlowRunner(1), ready=False)
    assert (await asyncio.to_thread(get, served.http + "/healthz"))[0] == 200
    status, _, body = await asyncio.to_thread(get, served.http + "/readyz")
    assert status == 503 and "starting" in body and "loading" in body
    async with open_chat(served.chat) as held:
        async with open_chat(served.chat + "?events=1") as client:
            assert "loading" in await client.error()
            assert (await client.wait_closed())[0] == 1013
        warm.set()
        await wait_until(lambda: served.service.status == "ready")
        await held.handshake()
    status, _, body = await asyncio.to_thread(get, served.http + "/readyz")
    assert status == 200
    card = TalkingRunner.card
    assert json.loads(body) == {"status": "ready", "model": card.name, "notice": card.notice}
    async with open_chat(served.chat) as client:
        await client.handshake()
