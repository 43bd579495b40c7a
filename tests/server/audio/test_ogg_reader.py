"""Reading Ogg Opus: valid streams in any pieces, and damaged ones."""

from __future__ import annotations

import io

import numpy as np
import pytest
import soundfile
import sphn
from hypothesis import given, settings
from hypothesis import strategies as st

from server.audio.framing import FRAME_SAMPLES, SAMPLE_RATE_HZ, Pcm
from server.audio.ogg import MAX_LOST_PAGES, MAX_PAGE_BYTES, OggError, OggOpusReader
from server.audio.opus import OpusDecoder
from tests.server.audio.ogg_streams import (
    PACKETS,
    correlation,
    head_page,
    make_page,
    opus_head,
    read,
    speech,
    stream,
)


@pytest.mark.parametrize("per_page", [1, 2, 4, 60])
def test_reader_returns_the_written_packets(per_page: int) -> None:
    assert read(b"".join(stream(PACKETS, per_page))) == PACKETS


@settings(deadline=None)
@given(st.lists(st.integers(0, 20_000), max_size=30))
def test_packets_do_not_depend_on_where_the_stream_is_cut(cuts: list[int]) -> None:
    data = b"".join(stream(PACKETS[:40]))
    assert read(data, [min(cut, len(data)) for cut in cuts]) == PACKETS[:40]


def test_stream_is_read_byte_by_byte() -> None:
    data = b"".join(stream(PACKETS[:8]))
    assert read(data, list(range(len(data)))) == PACKETS[:8]


def test_packets_that_continue_on_later_pages_are_joined() -> None:
    long, short = bytes([0x68]) * 700, b"\x68short"
    pages = [
        head_page(opus_head()),
        make_page(b"OpusTags" + bytes(8), [16], sequence=1),
        make_page(long[:510], [255, 255], sequence=2),
        make_page(long[510:] + short + long[:255], [190, len(short), 255], flags=1, sequence=3),
        make_page(long[255:], [255, 190], flags=1, sequence=4),
        make_page(bytes([0x68]) * 255, [255, 0], sequence=5),  # exactly 255 bytes, so a lacing value of 0 ends it
    ]
    assert read(b"".join(pages)) == [long, short, long, bytes([0x68]) * 255]


def test_large_comment_header_is_skipped() -> None:
    tags = b"OpusTags" + bytes(60_000)
    lacing = [255] * (len(tags) // 255) + [len(tags) % 255]
    data = head_page(opus_head()) + make_page(tags, lacing, sequence=1) + stream(PACKETS[:4])[1]
    assert read(data) == PACKETS[:4]


def test_packet_longer_than_the_limit_is_an_error() -> None:
    reader = OggOpusReader()
    reader.push(stream([])[0])
    page = make_page(bytes(255 * 255), [255] * 255, flags=1)
    reader.push(make_page(bytes(255 * 255), [255] * 255))
    with pytest.raises(OggError, match="longer than"):
        reader.push(page)


@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 24_000, 44_100, 48_000])
@pytest.mark.parametrize("channels", [1, 2])
def test_streams_of_any_rate_in_mono_or_stereo_are_accepted(rate_hz: int, channels: int) -> None:
    assert read(head_page(opus_head(channels, rate_hz)) + stream(PACKETS[:4])[1]) == PACKETS[:4]


def test_second_stream_after_the_first_is_read() -> None:
    first, second = stream(PACKETS[:6], serial=1), stream(PACKETS[6:9], serial=99)
    assert read(b"".join(first + second)) == PACKETS[:9]


def test_pages_of_another_stream_are_skipped() -> None:
    headers, first, second = stream(PACKETS[:8])
    foreign = make_page(b"foreign", [7], serial=5)
    assert read(headers + first + foreign + second) == PACKETS[:8]


@pytest.mark.parametrize(
    ("first_packet", "named"),
    [
        (b"\x01vorbis" + bytes(23), "Vorbis"),
        (b"Speex   1.2" + bytes(69), "Speex"),
        (b"\x7fFLAC\x01\x00" + bytes(44), "FLAC"),
        (b"\x80theora" + bytes(35), "Theora"),
        (b"unheard of", "unknown codec"),
        (b"", "unknown codec"),
        (opus_head()[:12], "truncated"),
        (opus_head(version=16), "unknown version"),
        (opus_head(channels=6, family=1), "mono and stereo"),
    ],
)
def test_error_names_the_codec_or_fault_of_other_streams(first_packet: bytes, named: str) -> None:
    with pytest.raises(OggError, match=named):
        OggOpusReader().push(head_page(first_packet))


def test_error_names_vorbis_for_a_real_vorbis_file() -> None:
    file = io.BytesIO()
    soundfile.write(file, speech(2), SAMPLE_RATE_HZ, format="OGG", subtype="VORBIS")
    with pytest.raises(OggError, match="Vorbis"):
        OggOpusReader().push(file.getvalue())


