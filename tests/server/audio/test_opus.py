from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import opuslib
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opuslib.api import ctl
from opuslib.api import encoder as c_encoder

from server.audio.framing import FRAME_SAMPLES, PACKET_SAMPLES, SAMPLE_RATE_HZ, Pcm
from server.audio.opus import OpusDecoder, OpusEncoder
from server.audio.packet import MAX_PACKET_BYTES, MAX_PACKET_SAMPLES, UndecodablePacket


def tone(frames: int, hz: float = 300.0, level: float = 0.4) -> Pcm:
    t = np.arange(frames * FRAME_SAMPLES) / SAMPLE_RATE_HZ
    return (level * np.sin(2 * np.pi * hz * t) * (0.6 + 0.4 * np.sin(2 * np.pi * 3 * t))).astype(np.float32)


def encode(encoder: OpusEncoder, pcm: Pcm) -> list[bytes]:
    return [packet for frame in pcm.reshape(-1, FRAME_SAMPLES) for packet in encoder.encode(frame)]


def best_correlation(sent: Pcm, received: Pcm, max_lag: int = 1_000) -> float:
    span = min(len(sent), len(received)) - max_lag
    return max(float(np.corrcoef(sent[:span], received[lag : lag + span])[0, 1]) for lag in range(max_lag))


def test_round_trip_keeps_the_audio_and_its_length() -> None:
    pcm = tone(12)
    packets = encode(OpusEncoder(), pcm)
    assert len(packets) == 4 * 12
    decoder = OpusDecoder()
    decoded = [decoder.decode(packet) for packet in packets]
    assert all(piece.shape == (PACKET_SAMPLES,) and piece.dtype == np.float32 for piece in decoded)
    assert best_correlation(pcm, np.concatenate(decoded)) > 0.98


def test_decoded_pcm_is_not_overwritten_by_the_next_packet() -> None:
    packets, decoder = encode(OpusEncoder(), tone(2)), OpusDecoder()
    first = decoder.decode(packets[4])
    kept = first.copy()
    decoder.decode(packets[5])
    np.testing.assert_array_equal(first, kept)


@pytest.mark.parametrize(("rate_hz", "channels"), [(8_000, 1), (16_000, 2), (48_000, 1), (48_000, 2)])
@pytest.mark.parametrize("duration_ms", [10, 20, 60])
def test_packets_of_any_rate_and_channels_decode_to_24_khz_mono(rate_hz: int, channels: int, duration_ms: int) -> None:
    samples = rate_hz * duration_ms // 1000
    encoder = opuslib.Encoder(rate_hz, channels, opuslib.APPLICATION_AUDIO)
    packet = encoder.encode(bytes(2 * channels * samples), samples)
    assert OpusDecoder().decode(packet).shape == (24 * duration_ms,)


@pytest.mark.parametrize(
    "packet", [b"", b"\x03", b"\x03\xff", b"\xff" * 200, bytes(MAX_PACKET_BYTES + 1), bytes(100_000)]
)
def test_invalid_packet_is_an_error_and_leaves_the_decoder_unchanged(packet: bytes) -> None:
    packets, decoder, undisturbed = encode(OpusEncoder(), tone(3)), OpusDecoder(), OpusDecoder()
    for good in packets[:6]:
        decoder.decode(good)
        undisturbed.decode(good)
    with pytest.raises(UndecodablePacket):
        decoder.decode(packet)
    np.testing.assert_array_equal(decoder.decode(packets[6]), undisturbed.decode(packets[6]))


@settings(deadline=None)
@given(st.binary(max_size=600))
def test_random_bytes_decode_within_bounds_or_raise(packet: bytes) -> None:
    decoder = OpusDecoder()
    try:
        pcm = decoder.decode(packet)
    except UndecodablePacket:
        return
    assert 0 < len(pcm) <= MAX_PACKET_SAMPLES
    assert np.isfinite(pcm).all()
    assert np.abs(pcm).max() <= 1


