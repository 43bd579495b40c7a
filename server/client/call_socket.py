"""The WebSocket connection of one call: messages in, messages out. Knows nothing of their meaning.

picows calls back from the event loop without a task or a future for each message, and is compiled: 200 callers who send
raw packets are 20,000 messages a second. `make bench ARGS="--only load-tester"` measures what that costs.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Mapping, Sequence

from picows import WSError, WSFrame, WSHandshakeError, WSListener, WSMsgType, WSTransport, ws_connect

from server.dialects.kyutai_protocol import MAX_MESSAGE_BYTES

CONNECT_TIMEOUT_S = 30.0
CLOSE_TIMEOUT_S = 2.0  # for the server to answer our close frame
MAX_UNSENT_BYTES = 65_536  # 10 s of speech, for a server that does not read

OnMessage = Callable[[bytes | str, float], None]


class CallSocket(WSListener):
    """One connection. `on_message` gets each message and its monotonic time, until `connect` returns."""

    def __init__(self, on_connected: Callable[[], None], on_message: OnMessage) -> None:
        self.is_full = False  # MAX_UNSENT_BYTES are buffered: send nothing more for now
        self._on_connected = on_connected
        self._on_message = on_message
        self._transport: WSTransport | None = None
        self._fragments = b""
        self._close_reason: str | None = None
        self._is_closing = False

    async def connect(self, url: str, headers: Mapping[str, str]) -> str | None:
        """Connect, and return when the connection ends: None if we ended it, else the reason in a few words."""
        try:
            transport, _ = await ws_connect(
                lambda: self,
                url,
                websocket_handshake_timeout=CONNECT_TIMEOUT_S,
                max_frame_size=MAX_MESSAGE_BYTES,
                extra_headers=headers,
                max_redirects=0,
            )
            await transport.wait_disconnected()
        except (OSError, TimeoutError, WSError) as error:
            return _failure(error)
        return self._close_reason

    def send(self, messages: Sequence[bytes]) -> None:
        """Hand messages to the socket without waiting."""
        if self._transport:
            for message in messages:
                self._transport.send(WSMsgType.BINARY, message)

    def close(self) -> None:
        """Send a close frame; the connection ends when it is answered, or after CLOSE_TIMEOUT_S."""
        if self._transport and not self._is_closing:
            self._is_closing = True
            self._transport.send(WSMsgType.CLOSE, (1000).to_bytes(2))
            asyncio.get_running_loop().call_later(CLOSE_TIMEOUT_S, self._transport.disconnect, False)

    def abort(self) -> None:
        """Drop the connection without a close frame."""
        self._is_closing = True
        if self._transport:
            self._transport.disconnect(graceful=False)

    # ── What picows calls

    def on_ws_connected(self, transport: WSTransport) -> None:
        self._transport = transport
        transport.underlying_transport.set_write_buffer_limits(MAX_UNSENT_BYTES)
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
        if not self._is_closing:
            self._close_reason = "connection lost"

    def pause_writing(self) -> None:
        self.is_full = True

    def resume_writing(self) -> None:
        self.is_full = False

    def _on_close(self, transport: WSTransport) -> None:
        if not self._is_closing:
            self._is_closing = True
            closed = transport.close_handshake.recv
            code, reason = (closed.code, closed.reason) if closed else (0, "")
            is_normal = code in (0, 1000)
            self._close_reason = (
                "the server closed the call early" if is_normal else f"closed with {code} {reason}".strip()
            )
            transport.send_close()
        transport.disconnect()


def _failure(error: Exception) -> str:
    """Why there was no connection, in words that are the same for every call that failed in the same way."""
    if isinstance(error, WSHandshakeError):
        if error.response is None:
            return "connection lost"
        return f"HTTP {int(error.response.status)}: {_refusal(error.raw_body)}"
    if isinstance(error, TimeoutError):
        return "timed out while connecting"
    if isinstance(error, WSError):
        return f"the server broke the protocol: {error}"
    return f"cannot connect: {error}"


def _refusal(body: bytes | None) -> str:
    """The message of a JSON error body, or the beginning of any other body."""
    try:
        return str(json.loads(body or b"")["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return (body or b"no reason given")[:80].decode("utf-8", "replace").strip()
