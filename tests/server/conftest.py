"""A real server on a free port, in the loop of the test."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import pytest

from server.calls import service as service_module
from server.calls.service import Service
from server.commands.serve import make_server, runner_factory
from server.engine import watchdog
from server.engine.runner import Runner
from server.sessions import pacing
from server.settings import Settings
from server.transport.listener import ConnectionLimiter, listen
from server.transport.server import GracefulServer
from server.transport.tls import tls_context
from tests.server.phone import PATIENCE_S, until


@dataclass(frozen=True)
class Served:
    """A server that answers."""

    service: Service
    server: GracefulServer
    port: int

    @property
    def chat(self) -> str:
        return f"ws://127.0.0.1:{self.port}/api/chat"

    @property
    def http(self) -> str:
        return f"http://127.0.0.1:{self.port}"


Serve = Callable[..., Awaitable[Served]]


@asynccontextmanager
async def served_by(make_runner: Callable[[], Runner], settings: Settings, ready: bool) -> AsyncIterator[Served]:
    """A server for as long as the block lasts."""
    service = Service(settings, make_runner)
    listener = listen("127.0.0.1", 0, ConnectionLimiter(settings))
    server = make_server(service, listener, tls_context(settings))
    serving = asyncio.create_task(server._serve(sockets=[listener]))  # without its signal handlers
    served = Served(service, server, listener.getsockname()[1])
    await until(lambda: server.started and (service.status == "ready" or not ready))
    try:
        yield served
    finally:
        server.end()
        async with asyncio.timeout(PATIENCE_S):
            await serving


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """`await serve(make_runner=…, ready=…, **settings)` starts a server, of the echo unless told otherwise."""
    async with AsyncExitStack() as stack:

        async def start(
            make_runner: Callable[[], Runner] | None = None, ready: bool = True, **chosen: object
        ) -> Served:
            settings = Settings(**{"model": "echo", "slots": 2, "drain_s": 0, **chosen})  # type: ignore[arg-type]
            maker = make_runner or runner_factory(settings)
            return await stack.enter_async_context(served_by(maker, settings, ready))

        yield start


@pytest.fixture
def patient_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is heard is what was said: no silence for a test that is slow to speak, no skip for one that is fast."""
    monkeypatch.setattr(pacing, "SILENCE_AFTER_S", 1e9)
    monkeypatch.setattr(pacing, "AHEAD_S", 1e9)


@pytest.fixture
def quick_watch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls are looked after every few milliseconds, and a slow step is still no hang."""
    monkeypatch.setattr(service_module, "WATCH_EVERY_S", 0.01)
    monkeypatch.setattr(watchdog, "HANG_CHECKS", 1000)
