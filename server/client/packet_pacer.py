"""The pace at which recorded speech is sent: that of the clock, whatever the server does."""

from __future__ import annotations

from server.audio.framing import FRAME_S
from server.dialects.kyutai_protocol import AudioForm

MIN_INTERVAL_SHARE = 0.75  # of the usual interval: a client that is late does not catch up in a burst


class PacketPacer:
    """Computes when each audio message is due. Times are monotonic seconds; the owner sets the timers."""

    def __init__(self, form: AudioForm, packets_per_frame: int) -> None:
        # Kyutai's client sends one Ogg page every 80 ms; the web page sends one raw packet every 20 ms.
        self.packets_per_message = packets_per_frame if form is AudioForm.OGG else 1
        self.interval_s = FRAME_S * self.packets_per_message / packets_per_frame
        self.due_at = 0.0  # of the next message, however late the previous ones were

    def start(self, at: float) -> None:
        """Speech starts at this time, so the first message is complete, and due, one interval later."""
        self.due_at = at + self.interval_s

    def advance(self, now: float) -> float:
        """Go on to the next message. Returns the seconds from `now` until it should be sent."""
        self.due_at += self.interval_s
        return max(self.due_at - now, MIN_INTERVAL_SHARE * self.interval_s)
