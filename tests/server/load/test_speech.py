from __future__ import annotations

from pathlib import Path

import numpy as np

from server.audio.files import write_wav
from server.audio.framing import FRAME_SAMPLES, Pcm
from server.audio.opus import OpusDecoder
from server.load.speech import MAX_FILE_S, encoded_speech, synthetic_speech


def decoded(frames: list[list[bytes]]) -> Pcm:
    decoder = OpusDecoder()
    return np.concatenate([decoder.decode(packet) for packets in frames for packet in packets])


def test_synthetic_speech_is_within_bounds_and_pauses() -> None:
    pcm = synthetic_speech()
    level = np.sqrt((pcm.reshape(-1, FRAME_SAMPLES) ** 2).mean(axis=1))
    assert np.abs(pcm).max() <= 0.4 + 1e-6
    assert (level > 0.02).mean() > 0.5
    assert (level < 1e-3).mean() > 0.1
    assert decoded(encoded_speech(None)).shape == pcm.shape


def test_a_file_is_padded_to_whole_frames(tmp_path: Path) -> None:
    write_wav(tmp_path / "short.wav", 0.3 * np.sin(np.arange(5_000) / 10).astype(np.float32))
    frames = encoded_speech(tmp_path / "short.wav")
    assert [len(packets) for packets in frames] == [4, 4, 4]
    assert decoded(frames)[1_000:4_000].std() > 0.15


def test_a_long_file_is_cut(tmp_path: Path) -> None:
    write_wav(tmp_path / "long.wav", np.zeros(24_000 * (MAX_FILE_S + 5), np.float32))
    assert len(encoded_speech(tmp_path / "long.wav")) == MAX_FILE_S * 12.5
