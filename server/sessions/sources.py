"""The seam between a session and where its input comes from: `Source`.

Today there is one, the microphone (`inbox.py`). A file that is transcribed as fast as rows are spare and a script that
is read aloud are further sources: each is one file beside this one, and whoever makes the session passes it on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from server.audio.framing import Pcm


@dataclass(frozen=True, slots=True)
class SourceFrame:
    """80 ms of input, to be stepped."""

    pcm: Pcm  # [FRAME_SAMPLES]
    offered_at: float  # when it was to be stepped, in seconds by the server's clock: as it came, or at its turn
    is_silence: bool = False  # it stands in for a microphone that sends nothing


class Source(Protocol):
    """What one session gives to the engine, a frame at a time.

    The engine asks for a frame whenever a step begins, and never waits for one. A source is bounded: it holds a fixed
    number of frames, or draws them from what is given in advance. `due_at` and `take` are the engine thread's; `pause`
    and `resume` are the event loop's; an implementation whose other methods the event loop calls locks itself.
    """

    @property
    def due_at(self) -> float:
        """When `take` has something to give, in seconds by the server's clock; -inf: now; inf: not by itself.

        Read by either thread without a lock, so that an engine of many sessions need not ask each.
        """
        ...

    def take(self, now: float) -> SourceFrame | None:
        """The next frame to step; None: not yet, or never again."""
        ...

    def pause(self) -> int:
        """The session is parked: give nothing until `resume`. Returns how many frames were dropped by that."""
        ...

    def resume(self, now: float) -> None:
        """The session goes on at `now`, after a pause of any length."""
        ...
