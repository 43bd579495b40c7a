"""`/api/chat` as events: what the server's end makes of messages, and messages of what it tells."""

from __future__ import annotations

import json

import pytest

from server.audio.ogg import OggOpusWriter
from server.audio.opus import OpusEncoder
from server.dialects.kyutai import KyutaiDialect
from server.dialects.kyutai_protocol import AudioForm, Kind
from server.errors import ProtocolError, ServerFull, TokenMissing
from server.events import (
    AudioIn,
    AudioLost,
    AudioOut,
    Draining,
    Ended,
    InvalidMessage,
    LimitNear,
    Queued,
    Ready,
    RecordingStopped,
    ServerEvent,
    Skipped,
    Stats,
    TextOut,
    Warned,
)
from tests.server.chat_client import speech

ALL_EVENTS: list[ServerEvent] = [
    Ready("1a2b3c4d", seed=7, resume_token="t", resume_s=20, left_s=60, is_recorded=False, gap_s=1.5),
    Queued(2, None),
    Skipped(3),
    Stats(4.0, 1.0),
    LimitNear(10),
    Draining(3),
    RecordingStopped(),
    Warned("A sentence."),
    TextOut("hello"),
    AudioOut([b"\xf8\xff\xfe"]),
    Ended("limit", "The call has reached its length limit.", is_fault=False),
    Ended("flood", "Rate limit exceeded.", is_fault=True),
]


def kinds(dialect: KyutaiDialect, event: ServerEvent) -> list[Kind]:
    messages = [message for message in dialect.encode(event) if isinstance(message, bytes)]
    return [Kind(message[0]) for message in messages]


def corrupt_pages(count: int) -> list[bytes]:
    """The headers of a stream, and pages of it whose checksums are wrong."""
    writer, encoder = OggOpusWriter(), OpusEncoder()
    pages = [bytearray(writer.page(encoder.encode(frame))) for frame in speech(count)]
    headers = writer.headers()
    for page in pages:
        page[-1] ^= 1
    return [headers, *map(bytes, pages)]


def test_client_without_events_is_sent_only_what_the_reference_sends():
    dialect = KyutaiDialect({})
    sent = {kind for event in ALL_EVENTS for kind in kinds(dialect, event)}
    assert sent == {Kind.HANDSHAKE, Kind.AUDIO, Kind.TEXT, Kind.ERROR}


def test_client_with_events_is_told_every_event():
    dialect = KyutaiDialect({"events": "1"})
    assert all(kinds(dialect, event) for event in ALL_EVENTS)
    assert kinds(dialect, ALL_EVENTS[0]) == [Kind.METADATA, Kind.HANDSHAKE], "the token comes before the handshake"
    ready = json.loads(dialect.encode(ALL_EVENTS[0])[0][1:])
    assert ready == {
        "type": "ready", "call": "1a2b3c4d", "seed": 7, "resume": "t", "resume_s": 20, "left_s": 60,
        "recording": False, "gap_s": 1.5,
    }  # fmt: skip


def test_resume_token_counts_only_with_events():
    assert KyutaiDialect({"resume": "t"}).request.resume_token is None
    assert KyutaiDialect({"resume": "t", "events": "1"}).request.resume_token == "t"


def test_messages_become_events():
    dialect = KyutaiDialect({})
    assert dialect.decode(b"\x01\xf8\xff\xfe") == [AudioIn((b"\xf8\xff\xfe",))]
    assert isinstance(dialect.decode(b"")[0], InvalidMessage)
    assert dialect.decode(b"\x06") == dialect.decode(b"\x04{}") == dialect.decode(b"\x63") == []


def test_restored_dialect_answers_in_the_form_of_the_connection_before():
    before, after = KyutaiDialect({}), KyutaiDialect({})
    before.decode(b"\x01\xf8\xff\xfe")
    assert before.wire_state is AudioForm.RAW
    after.restore(before.wire_state)
    assert after.encode(AudioOut([b"\xf8\xff\xfe"])) == [b"\x01\xf8\xff\xfe"]


def test_corrupt_pages_are_reported_as_lost_audio():
    headers, *pages = corrupt_pages(3)
    dialect = KyutaiDialect({})
    dialect.decode(b"\x01" + headers)
    assert (
        sum(
            event.frames
            for event in dialect.decode(b"\x01" + b"".join(pages) + headers[:0])
            if isinstance(event, AudioLost)
        )
        == 3
    )


def test_corrupt_pages_that_end_the_call_are_reported_too():
    headers, *pages = corrupt_pages(70)
    dialect = KyutaiDialect({})
    dialect.decode(b"\x01" + headers)
    with pytest.raises(ProtocolError) as raised:
        dialect.decode(b"\x01" + b"".join(pages))
    assert raised.value.lost_frames > 60


def test_refusals_are_http_for_forbidden_clients_and_for_those_that_cannot_wait():
    plain, with_events = KyutaiDialect({}), KyutaiDialect({"events": "1"})
    assert plain.refuses_over_http(ServerFull("")) and not with_events.refuses_over_http(ServerFull(""))
    assert plain.refuses_over_http(TokenMissing("")) and with_events.refuses_over_http(TokenMissing(""))
