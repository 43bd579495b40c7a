from __future__ import annotations

import opuslib
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opuslib.api import decoder as c_decoder

from server.audio.packet import MAX_PACKET_BYTES, packet_samples


@settings(deadline=None)
@given(st.binary(min_size=1, max_size=40))
def test_packet_samples_agrees_with_libopus(packet: bytes) -> None:
    state = c_decoder.create_state(24_000, 1)
    expected = c_decoder.libopus_get_nb_samples(state, packet, len(packet))
    c_decoder.destroy(state)
    assert packet_samples(packet) == max(expected, 0)


@pytest.mark.parametrize("duration_ms", [10, 20, 40, 60])
def test_packet_samples_of_encoded_packets(duration_ms: int) -> None:
    samples = 24 * duration_ms
    packet = opuslib.Encoder(24_000, 1, opuslib.APPLICATION_VOIP).encode(bytes(2 * samples), samples)
    assert packet_samples(packet) == samples


def test_packet_samples_of_invalid_packets_is_zero() -> None:
    assert packet_samples(b"") == 0
    assert packet_samples(b"\x03") == 0  # code 3, "several frames", without the number of frames
    assert packet_samples(bytes([1, *bytes(MAX_PACKET_BYTES)])) == 0
