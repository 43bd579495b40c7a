"""Uvicorn's server, which also drains calls before it closes their sockets and has a timeout for TLS handshakes."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence
from types import FrameType

import uvicorn
from starlette.types import ASGIApp

from server.transport.banner import startup_banner
from server.transport.http import READ_BYTES, REQUEST_HEAD_TIMEOUT_S, HttpProtocol
from server.transport.request_head import MAX_HEAD_BYTES
from server.transport.turns import Turns
from server.transport.websocket import WebSocketProtocol

log = logging.getLogger(__name__)

_ACCEPT_BATCH = 64  # connections accepted before other tasks run
_CLOSE_TIMEOUT_S = 1  # for peers that do not answer the close


class GracefulServer(uvicorn.Server):
    """Serves an application until a signal or until it fails, then drains it. A second signal stops at once."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        drain: Callable[[], Awaitable[None]],
        failed: asyncio.Event,
        max_message_bytes: int,
        tls: ssl.SSLContext | None = None,
        token: str | None = None,
        headers: Sequence[tuple[bytes, bytes]] = (),
    ) -> None:
        """`drain` ends all calls in bounded time; `failed` is set if the application cannot continue; `token` is shown
        in the banner; `headers` are sent with every response, errors of the HTTP library included.
        """
        super().__init__(
            uvicorn.Config(
                app,
                http=HttpProtocol,
                headers=[(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers],
                h11_max_incomplete_event_size=MAX_HEAD_BYTES + READ_BYTES,  # a stop behind the judge of heads
                log_config=None,
                access_log=False,
                ssl_context_factory=(lambda *_: tls) if tls else None,
                proxy_headers=False,  # the access policy reads them
                ws=WebSocketProtocol,
                ws_max_size=max_message_bytes,
                ws_per_message_deflate=False,  # Opus does not compress further
                timeout_graceful_shutdown=_CLOSE_TIMEOUT_S,
            )
        )
        self._drain = drain
        self._failed = failed
        self._token = token
        self._loop = asyncio.get_running_loop()
        self._draining: asyncio.Task[None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup([])  # without sockets: uvicorn allows each TLS handshake a minute
        self._failure_watch = asyncio.create_task(self._end_on_failure())
        for listener in sockets or []:
            self.servers.append(await self._listen(listener))
            host, port = listener.getsockname()[:2]
            print(startup_banner(host, port, "https" if self.config.ssl else "http", self._token), flush=True)

    async def _listen(self, listener: socket.socket) -> asyncio.Server:
        turns = Turns(self._loop)

        def make_protocol() -> HttpProtocol:
            protocol = HttpProtocol(self.config, self.server_state, self.lifespan.state)
            protocol.turns = turns
            return protocol

        tls = self.config.ssl
        timeouts = (
            {"ssl_handshake_timeout": REQUEST_HEAD_TIMEOUT_S, "ssl_shutdown_timeout": _CLOSE_TIMEOUT_S} if tls else {}
        )
        return await self._loop.create_server(make_protocol, sock=listener, ssl=tls, backlog=_ACCEPT_BATCH, **timeouts)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Handle a signal: the first one drains, the next one stops."""
        if self._draining is None and not self.should_exit:
            log.info("stopping", extra={"signal": signal.Signals(sig).name})
            self._loop.call_soon_threadsafe(self.end)
        else:
            self.should_exit = self.force_exit = True

    def end(self) -> None:
        """Drain, then stop. Call on the event loop only."""
        if self._draining is None:
            self._draining = asyncio.create_task(self._drain_and_exit())

    async def _drain_and_exit(self) -> None:
        await self._drain()
        self.should_exit = True

    async def _end_on_failure(self) -> None:
        await self._failed.wait()
        self.end()
