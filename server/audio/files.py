"""Read and write audio files, through soundfile, and resample them, through soxr. Knows no Opus and no calls.

soundfile reads WAV, FLAC, Ogg and MP3 with 4 MB of libraries. WebM and M4A would need PyAV, which is 104 MB.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile
import soxr

from server.audio.framing import SAMPLE_RATE_HZ, Pcm


class AudioFileError(Exception):
    """An audio file cannot be read or written. The message names the file and the reason."""


def read_audio(path: str | Path) -> Pcm:
    """Read any file that libsndfile supports as f32 [n]: resampled to 24 kHz, the mean of its channels.

    A 24 kHz mono int16 file comes back as exactly int16 / 32768. Raises AudioFileError.
    """
    if not Path(path).is_file():  # libsndfile would only say "System error"
        raise AudioFileError(f"{path}: no such file.")
    try:
        pcm, rate_hz = soundfile.read(path, dtype="float32", always_2d=True)  # [n, channels]
    except (soundfile.SoundFileError, OSError, MemoryError) as error:  # a header may declare years of audio
        raise AudioFileError(f"{path} cannot be read as audio: {error}") from error
    if not len(pcm):
        raise AudioFileError(f"{path} contains no audio.")
    if not np.isfinite(pcm).all():
        raise AudioFileError(f"{path} contains NaN or infinite samples.")
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
