"""The socket of one call, and what a bad network does to it. Messages in, messages out; knows nothing of their meaning.

picows calls back from the event loop without a task or a future for each message, and is compiled: 200 callers in raw
packets are 20,000 messages a second. `make bench ARGS="--only tester"` measures what that takes.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Mapping, Sequence

from picows import WSError, WSFrame, WSHandshakeError, WSListener, WSMsgType, WSTransport, ws_connect

from server.dialects.kyutai_protocol import MAX_MESSAGE_BYTES

CONNECTED_WITHIN_S = 30.0
PARTED_WITHIN_S = 2.0  # for the other side to answer our close
UNSENT_BYTES = 65_536  # 10 s of speech: what more is said to a server that does not read is lost

OnMessage = Callable[[bytes | str, float], None]


class Line(WSListener):
    """One WebSocket connection. `on_message` gets each message with its time, until `dial` returns."""

    def __init__(self, on_connected: Callable[[], None], on_message: OnMessage) -> None:
        self.is_full = False  # the other side reads nothing: what is sent now would only queue up
        self._on_connected = on_connected
        self._on_message = on_message
        self._socket: WSTransport | None = None
        self._held: list[bytes] | None = None  # what a stalled line has not let through
        self._fragments = b""
        self._why_closed: str | None = None
        self._is_parting = False

    async def dial(self, url: str, headers: Mapping[str, str]) -> str | None:
        """Connect, and stay on the line until it ends: None when we ended it, else the reason in a few words."""
        try:
            socket, _ = await ws_connect(
                lambda: self,
                url,
                websocket_handshake_timeout=CONNECTED_WITHIN_S,
                max_frame_size=MAX_MESSAGE_BYTES,
                extra_headers=headers,
                max_redirects=0,
            )
            await socket.wait_disconnected()
        except (OSError, TimeoutError, WSError) as error:
            return _reason(error)
        return self._why_closed

    @property
    def is_stalled(self) -> bool:
        return self._held is not None

    def send(self, messages: Sequence[bytes]) -> None:
        """Hand messages to the socket; nothing waits, and a stalled line keeps them back."""
        if self._held is not None:
            self._held += messages
        elif self._socket:
            for message in messages:
                self._socket.send(WSMsgType.BINARY, message)

    def stall(self, length_s: float) -> None:
        """Let nothing through in either direction for a while, then all at once."""
        if self._socket and self._held is None:
            self._held = []
            self._socket.underlying_transport.pause_reading()
            asyncio.get_running_loop().call_later(length_s, self._go_on)

    def _go_on(self) -> None:
        held, self._held = self._held or [], None
        if self._socket and not self._socket.is_disconnected:
            self._socket.underlying_transport.resume_reading()
            self.send(held)

    def cut(self) -> None:
        """Break the line without a goodbye."""
        self._is_parting = True
        if self._socket:
            self._socket.disconnect(graceful=False)

    def part(self) -> None:
        """Say goodbye, and end the line once it is answered, or after a while."""
        if self._socket and not self._is_parting:
            self._is_parting = True
            self._socket.send(WSMsgType.CLOSE, (1000).to_bytes(2))
            asyncio.get_running_loop().call_later(PARTED_WITHIN_S, self._socket.disconnect, False)

    # ── What picows calls

    def on_ws_connected(self, transport: WSTransport) -> None:
        self._socket = transport
        transport.underlying_transport.set_write_buffer_limits(UNSENT_BYTES)
        self._on_connected()

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        now = time.perf_counter()
        if frame.msg_type is WSMsgType.CLOSE:
            self._on_close(transport)
            return
        payload = self._fragments + frame.get_payload_as_bytes()
        if not frame.fin:
            self._fragments = payload[: MAX_MESSAGE_BYTES + 1]
            return
        self._fragments = b""
        is_text = frame.msg_type is WSMsgType.TEXT
        self._on_message(payload.decode(errors="replace") if is_text else payload, now)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        if not self._is_parting:
            self._why_closed = "the connection broke"

    def pause_writing(self) -> None:
        self.is_full = True

    def resume_writing(self) -> None:
        self.is_full = False

    def _on_close(self, socket: WSTransport) -> None:
        if not self._is_parting:
            self._is_parting = True
            closed = socket.close_handshake.recv
            code, reason = (closed.code, closed.reason) if closed else (0, "")
            polite = "the server hung up before the end"
            self._why_closed = polite if code in (0, 1000) else f"closed with {code} {reason}".strip()
            socket.send_close()
        socket.disconnect()


def _reason(error: Exception) -> str:
    """Why there was no call, in a few words that are the same for all calls that failed so."""
    if isinstance(error, WSHandshakeError):
        if error.response is None:
            return "the connection broke"
        return f"HTTP {int(error.response.status)}: {_told(error.raw_body)}"
    if isinstance(error, TimeoutError):
        return "no answer to the call"
    if isinstance(error, WSError):
        return f"the server broke the protocol: {error}"
    return f"cannot connect: {error}"


def _told(body: bytes | None) -> str:
    """The sentence in a refusal's JSON, or the beginning of what is there instead."""
    try:
        return str(json.loads(body or b"")["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return (body or b"no reason given")[:80].decode("utf-8", "replace").strip()
