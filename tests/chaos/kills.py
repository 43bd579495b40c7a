"""Servers that are killed during calls, in every way, and checks of their callers and recordings."""

from __future__ import annotations

import asyncio
import json
import random
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import soundfile
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from tests.chaos.caller import SPEECH
from tests.server.chat_client import TIMEOUT_S, ChatClient, open_chat

WAYS = ("SIGKILL", "SIGTERM", "SIGINT", "engine")
EXITS = {"SIGKILL": -signal.SIGKILL, "SIGTERM": 0, "SIGINT": 0, "engine": 3}
# 1013: refused, because the model was not ready yet or the server had just begun to stop.
CODES = {"SIGKILL": {1013}, "SIGTERM": {1012, 1013}, "SIGINT": {1012, 1013}, "engine": {1011, 1013}}

# `parley serve`, except that it answers with words too, and that its engine fails at a given step.
SERVER = """
import sys
from server import cli
from server.commands import serve
from tests.fakes import TalkingRunner

def step(counted=[0]):
    counted[0] += 1
    if counted[0] == int(sys.argv[1]):
        raise RuntimeError("the device fell off the bus")

serve.runner_factory = lambda settings: lambda: TalkingRunner(4, before_step=step)
sys.exit(cli.main(["serve", "--drain-s", "0", "--port", sys.argv[2], "--record", sys.argv[3]]))
"""


async def _call(address: str, greeted: asyncio.Semaphore) -> int | None:
    """Talk until the call ends. Returns its close code; None if the connection was lost."""
    frames = 0
    async with open_chat(f"{address}/api/chat?events=1&record=1", close_timeout=1) as client:
        with suppress(ConnectionClosed):
            await client.handshake()
            greeted.release()
            listening = asyncio.create_task(_listen(client))
            while not listening.done():
                await client.send_frame(SPEECH[frames % len(SPEECH)])
                frames += 1
                await asyncio.sleep(0.02)
        await client.socket.wait_closed()
        return client.socket.close_code if client.socket.close_code != 1006 else None


async def _listen(client: ChatClient) -> None:
    with suppress(ConnectionClosed):
        await client.wait_closed()


async def kill_server(way: str, port: int, directory: Path, rng: random.Random, callers: int = 3) -> int:
    """Start a server, let callers talk, kill it at a random moment, and check what they saw. Returns its port.

    `port` 0 takes a free one; any other must be free again after the previous server.
    """
    fails_at = rng.randint(1, 60) if way == "engine" else -1
    running = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", SERVER, str(fails_at), str(port), str(directory)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert running.stdout and running.stderr
    try:
        async with asyncio.timeout(2 * TIMEOUT_S):
            line = (await running.stdout.readline()).decode()
            assert line.startswith("Parley is listening on http://127.0.0.1:"), await running.stderr.read()
            port = int(line.rsplit(":", 1)[1])
            greeted = asyncio.Semaphore(0)
            calls = [
                asyncio.create_task(_call_until_admitted(f"ws://127.0.0.1:{port}", greeted)) for _ in range(callers)
            ]
            if way != "engine":
                await greeted.acquire()
                await asyncio.sleep(rng.uniform(0, 1.5))
                running.send_signal(getattr(signal, way))
            codes = await asyncio.gather(*calls)
            assert await running.wait() == EXITS[way], await running.stderr.read()
    finally:
        if running.returncode is None:
            running.kill()
            await running.wait()
    assert {code for code in codes if code} <= CODES[way], f"{way}: callers saw {codes}"
    assert way == "SIGKILL" or any(codes), f"{way}: no caller got a close code"
    return port


async def _call_until_admitted(address: str, greeted: asyncio.Semaphore) -> int | None:
    """Call until the server admits the call or is gone. Returns the close code of the call or of the refusal."""
    refused = None
    while True:
        try:
            code = await _call(address, greeted)
        except InvalidStatus:
            code = 1013
        except (OSError, WebSocketException):
            return refused
        if code != 1013:
            return code
        refused = code  # its model is not ready yet, or it stops
        await asyncio.sleep(0.02)


def read_recordings(directory: Path) -> int:
    """Read every recording. Returns their number."""
    sounds = [path for path in directory.glob("*.ogg") if path.stat().st_size > 200]  # more than the headers
    for path in sounds:
        pcm, rate_hz = soundfile.read(path)
        assert rate_hz == 24_000 and pcm.ndim == 2 and len(pcm)
    for path in directory.glob("*.jsonl"):
        for line in path.read_text().splitlines():
            json.loads(line)
    return len(sounds)
