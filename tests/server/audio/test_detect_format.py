"""What is not Opus is named, soon; and nothing that is Opus is taken for anything else."""

from __future__ import annotations

import base64
import io
import random

import numpy as np
import pytest
import soundfile

from server.audio.detect_format import RawOpusCheck, container_name, is_opus_packet
from server.audio.opus import OpusDecoder
from server.audio.packet import UndecodablePacket
from server.dialects.kyutai_protocol import KyutaiProtocol
from server.errors import ProtocolError
from tests.server.audio.opus_streams import encode, sound, streams

WEBM = bytes.fromhex("1a45dfa39f4286810142f7810142f2810442f381084282847765626d42878104428581021853806701ffffffffffffff")
MP4 = bytes.fromhex("0000001c667479706973356d0000000069736f6d6d7034316973356d00000256") + b"moov"
ADTS = bytes.fromhex("fff15c8017bffcde0200")


def written(codec_format: str, subtype: str | None = None) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, sound(1.0, 24_000), 24_000, format=codec_format, subtype=subtype)
    return file.getvalue()


def send(data: bytes, size: int, end: int) -> None:
    """Send `data` up to `end`, in messages of `size`."""
    protocol = KyutaiProtocol()
    for at in range(0, end, size):
        protocol.receive(b"\1" + data[at : at + size])


CONTAINERS = {
    "WebM": WEBM,
    "MP4": MP4,
    "AAC (ADTS)": ADTS,
    "WAV": written("WAV"),
    "FLAC": written("FLAC"),
    "MP3": written("MP3"),
    "AIFF": written("AIFF"),
    "CAF": written("CAF"),
    "Vorbis": written("OGG", "VORBIS"),
}


@pytest.mark.parametrize("name", CONTAINERS)
def test_container_is_named_at_its_first_message_with_what_to_send(name: str):
    with pytest.raises(ProtocolError) as raised:
        KyutaiProtocol().receive(b"\1" + CONTAINERS[name][:4_000])
    assert name in str(raised.value) and "Ogg Opus" in str(raised.value) and str(raised.value).endswith(".")


@pytest.mark.parametrize("name", ["WebM", "MP4", "WAV", "FLAC"])
def test_container_that_is_cut_into_small_messages_is_named(name: str):
    begun = CONTAINERS[name] * 4
    with pytest.raises(ProtocolError, match=name):
        send(begun, 8, 160)


@pytest.mark.parametrize(
    "begun",
    [
        b"\0\0\1\0styp", b"\0\0\1\0moof", b"\0\0\1\0sidx",  # Safari's fragments
        b"ID3\4\0\0\0\0\2\1TSSE", bytes.fromhex("fffb9064"), bytes.fromhex("fff344c4"),
        bytes.fromhex("fff94c80"), bytes.fromhex("1f43b67501ffffff"), b"RF64\xff\xff\xff\xffWAVE", b"#!AMR\n<",
    ],
    ids=bytes.hex,
)  # fmt: skip
def test_other_beginnings_are_known(begun: bytes):
    assert container_name(begun + bytes(range(100)))


# ── Raw audio


def _mu_law(pcm: np.ndarray) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, pcm, 8_000, format="RAW", subtype="ULAW")
    return file.getvalue()


def _a_law(pcm: np.ndarray) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, pcm, 8_000, format="RAW", subtype="ALAW")
    return file.getvalue()


def _tone(rate_hz: int) -> np.ndarray:
    return (8_000 * np.sin(2 * np.pi * 440 * np.arange(2 * rate_hz) / rate_hz)).astype("<i2")


RAW = {
    **{f"16-bit PCM at {rate}": (rate * 2, sound(2.0, rate).tobytes()) for rate in (8_000, 16_000, 24_000, 48_000)},
    **{f"16-bit PCM, a tone at {rate}": (rate * 2, _tone(rate).tobytes()) for rate in (16_000, 24_000)},
    "32-bit float PCM": (96_000, (sound(2.0, 24_000) / 32_768).astype("<f4").tobytes()),
    "PCM (silence)": (48_000, bytes(96_000)),
    "μ-law": (8_000, _mu_law(sound(2.0, 8_000))),
    "A-law": (8_000, _a_law(sound(2.0, 8_000))),
    "text, perhaps base64": (64_000, base64.b64encode(sound(2.0, 24_000).tobytes())),
}


@pytest.mark.parametrize("chunk_ms", [10, 20, 40, 80, 85, 100, 256])
@pytest.mark.parametrize("case", RAW)
def test_raw_audio_that_is_not_opus_is_named_within_a_second(case: str, chunk_ms: int):
    bytes_per_s, data = RAW[case]
    size = bytes_per_s * chunk_ms // 1000 // 4 * 4
    with pytest.raises(ProtocolError) as raised:
        send(data, size, bytes_per_s)
    assert case.partition(",")[0].partition(" at ")[0] in str(raised.value)
    assert "Ogg Opus" in str(raised.value)


def test_noise_is_no_format_that_is_known():
    generator, check = random.Random(1), RawOpusCheck()
    found = [check.found(generator.randbytes(160)) for _ in range(50)]
    assert any(name and "no format" in name for name in found)


# ── Opus


def test_no_opus_stream_is_taken_for_anything_else():
    everything: list[list[bytes]] = []
    for name, packets in streams():
        assert not [packet for packet in packets if not is_opus_packet(packet)], name
        check = RawOpusCheck()
        assert [check.found(packet) for packet in packets] == [None] * len(packets), name
        assert not any(container_name(packet) for packet in packets), name
        everything.append(packets)
    check = RawOpusCheck()
    in_turn = [packets[n % len(packets)] for n in range(3) for packets in everything]
    assert not any(map(check.found, in_turn)), "mode, bandwidth, duration and channels change with every packet"


def test_opus_headers_among_raw_packets_are_no_audio():
    """As a browser's AudioEncoder describes its stream."""
    protocol = KyutaiProtocol()
    assert protocol.receive(b"\1OpusHead\1\1\x38\1\x80\xbb\0\0\0\0\0") == []
    assert protocol.receive(b"\1OpusTags") == []
    for packet in encode(20, seconds=2.0):
        assert protocol.receive(b"\1" + packet)


def test_damaged_opus_is_still_opus():
    generator, check = random.Random(2), RawOpusCheck()
    packets = [generator.randbytes(80) if n % 3 == 0 else packet for n, packet in enumerate(encode(20, seconds=2.0))]
    assert not any(map(check.found, packets))


@pytest.mark.parametrize("seed", range(20))
def test_packet_whose_lengths_do_not_add_up_is_refused_by_libopus_too(seed: int):
    generator, decoder = random.Random(seed), OpusDecoder()
    for _ in range(300):
        packet = generator.randbytes(generator.choice([1, 2, 3, 5, 20, 120, 1_000, 1_300, 2_600]))
        try:
            decoder.decode(packet)
        except UndecodablePacket:
            assert not is_opus_packet(packet)
        else:
            assert is_opus_packet(packet)
