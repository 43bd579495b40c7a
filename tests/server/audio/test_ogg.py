from __future__ import annotations

import io
import itertools
import struct

import numpy as np
import pytest
import soundfile
import sphn
from hypothesis import given, settings
from hypothesis import strategies as st

from server.audio.framing import FRAME_SAMPLES, SAMPLE_RATE_HZ, Pcm
from server.audio.ogg import MAX_LOST_PAGES, MAX_PAGE_BYTES, OggError, OggOpusReader, OggOpusWriter, page_crc
from server.audio.opus import OpusDecoder, OpusEncoder

PACKETS = [bytes([0x68, k % 251]) * (30 + 7 * k) for k in range(60)]  # 20 ms each, 60 … 886 bytes


def make_page(
    body: bytes, lacing: list[int], *, flags: int = 0, serial: int = 1, sequence: int = 0, version: int = 0
) -> bytes:
    """A page as RFC 3533 has it, made apart from the writer."""
    fields = b"OggS" + struct.pack("<BBQIII", version, flags, 0, serial, sequence, 0)
    page = bytearray(fields + bytes([len(lacing)]) + bytes(lacing) + body)
    page[22:26] = slow_crc(page).to_bytes(4, "little")
    return bytes(page)


def slow_crc(page: bytes | bytearray) -> int:
    crc = 0
    for byte in page[:22] + bytes(4) + page[26:]:
        crc ^= byte << 24
        for _ in range(8):
            crc = crc << 1 ^ (0x04C11DB7 if crc & 0x80000000 else 0)
        crc &= 0xFFFFFFFF
    return crc


def opus_head(channels: int = 1, rate_hz: int = 24_000, family: int = 0, version: int = 1) -> bytes:
    return struct.pack("<8sBBHIhB", b"OpusHead", version, channels, 3840, rate_hz, 0, family)


def head_page(head: bytes, serial: int = 1) -> bytes:
    return make_page(head, [len(head)], flags=2, serial=serial)


def stream(packets: list[bytes], per_page: int = 4, serial: int = 1) -> list[bytes]:
    """Headers, then pages, each on its own."""
    writer = OggOpusWriter(serial)
    return [
        writer.headers(),
        *(writer.page(packets[at : at + per_page]) for at in range(0, len(packets), per_page)),
    ]


def read(data: bytes, cuts: list[int] | None = None) -> list[bytes]:
    reader, packets = OggOpusReader(), []
    edges = [0, *sorted(cuts or []), len(data)]
    for start, end in itertools.pairwise(edges):
        packets += reader.push(data[start:end])
    assert reader.lost_pages == 0
    return packets


def speech(frames: int) -> Pcm:
    t = np.arange(frames * FRAME_SAMPLES) / SAMPLE_RATE_HZ
    return (0.3 * np.sin(2 * np.pi * (200 + 40 * t) * t)).astype(np.float32)


@pytest.mark.parametrize("per_page", [1, 2, 4, 60])
def test_reads_back_what_was_written(per_page: int) -> None:
    assert read(b"".join(stream(PACKETS, per_page))) == PACKETS


@settings(deadline=None)
@given(st.lists(st.integers(0, 20_000), max_size=30))
def test_pages_may_be_cut_at_any_byte(cuts: list[int]) -> None:
    data = b"".join(stream(PACKETS[:40]))
    assert read(data, [min(cut, len(data)) for cut in cuts]) == PACKETS[:40]


def test_byte_by_byte() -> None:
    data = b"".join(stream(PACKETS[:8]))
    assert read(data, list(range(len(data)))) == PACKETS[:8]


def test_crc_is_that_of_the_specification() -> None:
    page = b"".join(stream(PACKETS[:1]))
    assert page_crc(page) == slow_crc(page)


def test_packets_that_go_on_over_pages() -> None:
    long, short = bytes([0x68]) * 700, b"\x68short"
    pages = [
        head_page(opus_head()),
        make_page(b"OpusTags" + bytes(8), [16], sequence=1),
        make_page(long[:510], [255, 255], sequence=2),
        make_page(long[510:] + short + long[:255], [190, len(short), 255], flags=1, sequence=3),
        make_page(long[255:], [255, 190], flags=1, sequence=4),
        make_page(bytes([0x68]) * 255, [255, 0], sequence=5),  # exactly 255 bytes long
    ]
    assert read(b"".join(pages)) == [long, short, long, bytes([0x68]) * 255]


