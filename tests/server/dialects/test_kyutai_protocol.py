"""Kyutai's wire protocol: what each message is, in both directions, and what ends a call."""

from __future__ import annotations

import io
import json
from collections.abc import Callable

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from server.audio.ogg import MAX_PAGE_BYTES, OggOpusReader, OggOpusWriter
from server.audio.packet import MAX_PACKET_BYTES
from server.dialects.kyutai_protocol import (
    MAX_MESSAGE_AUDIO_S,
    MAX_MESSAGE_BYTES,
    AudioForm,
    AudioReceived,
    ControlReceived,
    ErrorReceived,
    HandshakeReceived,
    KyutaiProtocol,
    Malformed,
    MetadataReceived,
    PingReceived,
    Received,
    TextReceived,
)
from server.errors import ProtocolError

PACKETS = tuple(bytes([0x68, k]) * 40 for k in range(8))  # 20 ms each


def ogg(packets: tuple[bytes, ...] = PACKETS, per_page: int = 2) -> list[bytes]:
    """The header pages as one item, then each page of `per_page` packets, without the kind byte."""
    writer = OggOpusWriter()
    return [
        writer.headers(),
        *(writer.page(packets[at : at + per_page]) for at in range(0, len(packets), per_page)),
    ]


def received_packets(protocol: KyutaiProtocol, payloads: list[bytes]) -> tuple[bytes, ...]:
    events: list[Received] = [event for payload in payloads for event in protocol.receive(b"\x01" + payload)]
    assert all(isinstance(event, AudioReceived) for event in events)
    return tuple(packet for event in events if isinstance(event, AudioReceived) for packet in event.packets)


def test_ogg_is_detected_by_its_first_bytes() -> None:
    protocol = KyutaiProtocol()
    assert protocol.form is None
    assert received_packets(protocol, ogg()) == PACKETS
    assert protocol.form is AudioForm.OGG


@pytest.mark.parametrize("size", [1, 2, 3, 5, 50])
def test_ogg_is_detected_wherever_it_is_cut(size: int) -> None:
    protocol, data = KyutaiProtocol(), b"".join(ogg())
    assert received_packets(protocol, [data[at : at + size] for at in range(0, len(data), size)]) == PACKETS
    assert protocol.form is AudioForm.OGG


def test_each_raw_message_is_one_packet() -> None:
    protocol = KyutaiProtocol()
    assert received_packets(protocol, list(PACKETS)) == PACKETS
    assert protocol.form is AudioForm.RAW


@pytest.mark.parametrize("first", [b"\x68", b"\x68\x00", b"OgS", b"Ox"])
def test_short_first_payload_is_detected_as_raw(first: bytes) -> None:
    protocol = KyutaiProtocol()
    assert received_packets(protocol, [first, *PACKETS]) == (first, *PACKETS)
    assert protocol.form is AudioForm.RAW


@pytest.mark.parametrize("begun", [b"O", b"Og", b"Ogg"])
def test_form_is_undecided_while_the_payload_may_become_ogg(begun: bytes) -> None:
    protocol = KyutaiProtocol()
    assert protocol.receive(b"\x01" + begun) == []
    assert protocol.form is None
    assert received_packets(protocol, list(PACKETS)) == PACKETS
    assert protocol.form is AudioForm.RAW


@pytest.mark.parametrize(
    ("message", "event"),
    [
        (b"\x00", HandshakeReceived()),
        (b"\x00" + bytes(8), HandshakeReceived()),
        (b"\x02\xe2\x96\x81hi", TextReceived("▁hi")),
        (b"\x02\xff", TextReceived("\N{REPLACEMENT CHARACTER}")),
        (b"\x03\x02", ControlReceived(2)),
        (b'\x04{"a": [1, null]}', MetadataReceived({"a": [1, None]})),
        (b"\x05no", ErrorReceived("no")),
        (b"\x06", PingReceived()),
    ],
)
def test_each_kind_is_received_as_its_event(message: bytes, event: Received) -> None:
    assert KyutaiProtocol().receive(message) == [event]


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"\x03",
        b"\x03\x01\x01",
        b"\x04",
        b"\x04[1]",
        b"\x04{",
        b"\x04\xff",
        b"\x04" + b"[" * 100_000,
        b"\x04" + b"9" * 10_000,
    ],
)
def test_malformed_message_is_an_event_and_later_audio_is_received(message: bytes) -> None:
    protocol = KyutaiProtocol()
    (event,) = protocol.receive(message)
    assert isinstance(event, Malformed)
    assert received_packets(protocol, list(PACKETS)) == PACKETS


def test_audio_message_without_audio_is_nothing() -> None:
    protocol = KyutaiProtocol()
    assert protocol.receive(b"\x01") == []
    assert received_packets(protocol, [b"", PACKETS[0], b"", *PACKETS[1:]]) == PACKETS


@pytest.mark.parametrize("kind", [7, 8, 100, 255])
def test_messages_of_unknown_kinds_are_ignored(kind: int) -> None:
    assert KyutaiProtocol().receive(bytes([kind]) + b"anything") == []


def vorbis() -> bytes:
    file = io.BytesIO()
    soundfile.write(file, np.zeros(24_000), 24_000, format="OGG", subtype="VORBIS")
    return b"\x01" + file.getvalue()


def two_minutes_of_silence() -> bytes:
    """A thousand packets of one byte and 120 ms each: two minutes of audio in 1 kB."""
    return b"\x01" + b"".join(ogg((b"\x19",) * 1_000, per_page=250))


