"""Uvicorn's HTTP/1.1, with bounds on request heads, a time limit for them and for WebSocket handshakes, and turns.

Every request that cannot be served is answered with a sentence, whichever parser refuses it, and the connection closed.
"""

from __future__ import annotations

import asyncio
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from server.transport.request_head import (
    INVALID,
    WITH_BODY,
    HeadRefused,
    judge_head,
)
from server.transport.turns import Turns
from server.transport.websocket import WebSocketProtocol

READ_BYTES = 16_384  # per read; asyncio's 256 KiB would fragment the heap and be parsed at once
REQUEST_HEAD_TIMEOUT_S = 10.0  # from the connection to a request's head, or to a finished handshake; for TLS too
_LINGER_S = 1.0  # how long what a refused client still sends is read: closing at once could discard the answer


class HttpProtocol(H11Protocol):
    """Uvicorn's protocol, which takes turns with other connections, and never leaves a request without an answer."""

    turns: Turns
    _timer: asyncio.TimerHandle | None = None
    _has_asked = False  # for a turn
    _is_refused = False  # what comes now is discarded

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        reader: Any = getattr(transport, "_ssl_protocol", transport)  # asyncio has no public attribute for this
        reader.max_size = READ_BYTES
        self._timer = self.loop.call_later(REQUEST_HEAD_TIMEOUT_S, transport.close)

    def data_received(self, data: bytes) -> None:
        if not self._is_refused:
            super().data_received(data)

    def handle_events(self) -> None:
        """Parse, and begin to answer, in this connection's turn. Nothing is read until then."""
        if not self._has_asked:
            self._has_asked = True
            self.transport.pause_reading()
            self.turns.ask(self._take_turn)

    def _take_turn(self) -> None:
        self._has_asked = False
        if self.transport.is_closing() or self._is_refused:
            return
        if not self.flow.read_paused:
            self.transport.resume_reading()
        is_head = self.conn.their_state is h11.IDLE
        refused = judge_head(self.conn.trailing_data[0]) if is_head else None
        if refused:
            self._refuse(refused)
            return
        super().handle_events()
        if self.conn.their_state is not h11.IDLE:
            self._cancel_timer()
        elif self._timer is None:  # another request begins
            self._timer = self.loop.call_later(REQUEST_HEAD_TIMEOUT_S, self.transport.close)

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        """Hand the connection over, with what is left of the time for the handshake."""
        headers = [(name, value) for name, value in self.headers if name in (b"content-length", b"transfer-encoding")]
        if any(name == b"transfer-encoding" or value != b"0" for name, value in headers):
            self._refuse(WITH_BODY)
            return
        lines = [b"%b %b HTTP/1.1" % (event.method, event.target), *(b"%b: %b" % header for header in self.headers)]
        deadline = self._timer.when() if self._timer else self.loop.time() + REQUEST_HEAD_TIMEOUT_S
        self.connections.discard(self)
        protocol = WebSocketProtocol(self.config, self.server_state, self.app_state)
        protocol.connection_made(self.transport)
        self.transport.set_protocol(protocol)
        protocol.begin(b"\r\n".join([*lines, b"", b""]), deadline)

    def send_400_response(self, msg: str) -> None:
        """Answer what h11 refused."""
        self._refuse(INVALID)

    def _refuse(self, why: HeadRefused) -> None:
        if self.conn.our_state not in (h11.IDLE, h11.SEND_RESPONSE):  # an answer is under way
            self.transport.close()
            return
        if self.cycle and not self.cycle.response_complete:
            self.cycle.disconnected = True
        headers = [
            *self.server_state.default_headers,
            (b"content-type", b"application/json"),
            (b"content-length", str(len(why.body)).encode()),
            (b"connection", b"close"),
        ]
        response = h11.Response(status_code=why.status, headers=headers, reason=why.status.phrase.encode())
        parts = (self.conn.send(response), self.conn.send(h11.Data(data=why.body)), self.conn.send(h11.EndOfMessage()))
        self.transport.write(b"".join(part for part in parts if part))
        self._is_refused = True
        self._cancel_timer()
        if self.transport.can_write_eof():
            self.transport.write_eof()
            self.transport.resume_reading()
            self._timer = self.loop.call_later(_LINGER_S, self.transport.close)
        else:
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._cancel_timer()

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