def test_large_comments_are_read_over() -> None:
    tags = b"OpusTags" + bytes(60_000)
    lacing = [255] * (len(tags) // 255) + [len(tags) % 255]
    data = head_page(opus_head()) + make_page(tags, lacing, sequence=1) + stream(PACKETS[:4])[1]
    assert read(data) == PACKETS[:4]


def test_a_packet_without_end_is_an_error() -> None:
    reader = OggOpusReader()
    reader.push(stream([])[0])
    page = make_page(bytes(255 * 255), [255] * 255, flags=1)
    reader.push(make_page(bytes(255 * 255), [255] * 255))
    with pytest.raises(OggError, match="longer than"):
        reader.push(page)


@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 24_000, 44_100, 48_000])
@pytest.mark.parametrize("channels", [1, 2])
def test_any_rate_mono_or_stereo_is_accepted(rate_hz: int, channels: int) -> None:
    assert read(head_page(opus_head(channels, rate_hz)) + stream(PACKETS[:4])[1]) == PACKETS[:4]


def test_a_second_stream_may_follow() -> None:
    first, second = stream(PACKETS[:6], serial=1), stream(PACKETS[6:9], serial=99)
    assert read(b"".join(first + second)) == PACKETS[:9]


def test_pages_of_another_stream_are_passed_over() -> None:
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
def test_other_streams_are_named_in_the_error(first_packet: bytes, named: str) -> None:
    with pytest.raises(OggError, match=named):
        OggOpusReader().push(head_page(first_packet))


def test_real_vorbis_is_named() -> None:
    file = io.BytesIO()
    soundfile.write(file, speech(2), SAMPLE_RATE_HZ, format="OGG", subtype="VORBIS")
    with pytest.raises(OggError, match="Vorbis"):
        OggOpusReader().push(file.getvalue())


def test_a_real_opus_file_decodes() -> None:
    file = io.BytesIO()
    stereo = np.stack([speech(10)] * 2, axis=1)
    soundfile.write(file, stereo, 48_000, format="OGG", subtype="OPUS")
    decoder = OpusDecoder()
    heard = sum(len(decoder.decode(packet)) for packet in read(file.getvalue()))
    assert heard >= len(stereo) // 2


@pytest.mark.parametrize("data", [b"RIFF....WAVE", b"Ogg!", b"\x1aE\xdf\xa3", b"x"])
def test_what_is_no_ogg_is_an_error_at_once(data: bytes) -> None:
    with pytest.raises(OggError, match="not an Ogg stream"):
        OggOpusReader().push(data)


def test_a_corrupt_first_page_is_an_error() -> None:
    data = bytearray(stream(PACKETS)[0])
    data[30] ^= 1
    with pytest.raises(OggError, match="corrupt"):
        OggOpusReader().push(bytes(data))


def test_a_stream_joined_in_its_middle_is_an_error() -> None:
    with pytest.raises(OggError, match="first page"):
        OggOpusReader().push(stream(PACKETS)[2])


@pytest.mark.parametrize("at", [0, 3, 4, 14, 22, 26, 28, 60, -1])
@pytest.mark.parametrize("step", [1, 11, 100_000])
def test_a_corrupt_page_is_lost_alone(at: int, step: int) -> None:
    pages = stream(PACKETS[:24])
    damaged = bytearray(pages[3])
    damaged[at] ^= 0x01
    data = b"".join([*pages[:3], bytes(damaged), *pages[4:]])
    reader, packets = OggOpusReader(), []
    for start in range(0, len(data), step):
        packets += reader.push(data[start : start + step])
    assert packets == PACKETS[:8] + PACKETS[12:24]
    assert reader.lost_pages == 1


def test_garbage_between_pages_is_passed_over() -> None:
    pages = stream(PACKETS[:8])
    reader = OggOpusReader()
    packets = reader.push(pages[0] + pages[1] + b"OggOgOggS garbage" + pages[2])
    assert packets == PACKETS[:8]
    assert reader.lost_pages > 0


