"""Opus packets in Ogg pages (RFC 3533, RFC 7845), sans-I/O: bytes in → packets out, packets in → bytes out.

Knows pages and the two Opus headers; does not decode, and does not know what carries the bytes. The stream is live, so
the reader ignores granule positions and pre-skip.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Sequence

from server.audio.framing import SAMPLE_RATE_HZ
from server.audio.packet import packet_samples

CAPTURE_PATTERN = b"OggS"
_PAGE_START = CAPTURE_PATTERN + b"\0"  # followed by the version
OPUS_HEADERS = (b"OpusHead", b"OpusTags")
MAX_PAGE_BYTES = 27 + 255 + 255 * 255  # 65,307
MAX_OGG_PACKET_BYTES = 65_536  # over all its pages; only a comment header may be this large
MAX_LOST_PAGES = 64  # then the stream fails; also bounds the work of searching for the next page

_HEADER = struct.Struct("<4sBBqIIIB")  # capture, version, flags, granule, serial, sequence, crc, segments
_CONTINUED, _FIRST, _LAST = 0x01, 0x02, 0x04
_CRC_OFFSET = 22
_GRANULES_PER_SAMPLE = 48_000 // SAMPLE_RATE_HZ  # granules count 48 kHz samples, whatever rate the codec runs at

_CODEC_NAMES = {
    b"\x01vorbis": "Vorbis",
    b"Speex   ": "Speex",
    b"\x7fFLAC": "FLAC",
    b"fLaC": "FLAC",
    b"\x80theora": "Theora video",
    b"fishead\0": "an Ogg skeleton",
}

_BIT_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


class OggError(ValueError):
    """The bytes are not an Ogg Opus stream that can be decoded. The message is a sentence for the sender."""


def page_crc(page: bytes | bytearray) -> int:
    """The CRC-32 of a page, with its checksum field taken as zero.

    Ogg's CRC has zlib's polynomial but the opposite bit order, so zlib computes it over bit-reversed bytes.
    """
    reversed_bits = page.translate(_BIT_REVERSED)
    crc = zlib.crc32(reversed_bits[:_CRC_OFFSET], 0xFFFFFFFF)
    crc = zlib.crc32(b"\0\0\0\0", crc)
    crc = zlib.crc32(reversed_bits[_CRC_OFFSET + 4 :], crc) ^ 0xFFFFFFFF
    return int.from_bytes(crc.to_bytes(4, "little").translate(_BIT_REVERSED), "big")


class OggOpusReader:
    """Reads one stream of Ogg pages, cut at any byte. Holds at most one unfinished page and one unfinished packet.

    Damage before the headers is an error. After them the reader searches for the next intact page and counts the
    loss in `lost_pages`, so that the call continues. A second stream may follow the first (chaining).
    """

    def __init__(self) -> None:
        self.lost_pages = 0
        self._buffer = bytearray()
        self._searching = False  # for the next page, because one was lost
        self._serial: int | None = None  # of the Opus stream, from its first page on
        self._partial = bytearray()  # a packet that continues in the next page

    def push(self, data: bytes) -> list[bytes]:
        """Add the next bytes; return the Opus packets that they complete, without the headers.

        Raises OggError; the reader must not be used after that.
        """
        self._buffer += data
        return [packet for page in self._pages() for packet in self._packets(page)]

    def _pages(self) -> Iterator[bytearray]:
        """Take complete pages with a valid checksum off the buffer."""
        at = 0
        while (size := self._page_bytes(at)) is not None:
            page = self._buffer[at : at + size]
            if size and page_crc(page) == int.from_bytes(page[_CRC_OFFSET : _CRC_OFFSET + 4], "little"):
                self._searching = False
                yield page
                at += size
            else:
                self._lose_page(is_page=size > 0)
                at = self._next_capture(at + 1)
        del self._buffer[:at]

    def _page_bytes(self, at: int) -> int | None:
        """Length of the page at `at`: None if it is incomplete, 0 if no page begins here."""
        head = self._buffer[at : at + _HEADER.size]
        if not _PAGE_START.startswith(head[:5]):
            return 0
        if len(head) < _HEADER.size:
            return None
        body_at = _HEADER.size + head[-1]
        lacing = self._buffer[at + _HEADER.size : at + body_at]
        size = body_at + sum(lacing)
        return size if len(lacing) == head[-1] and at + size <= len(self._buffer) else None

    def _next_capture(self, at: int) -> int:
        """Where the next page may begin; the end of the buffer may cut its capture pattern off."""
        found = self._buffer.find(CAPTURE_PATTERN, at)
        if found >= 0:
            return found
        end = len(self._buffer)
        return next(i for i in range(max(at, end - 3), end + 1) if CAPTURE_PATTERN.startswith(self._buffer[i:]))

    def _lose_page(self, is_page: bool) -> None:
        if self._serial is None:
            raise OggError("The first Ogg page is corrupt." if is_page else "The audio is not an Ogg stream.")
        if self._searching and not is_page:
            return
        self._searching = True
        self.lost_pages += 1
        self._partial.clear()
        if self.lost_pages > MAX_LOST_PAGES:
            raise OggError(f"More than {MAX_LOST_PAGES} Ogg pages were corrupt.")

    def _packets(self, page: bytearray) -> Iterator[bytes]:
        """Yield the Opus packets that end in this page."""
        _, _, flags, _, serial, _, _, segments = _HEADER.unpack_from(page)
        at = _HEADER.size + segments
        if flags & _FIRST:
            _check_head(page[at:])
            self._serial = serial
        elif self._serial is None:
            raise OggError("The Ogg stream does not begin with a first page.")
        elif serial != self._serial:
            return
        if not flags & _CONTINUED:
            self._partial.clear()
        is_remainder = flags & _CONTINUED and not self._partial  # of a packet whose beginning was lost
        for length in page[_HEADER.size : _HEADER.size + segments]:
            self._partial += page[at : at + length]
            at += length
            if len(self._partial) > MAX_OGG_PACKET_BYTES:
                raise OggError(f"An Ogg packet is longer than {MAX_OGG_PACKET_BYTES:,} bytes.")
            if length == 255:
                continue
            if self._partial and not is_remainder and not self._partial.startswith(OPUS_HEADERS):
                yield bytes(self._partial)
            self._partial.clear()
            is_remainder = False
        if is_remainder:
            self._partial.clear()


def _check_head(body: bytearray) -> None:
    """Raise OggError unless the first page of a stream holds an Opus header that is supported (RFC 7845 §5.1)."""
    if not body.startswith(b"OpusHead"):
        codec = next((name for magic, name in _CODEC_NAMES.items() if body.startswith(magic)), "an unknown codec")
        raise OggError(f"The Ogg stream holds {codec}; only Opus is supported.")
    if len(body) < 19 or body[8] >> 4 != 0:
        raise OggError("The Opus header is truncated or has an unknown version.")
    if body[9] not in (1, 2) or body[18] != 0:
        raise OggError("Only mono and stereo Opus are supported.")


class OggOpusWriter:
    """Writes one Opus stream, page by page, for a peer that plays it live."""

    def __init__(self, serial: int = 1, channels: int = 1) -> None:
        self._serial = serial
        self._channels = channels
        self._sequence = 0
        self._granule = 0  # samples at 48 kHz up to the end of the last page

    def headers(self) -> bytes:
        """The two header pages, to be sent once, before all others.

        Pre-skip is 0: with any other value a peer that honours it would delay each frame until the next one.
        """
        head = struct.pack("<8sBBHIhB", b"OpusHead", 1, self._channels, 0, SAMPLE_RATE_HZ, 0, 0)
        vendor = b"parley"
        tags = struct.pack("<8sI6sI", b"OpusTags", len(vendor), vendor, 0)
        return self._page([head], flags=_FIRST) + self._page([tags])

    def page(self, packets: Sequence[bytes]) -> bytes:
        """All `packets` in complete pages: one, unless they need more than 255 segments."""
        pages = b""
        ready: list[bytes] = []
        segments = 0
        for packet in packets:
            needed = len(packet) // 255 + 1
            if segments + needed > 255:
                pages += self._page(ready)
                ready, segments = [], 0
            ready.append(packet)
            segments += needed
            self._granule += packet_samples(packet) * _GRANULES_PER_SAMPLE
        return pages + self._page(ready) if ready else pages

    def end(self) -> bytes:
        """The last page of the stream."""
        return self._page([], flags=_LAST)

    def _page(self, packets: list[bytes], flags: int = 0) -> bytes:
        lacing = b"".join(b"\xff" * (len(packet) // 255) + bytes([len(packet) % 255]) for packet in packets)
        head = _HEADER.pack(
            CAPTURE_PATTERN, 0, flags, self._granule, self._serial, self._sequence & 0xFFFFFFFF, 0, len(lacing)
        )
        page = head + lacing + b"".join(packets)
        self._sequence += 1
        return page[:_CRC_OFFSET] + page_crc(page).to_bytes(4, "little") + page[_CRC_OFFSET + 4 :]
