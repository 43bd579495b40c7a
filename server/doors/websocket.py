"""WebSockets as uvicorn speaks them, for peers who speak all the time."""

from __future__ import annotations

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

_MOST_WAITING = 2  # messages that the call has not taken yet; more only a flood or a stall brings


class ReadingOn(WebSocketsSansIOProtocol):
    """Uvicorn's, but it stops reading only where messages pile up.

    It would do so at every message, and begin again when that one is taken: two system calls for each.
    """

    def send_receive_event_to_app(self) -> None:
        reads_on = not self.read_paused and self.queue.qsize() < _MOST_WAITING
        if reads_on:
            self.read_paused = True  # what has stopped is not stopped again
        super().send_receive_event_to_app()
        if reads_on:
            self.read_paused = False
