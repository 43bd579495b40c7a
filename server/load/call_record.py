"""What is recorded of one call. `measured_call.py` fills it, `figures.py` reads it; knows no socket, no statistics."""

from __future__ import annotations

import operator
from array import array
from dataclasses import dataclass, field


def _times() -> array[float]:
    return array("d")


def _durations() -> array[float]:
    return array("f")


@dataclass
class CallRecord:
    """What one caller observed of one call, or of the part of it since the last `take`. Times are monotonic seconds."""

    caller: int = 0
    has_faults: bool = False  # injected ones
    is_resumed: bool = False  # continues a conversation after a dropped connection
    started_at: float | None = None  # when the client began to connect
    handshake_after_s: float | None = None  # after started_at; None: no handshake came
    ended_at: float | None = None
    failure: str | None = None
    was_disconnected: bool = False  # by an injected fault
    first_due_at: float = 0.0  # when the first message was due,
    send_interval_s: float = 0.0  # and how long after it each next one
    late_by_s: array[float] = field(default_factory=_durations)  # the client's own lateness, for each message
    sent_at: array[float] = field(default_factory=_times)  # [i]: when the last packet of input frame i was sent
    received_at: array[float] = field(default_factory=_times)  # [j]: when output frame j was complete
    skips: list[tuple[int, int]] = field(default_factory=list)  # from output [0] on, [1] more inputs were skipped
    unsent_samples: int = 0  # never sent, because the server did not read
    text_pieces: int = 0

    def take(self) -> CallRecord:
        """What was recorded since the last `take`, to be appended with `add`; it is no longer kept here."""
        taken = CallRecord(**vars(self))
        self.late_by_s, self.sent_at, self.received_at, self.skips = _durations(), _times(), _times(), []
        self.unsent_samples = self.text_pieces = 0
        return taken

    def add(self, later: CallRecord) -> None:
        """Append what was taken later."""
        for name, value in vars(later).items():
            setattr(self, name, operator.iadd(getattr(self, name), value) if name in _GROWING else value)


_GROWING = ("late_by_s", "sent_at", "received_at", "skips", "unsent_samples", "text_pieces")
