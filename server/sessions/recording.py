"""One session's recording, as the session sees it: steps are added, until it is ended or cut.

Knows no file and no thread: those are the `Recorder`'s (`recorder.py`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from server.audio.framing import Pcm

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RecordedFrame:
    """One step of a session."""

    input_pcm: Pcm  # [FRAME_SAMPLES]
    output_pcm: Pcm | None  # [FRAME_SAMPLES]; None: nothing was said
    piece: str
    gap_s: float = 0.0  # for how long the session was parked right before it


class Recording:
    """Owner: the event loop, except for `is_cut`."""

    def __init__(
        self, call: str, metadata: dict[str, Any], put: Callable[[Recording, RecordedFrame | str], bool]
    ) -> None:
        self.call = call
        self.metadata = metadata  # the first line of its transcript
        self.is_cut = False  # set by whichever thread finds that it cannot go on
        self._put = put

    def add(self, frame: RecordedFrame) -> bool:
        """Record one step. False: the recording has been cut and takes nothing more."""
        if not self.is_cut and not self._put(self, frame):
            self.cut("the disk is too slow")
        return not self.is_cut

    def cut(self, reason: str) -> None:
        """End it before its session, for the first reason that is given."""
        if self.is_cut:
            return
        self.is_cut = True
        self.end("cut")
        log.error("recording cut", extra={"call": self.call, "reason": reason})

    def end(self, why: str) -> None:
        """Nothing more comes; the first reason that is given counts."""
        self._put(self, why)
