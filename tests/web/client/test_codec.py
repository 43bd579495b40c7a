"""Opus in the browser, by WebCodecs and by its fallback in WebAssembly, against the server's libopus."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from server.audio.framing import FRAME_SAMPLES, SAMPLE_RATE_HZ
from server.audio.opus import OpusDecoder, OpusEncoder
from tests.web.chromium import Js

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

VENDOR = Path(__file__).parents[3] / "web" / "client" / "vendor"
PACKETS = 50
ENCODE = """
const packets = [];
const encoder = new m.Encoder(48000, (packet) => packets.push([...packet]), (error) => packets.push(String(error)));
for (let p = 0; p < count; p++) encoder.encode(
  Float32Array.from({length: 960}, (_, i) => 0.4 * Math.sin(2 * Math.PI * 440 * (p * 960 + i) / 48000)));
await encoder.flush();
encoder.close();
return packets;
"""
DECODE = """
const decoded = [], errors = [];
const decoder = new m.Decoder((samples, rateHz) => decoded.push([rateHz, ...samples]), (e) => errors.push(String(e)));
for (const packet of packets) decoder.decode(Uint8Array.from(packet));
await decoder.flush().catch(() => {});
decoder.close();
return {rates: decoded.map(([rateHz]) => rateHz), samples: decoded.flatMap(([, ...samples]) => samples), errors};
"""


def share_of_tone(samples: np.ndarray, rate_hz: int) -> float:
    """How much of the energy is the 440 Hz tone that went in."""
    turns = np.exp(-2j * np.pi * 440 * np.arange(len(samples)) / rate_hz)
    return float(2 * abs(np.mean(samples * turns)) ** 2 / np.mean(samples**2))


def vendored() -> list[str]:
    return (VENDOR / "SHA256SUMS").read_text().splitlines()


async def test_checksums_name_the_vendored_files():
    assert len(vendored()) >= 3


@pytest.mark.parametrize("line", vendored())
async def test_vendored_file_is_unchanged(line: str):
    digest, name = line.split()
    assert hashlib.sha256((VENDOR / name).read_bytes()).hexdigest() == digest


async def test_vendored_files_all_have_a_checksum_and_a_licence():
    pinned = {line.split()[1] for line in vendored()}
    there = {str(path.relative_to(VENDOR)) for path in (VENDOR / "libopus-wasm").rglob("*") if path.is_file()}
    assert there - pinned == {"libopus-wasm/LICENSE-libopus"}
    assert "MIT" in (VENDOR / "libopus-wasm" / "LICENSE").read_text()


@pytest.mark.parametrize("codec", ["web-codecs", "wasm-opus"])
async def test_server_decodes_the_browsers_packets(js: Js, codec: str):
    packets = await js(f"/client/net/{codec}.js", ENCODE, count=PACKETS)
    decoder = OpusDecoder()
    heard = np.concatenate([decoder.decode(bytes(packet)) for packet in packets])
    assert len(heard) * 50 / SAMPLE_RATE_HZ in (PACKETS, PACKETS + 1)  # flushing may push out the look-ahead
    assert share_of_tone(heard[4800 : PACKETS * 480], SAMPLE_RATE_HZ) > 0.99
    assert len(b"".join(map(bytes, packets))) * 8 < 1.5 * 32000


@pytest.mark.parametrize("codec", ["web-codecs", "wasm-opus"])
async def test_browser_decodes_the_servers_packets(js: Js, codec: str):
    encoder, frames = OpusEncoder(), PACKETS // 4
    tone = 0.4 * np.sin(2 * np.pi * 440 * np.arange(frames * FRAME_SAMPLES) / SAMPLE_RATE_HZ).astype(np.float32)
    packets = [packet for frame in tone.reshape(frames, FRAME_SAMPLES) for packet in encoder.encode(frame)]
    told = await js(f"/client/net/{codec}.js", DECODE, packets=[list(packet) for packet in packets])
    assert told["errors"] == []
    assert set(told["rates"]) == {48000}
    assert len(told["samples"]) == 4 * frames * 960
    assert share_of_tone(np.array(told["samples"][9600:]), 48000) > 0.99


@pytest.mark.parametrize("codec", ["web-codecs", "wasm-opus"])
async def test_decoder_reports_an_undecodable_packet_without_an_exception(js: Js, codec: str):
    told = await js(f"/client/net/{codec}.js", DECODE, packets=[[0xFF, 0xFF, 0xFF, 0x01]])
    assert told["samples"] == []
    assert len(told["errors"]) == 1


async def test_load_codec_uses_webassembly_only_without_webcodecs(js: Js):
    used = await js(
        "/client/net/codec.js",
        """
        const load = (name) => import(`/client/net/${name}.js`);
        const kinds = {webCodecs: await load('web-codecs'), wasm: await load('wasm-opus')};
        const used = async () => {
          const codec = await m.loadCodec(48000);
          return Object.keys(kinds).find((kind) => kinds[kind].Encoder === codec.Encoder);
        };
        const missing = globalThis.AudioDecoder, seen = [await used()];
        delete globalThis.AudioDecoder;
        seen.push(await used());
        globalThis.AudioDecoder = missing;
        return seen;
        """,
    )
    assert used == ["webCodecs", "wasm"]
