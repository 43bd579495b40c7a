"""Three real servers behind a real HAProxy with docker/haproxy.cfg, all on this machine."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from tests.server.chat_client import TIMEOUT_S

ROOT = Path(__file__).parents[2]
START_TIMEOUT_S = STOP_TIMEOUT_S = 120.0  # three at once, on a busy machine
HAPROXY = shutil.which("haproxy", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return taken.getsockname()[1]


async def get(url: str) -> tuple[int, str]:
    """Status and body; status 0 if there is no answer."""
    try:
        async with httpx.AsyncClient(trust_env=False, timeout=TIMEOUT_S / 3) as client:
            response = await client.get(url)
    except httpx.TransportError:
        return 0, ""
    return response.status_code, response.text


async def eventually(condition: Callable[[], Any], within_s: float = TIMEOUT_S) -> None:
    """Wait until `await condition()` is true."""
    async with asyncio.timeout(within_s):
        while not await condition():  # noqa: ASYNC110, the condition is in another process
            await asyncio.sleep(0.05)


@dataclass
class FleetServer:
    """One `parley serve`, named as in docker/haproxy.cfg."""

    name: str
    flags: tuple[str, ...]
    port: int = field(default_factory=free_port)
    host: str = "127.0.0.1"
    process: asyncio.subprocess.Process | None = None

    @property
    def chat(self) -> str:
        return f"ws://{self.host}:{self.port}/api/chat"

    async def start(self) -> None:
        flags = ("--host", self.host, "--port", str(self.port), "--server-id", self.name, *self.flags)
        self.process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "server", "serve", *flags),
            cwd=ROOT,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        await eventually(self.ready, START_TIMEOUT_S)

    async def ready(self) -> bool:
        return (await get(f"http://{self.host}:{self.port}/readyz"))[0] == 200

    async def running(self) -> int:
        return json.loads((await get(f"http://{self.host}:{self.port}/api/info"))[1])["running"]

    async def end(self, sig: signal.Signals) -> int:
        """Send the signal and wait for the exit status."""
        assert self.process
        if self.process.returncode is None:
            self.process.send_signal(sig)
        async with asyncio.timeout(STOP_TIMEOUT_S):
            return await self.process.wait()


@dataclass
class Fleet:
    servers: list[FleetServer]
    port: int
    metrics_port: int
    log: Path | None = None  # of the balancer, once it runs

    @property
    def chat(self) -> str:
        return f"ws://127.0.0.1:{self.port}/api/chat"

    async def seen_ready(self) -> set[str]:
        """The servers to which HAProxy sends new calls."""
        _, page = await get(f"http://127.0.0.1:{self.metrics_port}/metrics")
        up = re.findall(r'haproxy_server_status\{proxy="parley",server="(\w+)",state="UP"\} 1', page)
        return set(up)

    def server_of(self, resume: str) -> FleetServer:
        """The server that keeps the call of this resume token."""
        [found] = [server for server in self.servers if server.name == resume.split(".")[0]]
        return found

    async def all_ready(self) -> bool:
        return await self.seen_ready() == {server.name for server in self.servers}

    async def running(self) -> list[int]:
        return [await server.running() for server in self.servers]

    async def restore(self) -> None:
        """Restart servers that are gone, and wait until calls are over and HAProxy sees every server ready."""
        for server in self.servers:
            if server.process is None or server.process.returncode is not None:
                await server.start()
        await eventually(self.all_ready)

        async def quiet() -> bool:
            return not any(await self.running())

        await eventually(quiet)


def config(fleet: Fleet) -> str:
    """docker/haproxy.cfg with this machine's ports; nothing else is changed."""
    replacements = {"bind :8998": f"bind 127.0.0.1:{fleet.port}", "bind :8404": f"bind 127.0.0.1:{fleet.metrics_port}"}
    replacements |= {f"{server.name}:8998": f"{server.host}:{server.port}" for server in fleet.servers}
    text = replaced(ROOT / "docker" / "haproxy.cfg", replacements)
    return re.sub(r"^ *server gpu\d gpu\d:8998\n", "", text, flags=re.MULTILINE)  # GPUs that this fleet does not have


def replaced(path: Path, replacements: dict[str, str]) -> str:
    """The file's text with these replacements; each of them must occur in it exactly once."""
    text = path.read_text()
    for theirs, ours in replacements.items():
        assert text.count(theirs) == 1, theirs
        text = text.replace(theirs, ours)
    return text


def three_servers(*flags: str) -> Fleet:
    """Three servers that are not started yet; `flags` are for `parley serve`."""
    return Fleet([FleetServer(f"gpu{k}", flags) for k in range(3)], free_port(), free_port())


@asynccontextmanager
async def running_fleet(directory: Path, *flags: str) -> AsyncIterator[Fleet]:
    """Three ready servers behind HAProxy."""
    fleet = three_servers(*flags)
    async with running(fleet, directory, config(fleet)):
        await eventually(fleet.all_ready)
        yield fleet


@asynccontextmanager
async def running(fleet: Fleet, directory: Path, haproxy_cfg: str) -> AsyncIterator[None]:
    """Run the servers, and HAProxy once they are ready; kill whatever is left."""
    try:
        await asyncio.gather(*(server.start() for server in fleet.servers))
        async with balancing(fleet, directory, haproxy_cfg):
            yield
    finally:
        for server in fleet.servers:
            if server.process:
                await _killed(server.process)


@asynccontextmanager
async def balancing(fleet: Fleet, directory: Path, haproxy_cfg: str) -> AsyncIterator[None]:
    """Run HAProxy, whether or not there are servers."""
    assert HAPROXY, "needs haproxy: `make fleet-check` installs it"
    path = directory / "haproxy.cfg"
    path.write_text(haproxy_cfg)
    fleet.log = directory / "haproxy.log"
    with fleet.log.open("wb") as log:
        balancer = await asyncio.create_subprocess_exec(HAPROXY, "-db", "-f", str(path), stdout=log)
    try:
        yield
    finally:
        await _killed(balancer)


async def _killed(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.kill()
        await process.wait()
