"""WebSockets as uvicorn speaks them, for peers who speak all the time, and for peers whose frames never end.

A ping wants an answer, and a part of a message is kept until the last one comes: both cost the peer six bytes, and no
call ever sees them. Knows no calls.
"""

from __future__ import annotations

import asyncio

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Frame

from server.clock import WallClock
from server.errors import RateLimited
from server.transport.rate_limit import MESSAGE_BYTES, RateLimiter

FRAMES_PER_S = 125  # that are no message of their own; a client sends one ping in some seconds, and no parts
_READS_ON_UNTIL = 2  # messages that the call has not taken yet; more only a flood or a stall brings
_MOST_WAITING = 4000  # 80 s of speech
_PIECE_BYTES = 4096  # parsed at a time, so that little is done for a peer who is hung up on


class WebSocketProtocol(WebSocketsSansIOProtocol):
    """Uvicorn's, but it hangs up on who sends frames without end, and stops reading only where messages pile up.

    It would stop at every message, and begin again when that one is taken: two system calls for each.
    """

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._pace = RateLimiter(FRAMES_PER_S * MESSAGE_BYTES, WallClock())
        super().connection_made(transport)

    def data_received(self, data: bytes) -> None:
        for at in range(0, len(data), _PIECE_BYTES):
            if not self.transport.is_closing():
                super().data_received(data[at : at + _PIECE_BYTES])

    def handle_ping(self) -> None:
        if self._may_send():
            super().handle_ping()
        else:
            self.conn.data_to_send()  # the answer, which would be kept

    def handle_pong(self, event: Frame) -> None:
        if self._may_send():
            super().handle_pong(event)

    def handle_cont(self, event: Frame) -> None:
        if self._may_send():
            super().handle_cont(event)

    def send_receive_event_to_app(self) -> None:
        if self.close_sent:  # no call counts this message any more
            self.frames = []
            self._may_send()
            return
        if self.queue.qsize() >= _MOST_WAITING:
            self._hang_up(RateLimited())
            return
        reads_on = not self.read_paused and self.queue.qsize() < _READS_ON_UNTIL
        if reads_on:
            self.read_paused = True  # what has stopped is not stopped again
        super().send_receive_event_to_app()
        if reads_on:
            self.read_paused = False

    def _may_send(self) -> bool:
        try:
            self._pace.spend(1, 0)
        except RateLimited as why:
            self._hang_up(why)
        return not self.close_sent and not self.transport.is_closing()

    def _hang_up(self, why: RateLimited) -> None:
        if self.close_sent or not self.handshake_complete:
            self.transport.close()  # they were told already, or can't be
        else:
            self.conn.fail(why.close_code, str(why))
            self.handle_parser_exception()  # tells the peer, and the call
