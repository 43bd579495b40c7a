"""Sound files to the server's PCM and back.

Knows files (through soundfile) and resampling (through soxr); knows no Opus and no calls. soundfile reads WAV, FLAC,
Ogg and MP3 with 4 MB of libraries; WebM and M4A need PyAV's 104 MB, and nobody hands such files to `parley run`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile
import soxr

from server.audio.framing import SAMPLE_RATE_HZ, Pcm


class AudioFileError(Exception):
    """A sound file that cannot be read or written. The message names it and says why."""


def read_audio(path: str | Path) -> Pcm:
    """Read any file that libsndfile knows as f32 [n], mono at 24 kHz; the mean of its channels.

    A 24 kHz mono int16 file comes back as exactly int16 / 32768. Raises AudioFileError.
    """
    if not Path(path).is_file():  # of which libsndfile only says "System error"
        raise AudioFileError(f"{path}: there is no such file.")
    try:
        pcm, rate_hz = soundfile.read(path, dtype="float32", always_2d=True)  # [n, channels]
    except (soundfile.SoundFileError, OSError, MemoryError) as error:  # a header may promise years of sound
        raise AudioFileError(f"{path} cannot be read as sound: {error}") from error
    if not len(pcm):
        raise AudioFileError(f"{path} holds no sound.")
    if not np.isfinite(pcm).all():
        raise AudioFileError(f"{path} holds samples that are not numbers.")
    mono = pcm[:, 0] if pcm.shape[1] == 1 else pcm.mean(axis=1)
    if rate_hz == SAMPLE_RATE_HZ:
        return np.ascontiguousarray(mono, np.float32)
    return soxr.resample(mono, rate_hz, SAMPLE_RATE_HZ).astype(np.float32, copy=False)


def write_wav(path: str | Path, pcm: Pcm) -> None:
    """Write f32 [n] within -1 … 1 as a 24 kHz mono int16 WAV, rounded and clipped. Raises AudioFileError."""
    int16 = np.clip(np.rint(pcm * 32768.0), -32768, 32767).astype(np.int16)
    try:
        soundfile.write(path, int16, SAMPLE_RATE_HZ, format="WAV", subtype="PCM_16")
    except (soundfile.SoundFileError, OSError) as error:
        raise AudioFileError(f"{path} cannot be written: {error}") from error
