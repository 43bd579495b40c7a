"""HTTP as uvicorn speaks it, for peers who may have come only to stay."""

from __future__ import annotations

import asyncio
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

READ_BYTES = 16_384  # at once: asyncio makes room for 256 KiB each time, which litters the heap, and parses all of it
REQUEST_HEAD_S = 10.0  # from the connection to the end of a request's head; for a TLS handshake too


class HttpProtocol(H11Protocol):
    """Uvicorn's HTTP, but who does not come to the end of a request's head is hung up on; it would wait for ever."""

    _hang_up: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        reader: Any = getattr(transport, "_ssl_protocol", transport)  # asyncio has no public way
        reader.max_size = READ_BYTES
        self._hang_up = self.loop.call_later(REQUEST_HEAD_S, transport.close)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._be_patient()
        elif self._hang_up is None:  # the beginning of another request
            self._hang_up = self.loop.call_later(REQUEST_HEAD_S, self.transport.close)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._be_patient()

    def _be_patient(self) -> None:
        if self._hang_up is not None:
            self._hang_up.cancel()
            self._hang_up = None
