"""Uvicorn's WebSockets, with a rate limit for control frames and fragments.

A ping must be answered, and a fragment is kept until its message is complete. Each costs the peer only six bytes, and
the application never sees it. Knows no calls.
"""

from __future__ import annotations

import asyncio

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Frame

from server.clock import WallClock
from server.errors import RateLimited
from server.transport.rate_limit import MESSAGE_BYTES, RateLimiter

FRAMES_PER_S = 125  # control frames and fragments; a normal client sends a ping every few seconds and no fragments
_PAUSE_AT_MESSAGES = 2  # not yet received by the application; only a flood or a stall causes more
_MAX_QUEUED_MESSAGES = 4000  # 80 s of speech
_CHUNK_BYTES = 4096  # parsed at a time, so that little is parsed after the peer was disconnected


class WebSocketProtocol(WebSocketsSansIOProtocol):
    """Uvicorn's protocol, which also closes a connection over the rate limit, and pauses reading only under load.

    Uvicorn pauses at every message and resumes when the application has received it, at two system calls each.
    """

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._rate_limiter = RateLimiter(FRAMES_PER_S * MESSAGE_BYTES, WallClock())
        super().connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Uvicorn's code is 1005 here, too, but nobody said goodbye: RFC 6455 §7.4.1 has 1006 for that."""
        if self.conn.close_rcvd is None:
            self.queue.put_nowait({"type": "websocket.disconnect", "code": 1006})
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        for at in range(0, len(data), _CHUNK_BYTES):
            if not self.transport.is_closing():
                super().data_received(data[at : at + _CHUNK_BYTES])

    def handle_ping(self) -> None:
        if self._within_rate():
            super().handle_ping()
        else:
            self.conn.data_to_send()  # discards the pong, which would be kept

    def handle_pong(self, event: Frame) -> None:
        if self._within_rate():
            super().handle_pong(event)

    def handle_cont(self, event: Frame) -> None:
        if self._within_rate():
            super().handle_cont(event)

    def send_receive_event_to_app(self) -> None:
        if self.close_sent:  # the application receives no more messages, so its queue limits nothing
            self.frames = []
            self._within_rate()
            return
        if self.queue.qsize() >= _MAX_QUEUED_MESSAGES:
            self._fail(RateLimited())
            return
        reads_ahead = not self.read_paused and self.queue.qsize() < _PAUSE_AT_MESSAGES
        if reads_ahead:
            self.read_paused = True  # so that uvicorn does not pause
        super().send_receive_event_to_app()
        if reads_ahead:
            self.read_paused = False

    def _within_rate(self) -> bool:
        try:
            self._rate_limiter.spend(1, 0)
        except RateLimited as error:
            self._fail(error)
        return not self.close_sent and not self.transport.is_closing()

    def _fail(self, error: RateLimited) -> None:
        if self.close_sent or not self.handshake_complete:
            self.transport.close()  # the peer was told already, or cannot be told
        else:
            self.conn.fail(error.close_code, str(error))
            self.handle_parser_exception()  # informs the peer and the application
