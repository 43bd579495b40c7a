"""Writing Ogg Opus pages that other readers understand."""

from __future__ import annotations

import struct

import numpy as np
import pytest
import sphn

from server.audio.framing import FRAME_SAMPLES, Pcm
from server.audio.ogg import OggOpusWriter, page_crc
from server.audio.opus import OpusEncoder
from tests.server.audio.ogg_streams import (
    PACKETS,
    correlation,
    read,
    slow_crc,
    speech,
    stream,
)


@pytest.mark.parametrize("sizes", [[], [0], [1], [254], [255], [256], [510], [100] * 255, [100] * 256, [8_000] * 20])
def test_written_packets_of_any_length_and_number_are_read_back(sizes: list[int]) -> None:
    packets = [bytes([0x68]) * size for size in sizes]
    assert read(b"".join(stream(packets, per_page=max(len(packets), 1)))) == [p for p in packets if p]


def test_written_pages_have_the_header_fields_kyutais_clients_expect() -> None:
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


def test_page_crc_equals_the_checksum_of_the_specification() -> None:
    page = b"".join(stream(PACKETS[:1]))
    assert page_crc(page) == slow_crc(page)


def test_sphn_decodes_each_written_frame_at_once() -> None:
    pcm, encoder, writer, sphn_reader = (
        speech(20),
        OpusEncoder(),
        OggOpusWriter(),
        sphn.OpusStreamReader(24_000),
    )
    decoded: list[Pcm] = [np.asarray(sphn_reader.append_bytes(writer.headers()))]
    for frame in pcm.reshape(-1, FRAME_SAMPLES):
        decoded.append(np.asarray(sphn_reader.append_bytes(writer.page(encoder.encode(frame)))))
        assert len(decoded[-1]) == FRAME_SAMPLES
    assert correlation(pcm, np.concatenate(decoded)) > 0.95
