"""The server's PCM: its sample rate, its frame and packet lengths, and how to cut PCM into frames.

Knows no Opus, no sockets and no time.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SAMPLE_RATE_HZ = 24_000
FRAME_SAMPLES = 1_920  # one frame: the model's input and output of one step
FRAME_S = FRAME_SAMPLES / SAMPLE_RATE_HZ  # 0.08
PACKET_SAMPLES = 480  # one Opus packet of 20 ms, as the server sends them

Pcm = NDArray[np.float32]  # mono, 24 kHz, nominally within -1 … 1


class FrameAssembler:
    """Cuts one client's PCM into frames. Holds less than one frame from one `push` to the next."""

    def __init__(self) -> None:
        self._partial = np.empty(FRAME_SAMPLES, np.float32)
        self.pending_samples = 0  # valid samples at the head of _partial

    def push(self, pcm: Pcm) -> list[Pcm]:
        """Add `pcm` f32 [n] of any length; return the frames f32 [1920] that it completes.

        Frames are copies, so `pcm` may be reused at once.
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
