"""Packets of any length in, exact frames out.

Knows the one rate and the two lengths that the whole server speaks of; knows no Opus, no sockets, no time.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SAMPLE_RATE_HZ = 24_000
FRAME_SAMPLES = 1_920  # one frame: what the model takes and gives in one step
FRAME_S = FRAME_SAMPLES / SAMPLE_RATE_HZ  # 0.08
PACKET_SAMPLES = 480  # one Opus packet of 20 ms, as we send them

Pcm = NDArray[np.float32]  # mono, 24 kHz, nominally within -1 … 1


class FrameAssembler:
    """Cuts one caller's PCM into frames. Holds less than one frame between calls."""

    def __init__(self) -> None:
        self._partial = np.empty(FRAME_SAMPLES, np.float32)
        self.pending_samples = 0  # valid samples at the head of _partial

    def push(self, pcm: Pcm) -> list[Pcm]:
        """Take `pcm` f32 [n] of any length; return the frames f32 [1920] that it completes.

        Every frame is an array of its own: the caller may reuse its buffer at once.
        """
        frames: list[Pcm] = []
        while len(pcm) >= (missing := FRAME_SAMPLES - self.pending_samples):
            self._partial[self.pending_samples :] = pcm[:missing]
            frames.append(self._partial)
            self._partial = np.empty(FRAME_SAMPLES, np.float32)
            self.pending_samples = 0
            pcm = pcm[missing:]
        self._partial[self.pending_samples : self.pending_samples + len(pcm)] = pcm
        self.pending_samples += len(pcm)
        return frames
