"""A call's socket that can stall, as TCP does after a lost segment."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from server.client.call_socket import CallSocket, OnMessage


class FaultySocket(CallSocket):
    """While it stalls, nothing gets through in either direction; afterwards all of it does."""

    def __init__(self, on_connected: Callable[[], None], on_message: OnMessage) -> None:
        super().__init__(on_connected, on_message)
        self._withheld: list[bytes] | None = None  # what was to be sent during a stall

    @property
    def is_stalled(self) -> bool:
        return self._withheld is not None

    def send(self, messages: Sequence[bytes]) -> None:
        if self._withheld is None:
            super().send(messages)
        else:
            self._withheld += messages

    def stall(self, duration_s: float) -> None:
        if self._transport and self._withheld is None:
            self._withheld = []
            self._transport.underlying_transport.pause_reading()
            asyncio.get_running_loop().call_later(duration_s, self._end_stall)

    def _end_stall(self) -> None:
        withheld, self._withheld = self._withheld or [], None
        if self._transport and not self._transport.is_disconnected:
            self._transport.underlying_transport.resume_reading()
            self.send(withheld)
