"""The speech that callers send: Opus packets, encoded once before the run starts."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from server.audio.files import read_audio
from server.audio.framing import FRAME_SAMPLES, SAMPLE_RATE_HZ, Pcm
from server.audio.opus import OpusEncoder

MAX_FILE_S = 60  # of a sound file; callers start at different places in it
_SYNTHETIC_S = 6
_FORMANTS_HZ = np.array([[700, 1200, 2600], [300, 2200, 3000], [500, 900, 2400], [400, 1700, 2500]])  # a, i, o, e


def encoded_speech(path: str | Path | None) -> list[list[bytes]]:
    """The file's sound, or synthetic speech for None, as frames of four packets. Raises AudioFileError."""
    pcm = synthetic_speech() if path is None else read_audio(path)[: MAX_FILE_S * SAMPLE_RATE_HZ]
    pcm = np.pad(pcm, (0, -len(pcm) % FRAME_SAMPLES))
    encoder = OpusEncoder()
    return [encoder.encode(frame) for frame in pcm.reshape(-1, FRAME_SAMPLES)]


def synthetic_speech() -> Pcm:
    """f32 [144000]: vowels at four syllables a second with a moving pitch, breath noise, a pause every third second.

    Not intelligible, but it costs an Opus codec what speech costs, and needs no file.
    """
    t = np.arange(_SYNTHETIC_S * SAMPLE_RATE_HZ) / SAMPLE_RATE_HZ
    syllable = (4 * t).astype(int)
    pitch_hz = 130 + 25 * np.sin(2 * np.pi * 0.7 * t) + 10 * np.sin(2 * np.pi * 2.3 * t)
    phase = 2 * np.pi * np.cumsum(pitch_hz) / SAMPLE_RATE_HZ
    formants_hz = _FORMANTS_HZ[syllable % len(_FORMANTS_HZ)]  # [n, 3]
    voice = np.zeros_like(t)
    for harmonic in range(1, 25):
        distance = (harmonic * pitch_hz[:, None] - formants_hz) / 150
        voice += (1 / (1 + distance**2)).sum(axis=1) * np.sin(harmonic * phase) / harmonic**0.5
    breath = np.random.default_rng(0).standard_normal(len(t))
    loudness = np.sin(np.pi * (4 * t % 1)) ** 0.5 * (t % 3 < 2.4)
    pcm = loudness * (voice + 0.05 * breath)
    return (0.4 * pcm / np.abs(pcm).max()).astype(np.float32)