@pytest.mark.parametrize(
    ("message", "close_code", "named"),
    [
        ("text", 1008, "binary"),
        ("", 1008, "binary"),
        (b"\x01" + bytes(MAX_MESSAGE_BYTES), 1009, "131,072"),
        (b"\x63" + bytes(MAX_MESSAGE_BYTES), 1009, "131,072"),
        (b"\x01\x68" + bytes(MAX_PACKET_BYTES), 1009, "8,192"),
        (b"\x01OggS" + b"\xff" * 400, 1008, "Ogg"),
        (vorbis(), 1008, "Vorbis"),
        (two_minutes_of_silence(), 1009, "5 s"),
    ],
)
def test_unrecoverable_message_is_a_protocol_error_with_its_close_code(
    message: bytes | str, close_code: int, named: str
) -> None:
    with pytest.raises(ProtocolError, match=named) as raised:
        KyutaiProtocol().receive(message)
    assert raised.value.close_code == close_code
    assert str(raised.value).endswith(".")


def test_corrupt_pages_are_counted_as_lost() -> None:
    protocol, pages = KyutaiProtocol(), ogg()
    pages[2] = pages[2][:-1] + b"!"
    assert received_packets(protocol, pages) == PACKETS[:2] + PACKETS[4:]
    assert protocol.lost_pages == 1


@settings(deadline=None)
@given(st.lists(st.binary(max_size=300), max_size=20))
def test_random_messages_return_events_or_raise_protocol_error(messages: list[bytes]) -> None:
    receive_all(messages)


@settings(deadline=None)
@given(st.lists(st.binary(max_size=300), max_size=20))
def test_random_audio_returns_events_or_raises_protocol_error(payloads: list[bytes]) -> None:
    receive_all([b"\x01" + payload for payload in payloads])
    receive_all([b"\x01" + payload for payload in [ogg()[0], *payloads]])


def receive_all(messages: list[bytes]) -> None:
    protocol = KyutaiProtocol()
    for message in messages:
        try:
            events = protocol.receive(message)
        except ProtocolError:
            return
        for event in events:
            assert not isinstance(event, AudioReceived) or 1 <= len(event.packets) <= MAX_MESSAGE_AUDIO_S * 400
        assert len(protocol._reader._buffer) <= MAX_PAGE_BYTES
        assert len(protocol._undecided) < 4


def test_ogg_clients_are_answered_in_ogg() -> None:
    protocol, reader = KyutaiProtocol(), OggOpusReader()
    protocol.receive(b"\x01" + ogg()[0])
    answers = [protocol.audio(PACKETS[:4]), protocol.audio(PACKETS[4:])]
    assert [len(messages) for messages in answers] == [1, 1]
    first, second = (messages[0] for messages in answers)
    assert first.startswith(b"\x01OggS")
    assert b"OpusHead" in first
    assert b"OpusTags" in first
    assert b"OpusHead" not in second
    assert tuple(reader.push(first[1:])) == PACKETS[:4]
    assert tuple(reader.push(second[1:])) == PACKETS[4:]


def test_client_that_takes_each_page_for_one_packet_hears_everything() -> None:
    protocol = KyutaiProtocol()
    sent = b"".join(message[1:] for at in (0, 4) for message in protocol.audio(PACKETS[at : at + 4]))
    bodies = [page[23 + page[22] :] for page in sent.split(b"OggS")[3:]]  # after the two pages of headers
    assert tuple(bodies) == PACKETS


def test_raw_clients_are_answered_in_raw() -> None:
    protocol = KyutaiProtocol()
    protocol.receive(b"\x01" + PACKETS[0])
    assert protocol.audio(PACKETS[:4]) == [b"\x01" + packet for packet in PACKETS[:4]]


def test_audio_is_ogg_before_the_client_sent_any() -> None:
    assert KyutaiProtocol().audio(PACKETS)[0].startswith(b"\x01OggS")


@pytest.mark.parametrize(
    ("say", "message"),
    [
        (lambda p: p.handshake(), b"\x00"),
        (lambda p: p.text(" où"), b"\x02 o\xc3\xb9"),
        (lambda p: p.error("Full."), b"\x05Full."),
        (lambda p: p.ping(), b"\x06"),
    ],
)
def test_each_message_begins_with_its_kind(say: Callable[[KyutaiProtocol], bytes], message: bytes) -> None:
    assert say(KyutaiProtocol()) == message


def test_metadata_message_is_one_json_object() -> None:
    message = KyutaiProtocol().metadata({"type": "queue", "position": 2})
    assert message[:1] == b"\x04"
    assert json.loads(message[1:]) == {"type": "queue", "position": 2}


@pytest.mark.parametrize("form", AudioForm)
def test_client_and_server_understand_each_other(form: AudioForm) -> None:
    server, client = KyutaiProtocol(), KyutaiProtocol(form)
    assert client.receive(server.handshake()) == [HandshakeReceived()]
    assert received_packets(server, [message[1:] for message in client.audio(PACKETS)]) == PACKETS
    assert server.form is form
    assert received_packets(client, [message[1:] for message in server.audio(PACKETS)]) == PACKETS
    assert client.receive(server.text("hello")) == [TextReceived("hello")]
    assert client.receive(server.error("Full.")) == [ErrorReceived("Full.")]
    assert client.receive(server.metadata({"a": 1})) == [MetadataReceived({"a": 1})]