@settings(deadline=None)
@given(st.data())
def test_damaged_packets_decode_within_bounds_or_raise(data: st.DataObject) -> None:
    decoder = OpusDecoder()
    for packet in encode(OpusEncoder(), tone(2)):
        damaged = bytearray(packet[: data.draw(st.integers(1, len(packet)))])
        damaged[data.draw(st.integers(0, len(damaged) - 1))] ^= data.draw(st.integers(0, 255))
        try:
            pcm = decoder.decode(bytes(damaged))
        except UndecodablePacket:
            pcm = decoder.conceal(PACKET_SAMPLES)
        assert np.isfinite(pcm).all()
        assert np.abs(pcm).max() <= 1


def test_concealment_continues_the_audio_and_fades() -> None:
    packets, decoder = encode(OpusEncoder(), tone(4)), OpusDecoder()
    for packet in packets:
        decoder.decode(packet)
    concealed = decoder.conceal(PACKET_SAMPLES)
    assert concealed.shape == (PACKET_SAMPLES,)
    assert concealed.std() > 0.02
    assert decoder.conceal(SAMPLE_RATE_HZ)[-FRAME_SAMPLES:].std() < 0.2 * tone(4).std()


@pytest.mark.parametrize("samples", [0, 1, 59, 60, 61, 480, 2_880, 2_881, 10_000])
def test_concealment_has_the_requested_length(samples: int) -> None:
    assert OpusDecoder().conceal(samples).shape == (samples,)


def test_encoder_settings_reach_libopus() -> None:
    encoder = OpusEncoder(bitrate_bps=20_000, complexity=3)
    wrapped = encoder._encoder
    assert (wrapped.bitrate, wrapped.complexity) == (20_000, 3)
    assert wrapped.application == opuslib.APPLICATION_RESTRICTED_LOWDELAY
    assert c_encoder.encoder_ctl(wrapped.encoder_state, ctl.get_dtx) == 0
    assert c_encoder.encoder_ctl(wrapped.encoder_state, ctl.get_inband_fec) == 0


def test_bitrate_changes_the_size_of_packets() -> None:
    two_s = 25 * FRAME_SAMPLES
    noise = np.random.default_rng(0).uniform(-0.3, 0.3, two_s).astype(np.float32)
    low_bps, high_bps = (
        8 * sum(map(len, encode(OpusEncoder(bitrate_bps=bps), noise))) / 2.0 for bps in (12_000, 48_000)
    )
    assert 9_000 < low_bps < 16_000
    assert 36_000 < high_bps < 60_000


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30, -5.0])
def test_invalid_samples_do_not_affect_later_frames(value: float) -> None:
    encoder, decoder = OpusEncoder(), OpusDecoder()
    frame = tone(1)
    poisoned = frame.copy()
    poisoned[100:200] = value
    given = poisoned.copy()
    for packet in encode(encoder, poisoned):
        assert np.isfinite(decoder.decode(packet)).all()
    np.testing.assert_array_equal(poisoned, given)
    received = np.concatenate([decoder.decode(packet) for packet in encode(encoder, tone(10))])
    assert best_correlation(tone(10), received) > 0.95


def test_encoding_a_frame_of_another_length_is_an_error() -> None:
    with pytest.raises(ValueError, match="1920"):
        OpusEncoder().encode(np.zeros(480, np.float32))


def test_missing_libopus_is_a_clear_error() -> None:
    code = (
        "import ctypes.util; ctypes.util.find_library = lambda name: None\n"
        "try:\n    import server.audio.opus\n"
        "except ImportError as error:\n    print(error)"
    )
    root = Path(__file__).parents[3]
    shown = subprocess.run(
        [sys.executable, "-c", code], cwd=root, env=os.environ, capture_output=True, text=True, check=True
    )
    assert "apt install libopus0" in shown.stdout