def test_the_rest_of_a_lost_packet_is_lost_too() -> None:
    long = bytes([0x68]) * 700
    begun = bytearray(make_page(long[:510], [255, 255], sequence=2))
    begun[-1] ^= 1
    ended = make_page(long[510:] + b"\x68next", [190, 5], flags=1, sequence=3)
    reader = OggOpusReader()
    assert reader.push(stream([])[0] + bytes(begun) + ended) == [b"\x68next"]


def test_a_stream_of_corrupt_pages_ends() -> None:
    headers, page = stream(PACKETS[:4])
    damaged = page[:-1] + b"!"
    reader = OggOpusReader()
    reader.push(headers + damaged * MAX_LOST_PAGES)
    assert reader.push(page) == PACKETS[:4]
    with pytest.raises(OggError, match="corrupt"):
        reader.push(damaged)


@settings(deadline=None)
@given(st.binary(max_size=3_000), st.booleans())
def test_random_bytes_bring_ogg_error_or_nothing(data: bytes, after_headers: bool) -> None:
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
def test_damaged_streams_bring_ogg_error_or_packets_that_were_sent(data: st.DataObject) -> None:
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


@pytest.mark.parametrize("sizes", [[], [0], [1], [254], [255], [256], [510], [100] * 255, [100] * 256, [8_000] * 20])
def test_packets_of_any_length_and_number_are_written(sizes: list[int]) -> None:
    packets = [bytes([0x68]) * size for size in sizes]
    assert read(b"".join(stream(packets, per_page=max(len(packets), 1)))) == [p for p in packets if p]


def test_written_pages_are_what_kyutais_clients_expect() -> None:
    encoder, writer = OpusEncoder(), OggOpusWriter(serial=7)
    data = writer.headers() + b"".join(writer.page(encoder.encode(f)) for f in speech(3).reshape(-1, FRAME_SAMPLES))
    pages = data.split(b"OggS")[1:]
    fields = [struct.unpack_from("<BBQII", page) for page in pages]
    assert [flags for _, flags, _, _, _ in fields] == [2, 0, 0, 0, 0]
    assert [granule for _, _, granule, _, _ in fields] == [0, 0, 3_840, 7_680, 11_520]
    assert {serial for _, _, _, serial, _ in fields} == {7}
    assert [sequence for _, _, _, _, sequence in fields] == [0, 1, 2, 3, 4]
    assert pages[0][24:].startswith(b"OpusHead\x01\x01")
    assert pages[1][24:].startswith(b"OpusTags")


def test_reads_what_sphn_writes() -> None:
    pcm, reader, decoder, sphn_writer = (
        speech(20),
        OggOpusReader(),
        OpusDecoder(),
        sphn.OpusStreamWriter(24_000),
    )
    heard: list[Pcm] = []
    for frame in pcm.reshape(-1, FRAME_SAMPLES):
        packets = reader.push(sphn_writer.append_pcm(frame) or b"")
        heard += [decoder.decode(packet) for packet in packets]
    heard_pcm = np.concatenate(heard)
    assert len(heard_pcm) >= len(pcm) - FRAME_SAMPLES
    assert correlation(pcm, heard_pcm) > 0.95


def test_sphn_decodes_every_frame_we_write_at_once() -> None:
    pcm, encoder, writer, sphn_reader = (
        speech(20),
        OpusEncoder(),
        OggOpusWriter(),
        sphn.OpusStreamReader(24_000),
    )
    heard: list[Pcm] = [np.asarray(sphn_reader.append_bytes(writer.headers()))]
    for frame in pcm.reshape(-1, FRAME_SAMPLES):
        heard.append(np.asarray(sphn_reader.append_bytes(writer.page(encoder.encode(frame)))))
        assert len(heard[-1]) == FRAME_SAMPLES
    assert correlation(pcm, np.concatenate(heard)) > 0.95


def correlation(sent: Pcm, heard: Pcm, max_lag: int = 1_000) -> float:
    span = min(len(sent), len(heard)) - max_lag
    return max(float(np.corrcoef(sent[:span], heard[lag : lag + span])[0, 1]) for lag in range(max_lag))
