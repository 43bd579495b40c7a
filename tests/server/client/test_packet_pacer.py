from __future__ import annotations

import pytest

from server.client.packet_pacer import MIN_INTERVAL_SHARE, PacketPacer
from server.dialects.kyutai_protocol import AudioForm


@pytest.mark.parametrize(("form", "packets", "interval_s"), [(AudioForm.OGG, 4, 0.08), (AudioForm.RAW, 1, 0.02)])
def test_an_ogg_message_is_a_frame_and_a_raw_message_a_packet(form: AudioForm, packets: int, interval_s: float) -> None:
    pacer = PacketPacer(form, packets_per_frame=4)
    assert pacer.packets_per_message == packets
    assert pacer.interval_s == pytest.approx(interval_s)


def test_messages_are_due_by_the_clock_and_a_late_client_catches_up_without_a_burst() -> None:
    pacer = PacketPacer(AudioForm.OGG, packets_per_frame=4)
    pacer.start(100.0)
    assert pacer.due_at == pytest.approx(100.08)
    assert pacer.advance(100.08) == pytest.approx(0.08)
    assert pacer.advance(100.5) == pytest.approx(MIN_INTERVAL_SHARE * 0.08)
    assert pacer.due_at == pytest.approx(100.24)
