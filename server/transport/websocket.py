"""Uvicorn's WebSockets, with a rate limit for control frames and fragments, and an answer to every handshake.

A ping must be answered, and a fragment is kept until its message is complete. Each costs the peer only six bytes, and
the application never sees it. Knows no calls.
"""

from __future__ import annotations

import asyncio
import logging
from http import HTTPStatus

from uvicorn.config import Config
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import ServerState
from websockets import http11
from websockets.datastructures import Headers
from websockets.frames import Frame
from websockets.http11 import Response
from websockets.server import ServerProtocol

from server.clock import WallClock
from server.errors import RateLimited
from server.transport.rate_limit import MESSAGE_BYTES, RateLimiter
from server.transport.request_head import (
    FAILED,
    INVALID_UPGRADE,
    MAX_HEAD_BYTES,
    MAX_HEADERS,
    NO_UPGRADE,
    NOT_GET,
    TOO_SLOW,
    HeadRefused,
)

FRAMES_PER_S = 125  # control frames and fragments; a normal client sends a ping every few seconds and no fragments
_PAUSE_AT_MESSAGES = 2  # not yet received by the application; only a flood or a stall causes more
_MAX_QUEUED_MESSAGES = 4000  # 80 s of speech
_CHUNK_BYTES = 4096  # parsed at a time, so that little is parsed after the peer was disconnected
_REFUSALS = {why.status: why for why in (NO_UPGRADE, NOT_GET, TOO_SLOW, FAILED)}

# The head was judged before (`request_head.py`); websockets parses it once more, and must not be stricter.
http11.MAX_LINE_LENGTH = MAX_HEAD_BYTES
http11.MAX_NUM_HEADERS = 2 * MAX_HEADERS


class _Handshake(ServerProtocol):
    """websockets' protocol, whose refusals have our headers and sentences, and nothing of what the client sent."""

    def __init__(self, default_headers: list[tuple[bytes, bytes]], max_message_bytes: int | None) -> None:
        super().__init__(max_size=max_message_bytes, logger=logging.getLogger("uvicorn.error"))
        self._default_headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in default_headers]

    def reject(self, status: HTTPStatus | int, text: str) -> Response:
        """The response to a handshake that is refused. `text` may quote the client, and is dropped."""
        why = _REFUSALS.get(HTTPStatus(status), INVALID_UPGRADE)
        headers = Headers(
            [("Connection", "close"), ("Content-Type", "application/json"), ("Content-Length", str(len(why.body)))]
        )
        return Response(why.status, why.status.phrase, headers, why.body)

    def complete(self, response: Response) -> Response:
        """A response with the headers that all have."""
        if response.status_code != HTTPStatus.SWITCHING_PROTOCOLS:  # to those, uvicorn adds them
            for name, value in self._default_headers:
                if name not in response.headers:
                    response.headers[name] = value
        return response

    def send_response(self, response: Response) -> None:
        super().send_response(self.complete(response))


class WebSocketProtocol(WebSocketsSansIOProtocol):
    """Uvicorn's protocol, which also closes a connection over the rate limit, and pauses reading only under load.

    Uvicorn pauses at every message and resumes when the application has received it, at two system calls each.
    """

    conn: _Handshake
    _timer: asyncio.TimerHandle | None = None

    def __init__(self, config: Config, server_state: ServerState, app_state: dict[str, object]) -> None:
        super().__init__(config, server_state, app_state)
        self.conn = _Handshake(server_state.default_headers, config.ws_max_size)

    def begin(self, head: bytes, deadline: float) -> None:
        """Answer the handshake whose request has this head, by `deadline` of the event loop's clock."""
        self._timer = self.loop.call_at(deadline, self._end_handshake, TOO_SLOW)
        self.data_received(head)
        if not self.handshake_initiated:  # websockets could not parse what h11 could
            self._end_handshake(INVALID_UPGRADE)

    def _end_handshake(self, why: HeadRefused) -> None:
        if self.handshake_complete or self.transport.is_closing():
            return
        self.handshake_complete = self.close_sent = True
        self.transport.write(self.conn.complete(self.conn.reject(why.status, "")).serialize())
        self.transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._rate_limiter = RateLimiter(FRAMES_PER_S * MESSAGE_BYTES, WallClock())
        super().connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Uvicorn's code is 1005 here, too, but the peer sent no close frame: RFC 6455 §7.4.1 has 1006 for that."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
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
