"""Opus packets to PCM and back, mono at 24 kHz, through libopus.

Knows nothing of Ogg, sockets or calls. Owner: one connection for each object. An object may move between threads, but
two threads must not use it at once.

`opuslib` finds the library, declares its functions and owns the codecs' memory. We call those functions with our own
buffers, because its `decode` and `encode` allocate and copy sample by sample (decoding is three times slower,
measured), and its `OpusError` cannot print an encoder's error.
"""

from __future__ import annotations

import ctypes

import numpy as np

from server.audio.framing import FRAME_SAMPLES, PACKET_SAMPLES, SAMPLE_RATE_HZ, Pcm
from server.audio.packet import MAX_PACKET_BYTES, MAX_PACKET_SAMPLES, UndecodablePacket, packet_samples

try:
    import opuslib
    from opuslib.api import decoder as _c_decoder
    from opuslib.api import encoder as _c_encoder
except Exception as error:  # opuslib raises a bare Exception when it finds no library
    raise ImportError(
        "the Opus library (libopus) was not found. Install it with `apt install libopus0` (Debian, Ubuntu) "
        "or `brew install opus` (macOS)"
    ) from error

# opus_encoder_ctl is variadic, and Apple's arm64 passes variadic arguments unlike fixed ones: ctypes must know which
# are fixed, or the encoder's settings below would be garbage there.
_c_encoder.libopus_ctl.argtypes = (_c_encoder.EncoderPointer, ctypes.c_int)

_PLC_STEP_SAMPLES = SAMPLE_RATE_HZ // 400  # libopus conceals in multiples of 2.5 ms


class OpusDecoder:
    """Decodes any Opus to mono at 24 kHz, whatever its own rate and channels."""

    def __init__(self) -> None:
        self._decoder = opuslib.Decoder(SAMPLE_RATE_HZ, 1)
        self._buffer = (ctypes.c_float * MAX_PACKET_SAMPLES)()
        self._pcm = np.ctypeslib.as_array(self._buffer)

    def decode(self, packet: bytes) -> Pcm:
        """Decode one packet to f32 [n] within -1 … 1, n <= 2880. Raises UndecodablePacket."""
        if not packet_samples(packet):
            raise UndecodablePacket(f"{len(packet):,} bytes are not an Opus packet")
        decoded = self._call(packet, MAX_PACKET_SAMPLES)
        if decoded < 0:
            raise UndecodablePacket(f"libopus refused a packet of {len(packet):,} bytes (error {decoded})")
        return self._pcm[:decoded].clip(-1.0, 1.0)  # a forged packet can decode to samples in the millions

    def conceal(self, samples: int) -> Pcm:
        """Return f32 [samples] for a lost packet: libopus's concealment, or silence where it fails."""
        pcm = np.zeros(samples, np.float32)
        for start in range(0, samples, MAX_PACKET_SAMPLES):
            wanted = min(samples - start, MAX_PACKET_SAMPLES)
            steps = -(-wanted // _PLC_STEP_SAMPLES)
            decoded = self._call(None, steps * _PLC_STEP_SAMPLES)
            if decoded < wanted:
                break
            np.clip(self._pcm[:wanted], -1.0, 1.0, out=pcm[start : start + wanted])
        return pcm

    def _call(self, packet: bytes | None, max_samples: int) -> int:
        """Decode into the buffer (None: a lost packet). Returns samples written, or libopus's negative error code."""
        size_bytes = len(packet) if packet is not None else 0
        state = self._decoder.decoder_state
        return _c_decoder.libopus_decode_float(state, packet, size_bytes, self._buffer, max_samples, 0)


class OpusEncoder:
    """Encodes a packet for every 20 ms, without DTX or FEC.

    DTX would omit packets, and the peer's clock is the audio itself; FEC is for links that lose packets. Opus's
    low-delay mode at 48 kbit/s keeps speech as well as its voice mode does at 32, with 4 ms less delay, and takes a
    fraction of the CPU time, which limits the calls of one core.
    """

    def __init__(self, bitrate_bps: int = 48_000, complexity: int = 4, channels: int = 1) -> None:
        """`complexity`: libopus's 0 … 10; higher is better and slower."""
        self._encoder = opuslib.Encoder(SAMPLE_RATE_HZ, channels, opuslib.APPLICATION_RESTRICTED_LOWDELAY)
        self._encoder.bitrate = bitrate_bps
        self._encoder.complexity = complexity
        self._buffer = (ctypes.c_float * (FRAME_SAMPLES * channels))()
        pcm = np.ctypeslib.as_array(self._buffer)
        self._pcm = pcm if channels == 1 else pcm.reshape(FRAME_SAMPLES, channels)
        floats = PACKET_SAMPLES * channels
        packet = ctypes.c_float * floats
        self._packet_buffers = [packet.from_buffer(self._buffer, 4 * at) for at in range(0, len(pcm), floats)]
        self._out = ctypes.create_string_buffer(MAX_PACKET_BYTES)
        self._out_bytes = memoryview(self._out)

    def encode(self, frame: Pcm) -> list[bytes]:
        """Encode one frame f32 [1920], or [1920, channels] if there are several, to four packets of 20 ms.

        Samples beyond -1 … 1 are clipped, NaN becomes silence. Raises ValueError for another shape.
        """
        if frame.shape != self._pcm.shape:
            raise ValueError(f"a frame must be f32 {list(self._pcm.shape)}, not {list(frame.shape)}")
        frame.clip(-1.0, 1.0, out=self._pcm)
        if np.isnan(self._pcm.sum()):  # one NaN would remain in the encoder's state
            np.nan_to_num(self._pcm, copy=False)
        return [self._encode_packet(samples) for samples in self._packet_buffers]

    def _encode_packet(self, samples: ctypes.Array[ctypes.c_float]) -> bytes:
        state = self._encoder.encoder_state
        size = _c_encoder.libopus_encode_float(state, samples, PACKET_SAMPLES, self._out, MAX_PACKET_BYTES)
        if size < 0:
            raise RuntimeError(f"libopus could not encode 20 ms of PCM (error {size})")
        return bytes(self._out_bytes[:size])
