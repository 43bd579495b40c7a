"""A real server on a free port, in the event loop of the test."""

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
from server.transport import rate_limit
from server.transport.listener import ConnectionLimiter, listen
from server.transport.server import GracefulServer
from server.transport.tls import tls_context
from tests.server.chat_client import TIMEOUT_S, wait_until


@dataclass(frozen=True)
class RunningServer:
    """A server that accepts connections."""

    service: Service
    server: GracefulServer
    port: int

    @property
    def chat(self) -> str:
        """The URL of calls."""
        return f"ws://127.0.0.1:{self.port}/api/chat"

    @property
    def http(self) -> str:
        return f"http://127.0.0.1:{self.port}"


Serve = Callable[..., Awaitable[RunningServer]]


@asynccontextmanager
async def run_server(
    make_runner: Callable[[], Runner], settings: Settings, ready: bool
) -> AsyncIterator[RunningServer]:
    """Run a server until the block is left; wait until its model is loaded if `ready`."""
    service = Service(settings, make_runner)
    listener = listen("127.0.0.1", 0, ConnectionLimiter(settings))
    server = make_server(service, listener, tls_context(settings))
    serving = asyncio.create_task(server._serve(sockets=[listener]))  # without its signal handlers
    served = RunningServer(service, server, listener.getsockname()[1])
    await wait_until(lambda: server.started and (service.status == "ready" or not ready))
    try:
        yield served
    finally:
        server.end()
        async with asyncio.timeout(TIMEOUT_S):
            await serving


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """`await serve(make_runner=…, ready=…, **settings)` starts a server, by default the echo with two slots."""
    async with AsyncExitStack() as stack:

        async def start(
            make_runner: Callable[[], Runner] | None = None, ready: bool = True, **chosen: object
        ) -> RunningServer:
            settings = Settings(**{"model": "echo", "slots": 2, "drain_s": 0, **chosen})  # type: ignore[arg-type]
            maker = make_runner or runner_factory(settings)
            return await stack.enter_async_context(run_server(maker, settings, ready))

        yield start


@pytest.fixture
def unpaced_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Turn pacing off: no silence is filled in for a slow test, no frame of a fast one is skipped or too much."""
    monkeypatch.setattr(pacing, "SILENCE_AFTER_S", 1e9)
    monkeypatch.setattr(pacing, "AHEAD_S", 1e9)
    monkeypatch.setattr(rate_limit, "SOUND_S_PER_S", 1e9)


@pytest.fixture
def short_watch_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    """Check calls every 10 ms, and let no step that is merely slow count as a hang."""
    monkeypatch.setattr(service_module, "WATCH_EVERY_S", 0.01)
    monkeypatch.setattr(watchdog, "HANG_CHECKS", 1000)


@pytest.fixture(scope="session")
def random_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The directory of a checkpoint with random weights, which produces text and audio for any input."""
    from model.checkpoints.random import write_checkpoint

    directory = tmp_path_factory.mktemp("random_checkpoint")
    write_checkpoint(directory)
    return str(directory)