def test_real_opus_file_is_decoded() -> None:
    file = io.BytesIO()
    stereo = np.stack([speech(10)] * 2, axis=1)
    soundfile.write(file, stereo, 48_000, format="OGG", subtype="OPUS")
    decoder = OpusDecoder()
    decoded = sum(len(decoder.decode(packet)) for packet in read(file.getvalue()))
    assert decoded >= len(stereo) // 2


@pytest.mark.parametrize("data", [b"RIFF....WAVE", b"Ogg!", b"\x1aE\xdf\xa3", b"x"])
def test_data_that_is_not_ogg_is_an_error_at_once(data: bytes) -> None:
    with pytest.raises(OggError, match="not an Ogg stream"):
        OggOpusReader().push(data)


def test_corrupt_first_page_is_an_error() -> None:
    data = bytearray(stream(PACKETS)[0])
    data[30] ^= 1
    with pytest.raises(OggError, match="corrupt"):
        OggOpusReader().push(bytes(data))


def test_stream_without_its_first_page_is_an_error() -> None:
    with pytest.raises(OggError, match="first page"):
        OggOpusReader().push(stream(PACKETS)[2])


@pytest.mark.parametrize("at", [0, 3, 4, 14, 22, 26, 28, 60, -1])
@pytest.mark.parametrize("step", [1, 11, 100_000])
def test_corrupt_page_is_lost_without_its_neighbours(at: int, step: int) -> None:
    pages = stream(PACKETS[:24])
    damaged = bytearray(pages[3])
    damaged[at] ^= 0x01
    data = b"".join([*pages[:3], bytes(damaged), *pages[4:]])
    reader, packets = OggOpusReader(), []
    for start in range(0, len(data), step):
        packets += reader.push(data[start : start + step])
    assert packets == PACKETS[:8] + PACKETS[12:24]
    assert reader.lost_pages == 1


def test_garbage_between_pages_is_skipped() -> None:
    pages = stream(PACKETS[:8])
    reader = OggOpusReader()
    packets = reader.push(pages[0] + pages[1] + b"OggOgOggS garbage" + pages[2])
    assert packets == PACKETS[:8]
    assert reader.lost_pages > 0


def test_remainder_of_a_lost_packet_is_discarded() -> None:
    long = bytes([0x68]) * 700
    begun = bytearray(make_page(long[:510], [255, 255], sequence=2))
    begun[-1] ^= 1
    ended = make_page(long[510:] + b"\x68next", [190, 5], flags=1, sequence=3)
    reader = OggOpusReader()
    assert reader.push(stream([])[0] + bytes(begun) + ended) == [b"\x68next"]


def test_too_many_corrupt_pages_are_an_error() -> None:
    headers, page = stream(PACKETS[:4])
    damaged = page[:-1] + b"!"
    reader = OggOpusReader()
    reader.push(headers + damaged * MAX_LOST_PAGES)
    assert reader.push(page) == PACKETS[:4]
    with pytest.raises(OggError, match="corrupt"):
        reader.push(damaged)


@settings(deadline=None)
@given(st.binary(max_size=3_000), st.booleans())
def test_random_bytes_raise_ogg_error_or_return_packets(data: bytes, after_headers: bool) -> None:
    reader = OggOpusReader()
    if after_headers:
        reader.push(stream([])[0])
    try:
        reader.push(data)
    except OggError:
        return
    assert len(reader._buffer) <= MAX_PAGE_BYTES


@settings(deadline=None)
@given(st.data())
def test_damaged_streams_raise_ogg_error_or_return_sent_packets(data: st.DataObject) -> None:
    stream_bytes = bytearray(b"".join(stream(PACKETS[:30], per_page=3)))
    for _ in range(data.draw(st.integers(1, 5))):
        at = data.draw(st.integers(0, len(stream_bytes) - 1))
        match data.draw(st.sampled_from(["flip", "cut", "repeat"])):
            case "flip":
                stream_bytes[at] ^= data.draw(st.integers(1, 255))
            case "cut":
                del stream_bytes[at : at + data.draw(st.integers(1, 2_000))]
            case "repeat":
                stream_bytes[at:at] = stream_bytes[at : at + 500]
        if not stream_bytes:
            return
    reader = OggOpusReader()
    try:
        packets = reader.push(bytes(stream_bytes))
    except OggError:
        return
    assert set(packets) <= set(PACKETS)
    assert len(reader._buffer) <= MAX_PAGE_BYTES


def test_reader_decodes_what_sphn_writes() -> None:
    pcm, reader, decoder, sphn_writer = (
        speech(20),
        OggOpusReader(),
        OpusDecoder(),
        sphn.OpusStreamWriter(24_000),
    )
    decoded: list[Pcm] = []
    for frame in pcm.reshape(-1, FRAME_SAMPLES):
        packets = reader.push(sphn_writer.append_pcm(frame) or b"")
        decoded += [decoder.decode(packet) for packet in packets]
    decoded_pcm = np.concatenate(decoded)
    assert len(decoded_pcm) >= len(pcm) - FRAME_SAMPLES
    assert correlation(pcm, decoded_pcm) > 0.95
