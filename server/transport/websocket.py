"""WebSockets as uvicorn serves them, with a rate limit on frames that are no message.

A ping has to be answered, and a fragment is kept until the message is complete: both cost the peer six bytes, and the
application never sees them. Knows no calls.
"""

from __future__ import annotations

import asyncio

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Frame

from server.clock import WallClock
from server.errors import RateLimited
from server.transport.rate_limit import MESSAGE_BYTES, RateLimiter

FRAMES_PER_S = 125  # control frames and fragments; a client sends a ping every few seconds, and no fragments
_PAUSE_AT = 2  # messages that the application has not taken yet; only a flood or a stall brings more
_MAX_QUEUED = 4000  # messages: 80 s of speech
_CHUNK_BYTES = 4096  # parsed at a time, so that little is done for a peer that is being disconnected


class WebSocketProtocol(WebSocketsSansIOProtocol):
    """Uvicorn's, except that it fails a peer that sends frames without end, and pauses reading only under load.

    Uvicorn pauses at every message and resumes when that one is taken, at two system calls each.
    """

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._rate_limiter = RateLimiter(FRAMES_PER_S * MESSAGE_BYTES, WallClock())
        super().connection_made(transport)

    def data_received(self, data: bytes) -> None:
        for at in range(0, len(data), _CHUNK_BYTES):
            if not self.transport.is_closing():
                super().data_received(data[at : at + _CHUNK_BYTES])

    def handle_ping(self) -> None:
        if self._within_rate():
            super().handle_ping()
        else:
            self.conn.data_to_send()  # drops the answer, which would be kept

    def handle_pong(self, event: Frame) -> None:
        if self._within_rate():
            super().handle_pong(event)

    def handle_cont(self, event: Frame) -> None:
        if self._within_rate():
            super().handle_cont(event)

    def send_receive_event_to_app(self) -> None:
        if self.close_sent:  # the application takes no more messages, so nothing else bounds them
            self.frames = []
            self._within_rate()
            return
        if self.queue.qsize() >= _MAX_QUEUED:
            self._fail(RateLimited())
            return
        reads_ahead = not self.read_paused and self.queue.qsize() < _PAUSE_AT
        if reads_ahead:
            self.read_paused = True  # so that uvicorn does not pause
        super().send_receive_event_to_app()
        if reads_ahead:
            self.read_paused = False

    def _within_rate(self) -> bool:
        try:
            self._rate_limiter.spend(1, 0)
        except RateLimited as why:
            self._fail(why)
        return not self.close_sent and not self.transport.is_closing()

    def _fail(self, why: RateLimited) -> None:
        if self.close_sent or not self.handshake_complete:
            self.transport.close()  # the peer was told already, or cannot be
        else:
            self.conn.fail(why.close_code, str(why))
            self.handle_parser_exception()  # tells the peer and the application
