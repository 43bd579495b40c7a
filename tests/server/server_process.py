"""`parley serve` as a process of its own."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from tests.server.chat_client import TIMEOUT_S

COMMAND = [sys.executable, "-m", "server", "serve", "--model", "echo"]


@asynccontextmanager
async def run_process(*flags: str, **options: Any) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    """Run `parley serve --model echo` on a free port until the block is left: the process and its address."""
    running = await asyncio.create_subprocess_exec(
        *COMMAND, "--port", "0", *flags, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options
    )
    assert running.stdout
    try:
        async with asyncio.timeout(TIMEOUT_S):
            line = (await running.stdout.readline()).decode()
            assert line.startswith("Parley is listening on http://127.0.0.1:"), line
            address = line.split()[-1]
        await wait_ready(address)
        yield running, address
    finally:
        if running.returncode is None:
            running.kill()
        await running.wait()


def get(url: str) -> tuple[int, str, str]:
    """Send a GET request; return status, media type and body. Blocks."""
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_S) as response:
            return response.status, response.headers["Content-Type"], response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.headers["Content-Type"], error.read().decode()


async def wait_ready(address: str) -> None:
    """Wait until the server at `address` accepts calls."""
    async with asyncio.timeout(TIMEOUT_S):
        while (await asyncio.to_thread(get, address + "/readyz"))[0] != 200:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
