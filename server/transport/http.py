"""Uvicorn's HTTP/1.1, with a timeout for request heads and small reads."""

from __future__ import annotations

import asyncio
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

READ_BYTES = 16_384  # per read; asyncio's 256 KiB would fragment the heap and be parsed at once
REQUEST_HEAD_TIMEOUT_S = 10.0  # from the connection to the end of a request's head; for a TLS handshake too


class HttpProtocol(H11Protocol):
    """Uvicorn's protocol, which also disconnects a peer that does not complete a request's head in time."""

    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        reader: Any = getattr(transport, "_ssl_protocol", transport)  # asyncio has no public attribute for this
        reader.max_size = READ_BYTES
        self._timer = self.loop.call_later(REQUEST_HEAD_TIMEOUT_S, transport.close)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._cancel_timer()
        elif self._timer is None:  # another request begins
            self._timer = self.loop.call_later(REQUEST_HEAD_TIMEOUT_S, self.transport.close)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._cancel_timer()

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
