from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import soundfile

from server.audio.files import AudioFileError, read_audio, write_wav


def test_24_khz_mono_int16_is_read_and_written_exactly(tmp_path: Path) -> None:
    int16 = np.random.default_rng(0).integers(-32768, 32768, 5_000).astype(np.int16)
    int16[:2] = -32768, 32767
    soundfile.write(tmp_path / "in.wav", int16, 24_000)
    pcm = read_audio(tmp_path / "in.wav")
    assert pcm.dtype == np.float32
    np.testing.assert_array_equal(pcm, int16 / np.float32(32768))
    write_wav(tmp_path / "out.wav", pcm)
    back, rate_hz = soundfile.read(tmp_path / "out.wav", dtype="int16")
    assert rate_hz == 24_000
    np.testing.assert_array_equal(back, int16)


def test_read_wav_averages_channels(tmp_path: Path) -> None:
    stereo = np.stack([np.full(2_400, 0.5), np.full(2_400, -0.25)], axis=1)
    soundfile.write(tmp_path / "stereo.wav", stereo, 24_000, subtype="FLOAT")
    np.testing.assert_allclose(read_audio(tmp_path / "stereo.wav"), 0.125)


@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 44_100, 48_000])
def test_read_wav_resamples_to_24_khz(tmp_path: Path, rate_hz: int) -> None:
    soundfile.write(tmp_path / "tone.wav", 0.5 * np.sin(2 * np.pi * 440 * np.arange(rate_hz) / rate_hz), rate_hz)
    pcm = read_audio(tmp_path / "tone.wav")
    assert pcm.shape == (24_000,)
    expected = 0.5 * np.sin(2 * np.pi * 440 * np.arange(24_000) / 24_000)
    np.testing.assert_allclose(pcm[2_000:-2_000], expected[2_000:-2_000], atol=2e-3)


def test_write_wav_rounds_and_clips(tmp_path: Path) -> None:
    pcm = np.array([2.0, -2.0, 0.6 / 32768, -0.6 / 32768, 0.4 / 32768], np.float32)
    write_wav(tmp_path / "clip.wav", pcm)
    assert soundfile.read(tmp_path / "clip.wav", dtype="int16")[0].tolist() == [32767, -32768, 1, -1, 0]


def test_unreadable_or_unwritable_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_text("this is no sound")
    soundfile.write(tmp_path / "empty.wav", np.zeros(0), 24_000)
    soundfile.write(tmp_path / "nan.wav", np.array([0.0, np.nan]), 24_000, subtype="FLOAT")
    for name in ("text.wav", "empty.wav", "nan.wav", "absent.wav"):
        with pytest.raises(AudioFileError, match=name):
            read_audio(tmp_path / name)
    with pytest.raises(AudioFileError, match="nowhere"):
        write_wav(tmp_path / "nowhere" / "out.wav", np.zeros(10, np.float32))


@pytest.mark.parametrize(
    ("format", "subtype"), [("FLAC", "PCM_16"), ("OGG", "OPUS"), ("OGG", "VORBIS"), ("MP3", "MPEG_LAYER_III")]
)
def test_read_wav_decodes_compressed_files(tmp_path: Path, format: str, subtype: str) -> None:
    tone = 0.5 * np.sin(2 * np.pi * 440 * np.arange(24_000) / 24_000)
    soundfile.write(tmp_path / "tone", tone, 24_000, format=format, subtype=subtype)
    pcm = read_audio(tmp_path / "tone")
    assert np.corrcoef(pcm[2_000:22_000], tone[2_000:22_000])[0, 1] > 0.99


def test_read_wav_ignores_a_sample_count_larger_than_the_file(tmp_path: Path) -> None:
    path = tmp_path / "promise.flac"
    soundfile.write(path, np.zeros(24_000), 24_000)
    header = bytearray(path.read_bytes())
    header[21:26] = bytes([header[21] | 0x0F]) + b"\xff" * 4  # STREAMINFO: 2³⁶ - 1 samples
    path.write_bytes(header)
    with suppress(AudioFileError):  # on a machine that does not overcommit memory
        assert len(read_audio(path)) == 24_000
