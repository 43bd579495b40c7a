"""What is written down of one call. Knows no socket and no statistics: `call.py` fills it, `figures.py` reads it."""

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
    """What one caller saw of one call, or of the part of it since the last `take`. Times are monotonic seconds."""

    caller: int = 0
    is_troubled: bool = False  # by faults that were ordered
    is_resumed: bool = False  # goes on with a conversation whose line was cut
    dialled_at: float | None = None
    greeted_after_s: float | None = None  # None: was never greeted
    over_at: float | None = None
    failure: str | None = None
    was_cut: bool = False  # the line was, as ordered
    due_from: float = 0.0  # when the clock wanted the first packet sent,
    due_every_s: float = 0.0  # and how often the others
    late_by_s: array[float] = field(default_factory=_durations)  # our own lateness, each time we sent
    sent_at: array[float] = field(default_factory=_times)  # [i]: the last packet of input frame i left
    heard_at: array[float] = field(default_factory=_times)  # [j]: output frame j was complete
    skips: list[tuple[int, int]] = field(default_factory=list)  # from output [0] on, [1] inputs more were skipped
    unsent_samples: int = 0  # the server did not read, so they were never sent
    text_pieces: int = 0

    def take(self) -> CallRecord:
        """What has come since the last time, for `add` to put to the end of what came before; no longer kept here."""
        taken = CallRecord(**vars(self))
        self.late_by_s, self.sent_at, self.heard_at, self.skips = _durations(), _times(), _times(), []
        self.unsent_samples = self.text_pieces = 0
        return taken

    def add(self, later: CallRecord) -> None:
        """Put what was taken later to the end of this."""
        for name, value in vars(later).items():
            setattr(self, name, operator.iadd(getattr(self, name), value) if name in _GROWS else value)


_GROWS = ("late_by_s", "sent_at", "heard_at", "skips", "unsent_samples", "text_pieces")
