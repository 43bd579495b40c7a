"""Opus streams of every kind that an encoder writes, as raw packets."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import numpy as np
import opuslib
from opuslib.api import encoder as c_encoder
from opuslib.api.ctl import ctl_set, set_bandwidth, set_dtx, set_vbr

_set_force_mode = ctl_set(11002)  # of libopus's own tests: 1000 SILK, 1001 hybrid, 1002 CELT
_set_packet_loss, _set_fec = ctl_set(4014), ctl_set(4012)
BANDWIDTHS = {"narrow": 1101, "medium": 1102, "wide": 1103, "superwide": 1104, "full": 1105}
MODES = {"silk": 1000, "hybrid": 1001, "celt": 1002}


def sound(seconds: float, rate_hz: int, seed: int = 3) -> np.ndarray:
    """Speech-like sound with pauses and noise, int16 [n]."""
    t = np.arange(round(seconds * rate_hz)) / rate_hz
    voice = np.sin(2 * np.pi * (150 + 40 * np.sin(3 * t)) * t) * (0.6 + 0.4 * np.sin(11 * t)) * (np.sin(2 * t) > -0.5)
    noise = np.random.default_rng(seed).normal(0, 0.01, len(t))
    return (12_000 * (0.8 * voice + noise)).astype("<i2")


def encode(
    ms: float, mode: int | None = None, bandwidth: int | None = None, bitrate: int = 32_000, channels: int = 1,
    dtx: bool = False, vbr: bool = True, fec: bool = False, seconds: float = 0.5, silent: bool = False,
) -> list[bytes]:  # fmt: skip
    """Packets of `ms` of sound at 48 kHz, as libopus encodes them with these settings."""
    encoder = opuslib.Encoder(48_000, channels, opuslib.APPLICATION_VOIP)
    state = encoder.encoder_state
    encoder.bitrate = bitrate
    encoder.complexity = 1
    for setting, value in ((_set_force_mode, mode), (set_bandwidth, bandwidth)):
        if value is not None:
            c_encoder.encoder_ctl(state, setting, value)
    c_encoder.encoder_ctl(state, set_dtx, int(dtx))
    c_encoder.encoder_ctl(state, set_vbr, int(vbr))
    if fec:
        c_encoder.encoder_ctl(state, _set_fec, 1)
        c_encoder.encoder_ctl(state, _set_packet_loss, 20)
    samples = round(48 * ms)
    pcm = np.repeat(sound(seconds, 48_000) * (0 if silent else 1), channels).reshape(-1, channels).astype("<i2")
    return [
        encoder.encode(pcm[at : at + samples].tobytes(), samples) for at in range(0, len(pcm) - samples + 1, samples)
    ]


def streams() -> Iterator[tuple[str, list[bytes]]]:
    """Every mode, bandwidth and duration; bit rates, stereo, DTX, constant rates, FEC, silence; and all in turn."""
    for (mode, number), (width, bandwidth), ms in product(
        MODES.items(), BANDWIDTHS.items(), (2.5, 5, 10, 20, 40, 60, 80, 100, 120)
    ):
        if ms < 10 and mode != "celt":
            continue
        for bitrate, channels in ((16_000, 1), (510_000, 2)):
            yield f"{mode} {width} {ms} ms {bitrate} {channels}", encode(ms, number, bandwidth, bitrate, channels)
    for vbr, dtx, fec, silent in product((False, True), repeat=4):
        for bitrate in (8_000, 300_000):
            for mode in MODES.values():
                stream = encode(20, mode, bitrate=bitrate, vbr=vbr, dtx=dtx, fec=fec, silent=silent)
                yield f"{vbr=} {dtx=} {fec=} {silent=} {bitrate} {mode}", stream
