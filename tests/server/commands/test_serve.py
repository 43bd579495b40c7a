"""The server as a process: coming up, going down, and what it says and returns when it cannot."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus

from server.commands.serve import serve
from server.settings import Settings
from server.transport.listener import ConnectionLimiter, listen
from tests.fakes import TalkingRunner
from tests.server.chat_client import TIMEOUT_S, ChatClient, open_chat, speech, wait_until
from tests.server.conftest import Serve

COMMAND = [sys.executable, "-m", "server", "serve", "--model", "echo"]


@asynccontextmanager
async def process(*flags: str, **options: Any) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    """`parley serve --model echo` on a free port, and its address."""
    running = await asyncio.create_subprocess_exec(
        *COMMAND, "--port", "0", *flags, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options
    )
    assert running.stdout
    try:
        async with asyncio.timeout(TIMEOUT_S):
            line = (await running.stdout.readline()).decode()
            assert line.startswith("Parley is listening on http://127.0.0.1:"), line
            address = line.split()[-1]
        await ready(address)
        yield running, address
    finally:
        if running.returncode is None:
            running.kill()
        await running.wait()


def get(url: str) -> tuple[int, str, str]:
    """Status, media type and body."""
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_S) as response:
            return response.status, response.headers["Content-Type"], response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.headers["Content-Type"], error.read().decode()


async def ready(address: str) -> None:
    """Wait until calls are taken."""
    async with asyncio.timeout(TIMEOUT_S):
        while (await asyncio.to_thread(get, address + "/readyz"))[0] != 200:  # noqa: ASYNC110
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("sig", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_ends_calls_politely(sig: int):
    async with process("--slots", "1", "--drain-s", "0") as (running, address):
        chat = address.replace("http", "ws") + "/api/chat?events=1"
        async with open_chat(chat) as talking, open_chat(chat) as waiting:
            await talking.handshake()
            await talking.send_frame(speech(1)[0])
            await talking.receive_frame()
            await waiting.event("queue")
            running.send_signal(sig)
            for client in (talking, waiting):
                assert await client.wait_closed() == (1012, "The server is restarting. Call again in a moment.")
                assert (await client.event("end"))["reason"] == "restarting"
                assert "restarting" in client.errors[-1]
        async with asyncio.timeout(TIMEOUT_S):
            assert await running.wait() == 0
        assert running.stderr
        log = (await running.stderr.read()).decode()
        assert "call ended" in log and "why=restarting" in log and "Traceback" not in log


async def test_clients_that_never_answer_do_not_hold_the_server_up():
    async with process("--slots", "2", "--drain-s", "0") as (running, address):
        deaf = socket.socket()
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        host, port = address.removeprefix("http://").split(":")
        await asyncio.to_thread(deaf.connect, (host, int(port)))
        chat = address.replace("http", "ws") + "/api/chat"
        async with (
            open_chat(chat, sock=deaf, max_queue=1, close_timeout=0.1) as client,
            open_chat(chat, close_timeout=0.1),
        ):
            for frame in speech(30):
                await client.send_frame(frame)
            running.send_signal(signal.SIGSTOP)  # so that both ends are silent, then the signal
            running.send_signal(signal.SIGTERM)
            running.send_signal(signal.SIGCONT)
            async with asyncio.timeout(TIMEOUT_S):
                assert await running.wait() == 0


async def test_every_address_is_announced_by_one_that_can_be_opened():
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
async def test_an_address_of_another_machine_is_one_clear_line(host: str):
    done = await asyncio.to_thread(
        subprocess.run, [*COMMAND, "--host", host], capture_output=True, text=True, timeout=TIMEOUT_S
    )
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    assert f"{host} is not an address of this machine" in line and "--port" not in line


async def test_a_taken_port_is_one_clear_line():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = await asyncio.to_thread(
            subprocess.run, [*COMMAND, "--port", str(port)], capture_output=True, text=True, timeout=TIMEOUT_S
        )
    assert done.returncode == 1 and done.stdout == ""
    [line] = done.stderr.splitlines()
    assert str(port) in line and "--port" in line


@pytest.mark.parametrize(
    ("flags", "environment", "names"),
    [
        (["--slots", "none"], {}, "--slots (or PARLEY_SLOTS) should be 'auto', or should be a valid integer"),
        (["--slots", "0"], {}, "should be greater than or equal to 1"),
        ([], {"PARLEY_PORT": "70000"}, "PARLEY_PORT"),
    ],
)
async def test_a_bad_setting_is_one_clear_line(flags: list[str], environment: dict[str, str], names: str):
    done = await asyncio.to_thread(
        subprocess.run, [*COMMAND, *flags], capture_output=True, text=True, env={**os.environ, **environment}
    )
    assert done.returncode == 2
    [line] = done.stderr.splitlines()
    assert names in line


async def test_the_engine_failing_ends_calls_with_1011_and_the_process_with_3(caplog: pytest.LogCaptureFixture):
    steps: list[int] = []

    def fail_at_the_third() -> None:
        steps.append(1)
        if len(steps) == 3:
            raise RuntimeError("the device fell off the bus")

    settings = Settings(model="echo", slots=1)
    listener = listen("127.0.0.1", 0, ConnectionLimiter(settings))
    runner = TalkingRunner(1, before_step=fail_at_the_third)
    serving = asyncio.create_task(serve(settings, lambda: runner, listener))
    address = f"127.0.0.1:{listener.getsockname()[1]}"
    async with asyncio.timeout(TIMEOUT_S):
        await ready(f"http://{address}")
        async with open_chat(f"ws://{address}/api/chat?events=1") as client:
            await client.handshake()
            for frame in speech(3):
                await client.send_frame(frame)
            code, reason = await client.wait_closed()
            assert code == 1011 and "our fault" in reason
            assert (await client.event("end"))["reason"] == "engine"
        assert await serving == 3
    errors = [record.message for record in caplog.records if record.levelname == "ERROR"]
    assert errors == ["the engine's turn failed", "the engine failed"]


HANGING = """
import sys, threading
from server import cli
from server.commands import serve
from tests.fakes import TalkingRunner
serve.runner_factory = lambda settings: lambda: TalkingRunner(1, before_step=threading.Event().wait)
serve.Service.watch.__globals__["WATCH_EVERY_S"] = 0.02
sys.exit(cli.main(["serve", "--port", "0"]))
"""


async def test_a_step_that_hangs_ends_calls_with_1011_and_the_process_with_3():
    running = await asyncio.create_subprocess_exec(
        sys.executable, "-c", HANGING, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert running.stdout and running.stderr
    try:
        async with asyncio.timeout(TIMEOUT_S):
            address = (await running.stdout.readline()).decode().split()[-1]
            await ready(address)
            chat = address.replace("http", "ws") + "/api/chat?events=1"
            async with open_chat(chat) as talking, open_chat(chat) as waiting:
                await talking.handshake()
                await talking.send_frame(speech(1)[0])
                for client in (talking, waiting):
                    code, reason = await client.wait_closed()
                    assert code == 1011 and "our fault" in reason
            assert await running.wait() == 3
        assert b"has not ended for 10 s" in await running.stderr.read()
    finally:
        if running.returncode is None:
            running.kill()
        await running.wait()


async def test_a_model_that_cannot_be_loaded_ends_the_process_with_1():
    def fail() -> TalkingRunner:
        raise FileNotFoundError("no such checkpoint: nowhere")

    listener = listen("127.0.0.1", 0, ConnectionLimiter(Settings()))
    async with asyncio.timeout(TIMEOUT_S):
        assert await serve(Settings(model="nowhere"), fail, listener) == 1


async def test_the_server_answers_while_the_model_warms_up(serve: Serve):
    import threading

    warm = threading.Event()

    class SlowRunner(TalkingRunner):
        def warm_up(self) -> None:
            assert warm.wait(TIMEOUT_S)

    served = await serve(make_runner=lambda: SlowRunner(1), ready=False)
    assert (await asyncio.to_thread(get, served.http + "/healthz"))[0] == 200
    status, _, body = await asyncio.to_thread(get, served.http + "/readyz")
    assert status == 503 and "starting" in body and "loading" in body
    with pytest.raises(InvalidStatus) as refused:
        async with open_chat(served.chat):
            pass
    assert refused.value.response.status_code == 503
    async with open_chat(served.chat + "?events=1") as client:
        assert "loading" in await client.error()
        assert (await client.wait_closed())[0] == 1013
    warm.set()
    await wait_until(lambda: served.service.status == "ready")
    status, _, body = await asyncio.to_thread(get, served.http + "/readyz")
    assert status == 200
    card = TalkingRunner.card
    assert json.loads(body) == {"status": "ready", "model": card.name, "notice": card.notice}
    async with open_chat(served.chat) as client:
        await client.handshake()


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/api/info", "/"])
async def test_head_is_answered_as_get_is_without_the_body(serve: Serve, path: str):
    served = await serve()
    request = urllib.request.Request(served.http + path, method="HEAD")
    with await asyncio.to_thread(urllib.request.urlopen, request, timeout=TIMEOUT_S) as response:
        assert response.status == 200 and int(response.headers["Content-Length"]) > 0
        assert response.read() == b""


BEGUN = b"GET /healthz HTTP/1.1\r\nHost: here\r\n"


@pytest.mark.parametrize("asked_before", [False, True])
@pytest.mark.parametrize("begun", [b"", BEGUN])
async def test_who_does_not_ask_is_hung_up_on(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, begun: bytes, asked_before: bool
):
    monkeypatch.setattr("server.transport.http.REQUEST_HEAD_TIMEOUT_S", 0.5)
    served = await serve()
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    async with asyncio.timeout(TIMEOUT_S):
        if asked_before:
            writer.write(BEGUN + b"\r\n")
            await reader.readuntil(b'{"status":"ok"}')
        writer.write(begun)
        assert await reader.read() == b""
    writer.close()


async def test_who_asked_in_time_is_not_hung_up_on(serve: Serve, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("server.transport.http.REQUEST_HEAD_TIMEOUT_S", 0.5)
    served = await serve()
    async with open_chat(served.chat) as client:
        await client.handshake()
        reader, silent = await asyncio.open_connection("127.0.0.1", served.port)
        async with asyncio.timeout(TIMEOUT_S):
            await reader.read()  # it came later than the call
        silent.close()
        await client.send_frame(speech(1)[0])
        await client.receive_frame()


async def test_a_full_server_says_so_before_the_upgrade(serve: Serve):
    served = await serve(slots=1)
    async with open_chat(served.chat) as client:
        await client.handshake()
        with pytest.raises(InvalidStatus) as refused:
            async with open_chat(served.chat):
                pass
        response = refused.value.response
        assert (response.status_code, response.headers["Retry-After"]) == (503, "5")
        assert response.headers["Content-Type"] == "application/json"
        assert b'"code":"full"' in (response.body or b"")
        assert (await asyncio.to_thread(get, served.http + "/readyz"))[0] == 200, "full is ready"


async def test_those_who_ask_wait_in_line_and_move_up(serve: Serve):
    served = await serve(slots=1, max_waiting=2)
    url = served.chat + "?events=1"
    async with open_chat(url) as first, open_chat(url) as second, open_chat(url) as third, open_chat(url) as fourth:
        await first.handshake()
        assert (await second.event("queue"))["position"] == 1
        assert (await third.event("queue"))["position"] == 2
        assert "full" in await fourth.error()
        assert (await fourth.wait_closed())[0] == 1013
        await first.socket.close()
        await second.handshake()
        assert await moved_up(third) == 1
        await second.socket.close()
        await third.handshake()


async def moved_up(client: ChatClient) -> int:
    return (await client.event("queue"))["position"]


async def test_the_page_is_served_fresh_and_with_its_types(serve: Serve):
    served = await serve()
    status, media_type, _ = await asyncio.to_thread(get, served.http + "/")
    assert status == 200 and media_type.startswith("text/html")
    status, media_type, _ = await asyncio.to_thread(get, served.http + "/page/main.js")
    assert status == 200 and media_type.startswith("text/javascript")
    with await asyncio.to_thread(urllib.request.urlopen, served.http + "/page/main.js") as response:
        assert response.headers["Cache-Control"] == "no-cache"
    assert (await asyncio.to_thread(get, served.http + "/../pyproject.toml"))[0] == 404
    assert (await asyncio.to_thread(get, served.http + "/%2e%2e/pyproject.toml"))[0] == 404
