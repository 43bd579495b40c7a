"""Senders of every manner, and an inbox that hears them on a clock of its own: minutes pass in milliseconds."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from server.audio.framing import FRAME_S, FRAME_SAMPLES, Pcm
from server.sessions.inbox import Inbox

Arrival = tuple[float, int]  # when it arrives, and how many frames it completes


@dataclass
class Heard:
    """What the model was given."""

    at: list[float] = field(default_factory=list)
    numbers: list[int | None] = field(default_factory=list)  # of the frames, as they were sent; None: silence
    delays_s: list[float] = field(default_factory=list)  # of the frames that are not silence
    dropped: list[tuple[float, int]] = field(default_factory=list)  # when, and how many frames
    waiting_most: int = 0

    @property
    def heard(self) -> list[int]:
        """The numbers of the frames that were stepped, without silence."""
        return [number for number in self.numbers if number is not None]

    def heard_after(self, since: float) -> list[int]:
        return [number for at, number in zip(self.at, self.numbers, strict=True) if number is not None and at >= since]

    def longest_hole_s(self, since: float = 0.0) -> float:
        return max(later - earlier for earlier, later in pairwise(at for at in self.at if at >= since))


def chunks(seconds: float, chunk_s: float, start: float = 0.0) -> list[Arrival]:
    """Live audio in chunks, each sent when it has been spoken."""
    sizes = [int((n + 1) * chunk_s / FRAME_S + 1e-6) - int(n * chunk_s / FRAME_S + 1e-6) for n in range(10_000)]
    return [(start + (n + 1) * chunk_s, sizes[n]) for n in range(round(seconds / chunk_s))]


def held_back(messages: Sequence[Arrival], start: float, stall_s: float) -> list[Arrival]:
    """The same over a network that delivers nothing for `stall_s`, then everything."""
    return [(start + stall_s if start <= at < start + stall_s else at, frames) for at, frames in messages]


def listen(messages: Sequence[Arrival], loudness: Sequence[float] | None = None, until: float | None = None) -> Heard:
    """What an idle engine steps of `messages`, until `until` or the last of them and two seconds."""
    inbox, stepped, number, now = Inbox(), Heard(), 0, 0.0
    left = deque(sorted(messages))
    end = until if until is not None else left[-1][0] + 2.0
    while now < end:
        while left and left[0][0] <= now:
            _, frames = left.popleft()
            for follows in reversed(range(frames)):
                skips = inbox.offer(_frame(number, loudness[number] if loudness else 0.5), now, follows)
                number += 1
                if sum(skips):
                    stepped.dropped.append((now, sum(skips)))
            stepped.waiting_most = max(stepped.waiting_most, len(inbox._frames))
        while frame := inbox.take(now):
            stepped.at.append(now)
            stepped.numbers.append(None if frame.is_silence else round(float(frame.pcm[0]) * 65_536))
            if not frame.is_silence:
                stepped.delays_s.append(inbox.delay_s)
        now = max(now, min(inbox.due_at, left[0][0] if left else end))
    return stepped


def _frame(number: int, loudness: float) -> Pcm:
    frame = np.full(FRAME_SAMPLES, loudness, np.float32)
    frame[0] = number / 65_536
    return frame
