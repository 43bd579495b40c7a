"""Synthetic speech by espeak-ng with word and phoneme times, and augmentation of a caller's sound as in a call."""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise, product
from pathlib import Path

import numpy as np
import soxr
from numpy.typing import NDArray

from model.audio import SAMPLE_RATE_HZ
from model.demo.espeak import SpeechError as SpeechError
from model.demo.espeak import espeak

Waveform = NDArray[np.float32]
Span = tuple[str, float, float]  # a word or phoneme, start_s, end_s

_LEVEL_RMS = 0.08  # of every utterance, after trimming; about -22 dBFS
_SILENCE = 0.01  # of the peak: quieter sound at the start and the end is trimmed
_VERSION = 1  # of the cached utterances: raise it when `say` changes


@dataclass(frozen=True, slots=True)
class Voice:
    """An espeak-ng voice. `name` is its language or accent, `variant` its timbre; pitch 0–99."""

    name: str
    variant: str
    pitch: int
    speed_wpm: int


@dataclass(frozen=True, slots=True)
class Utterance:
    """Speech without silence before or after it, and the times of its words and phonemes (seconds, ascending)."""

    pcm: Waveform  # [n] at 24 kHz
    words: list[Span]  # one for each whitespace-separated word of the text, as written
    phonemes: list[Span]  # espeak-ng's mnemonics, without pauses


MODEL_VOICE = Voice("en-us", "f2", pitch=50, speed_wpm=165)

_ACCENTS = ("en-us", "en", "en-gb-x-rp", "en-gb-scotland", "en-us-nyc")
_TIMBRES = "m1 m2 m4 m5 m7 m8 f1 f3 f5 Alex Andy Annie Mario Michael adam anika belinda linda steph paul".split()
_HELD_OUT_ACCENTS = ("en-gb-x-gbclan", "en-029")
_HELD_OUT_TIMBRES = ("m3", "m6", "f4", "Denis", "shelby", "john")


def _voices(accents: tuple[str, ...], timbres: Sequence[str]) -> tuple[Voice, ...]:
    rng = np.random.default_rng(0)
    return tuple(
        Voice(accent, timbre, int(rng.integers(25, 80)), int(rng.integers(120, 221)))
        for accent, timbre in product(accents, timbres)
    )


CALLER_VOICES = _voices(_ACCENTS, _TIMBRES)
HELD_OUT_VOICES = _voices(_HELD_OUT_ACCENTS, _HELD_OUT_TIMBRES)  # their timbres and accents are not in the training


def say(text: str, voice: Voice) -> Utterance:
    """Speak `text`. The result is cached in $PARLEY_DEMO_CACHE (default ~/.cache/parley/demo-data).

    The cache also makes an utterance repeatable: espeak-ng's flutter continues from one utterance to the next.
    Raises `SpeechError` if the text gives no sound, the voice is unknown or espeak-ng is not installed.
    """
    key = hashlib.sha256(json.dumps([_VERSION, text, asdict(voice)]).encode()).hexdigest()
    root = Path(os.environ.get("PARLEY_DEMO_CACHE") or Path.home() / ".cache/parley/demo-data")
    path = root / "speech" / key[:2] / f"{key}.npz"
    if not path.exists():
        _write(path, _synthesise(text, voice))
    with np.load(path) as held:
        words, phonemes = json.loads(str(held["spans"]))
        return Utterance(held["pcm"].astype(np.float32) / 32768, [(*w,) for w in words], [(*p,) for p in phonemes])


def _write(path: Path, utterance: Utterance) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
        pcm = (utterance.pcm.clip(-1, 1) * 32767).round().astype(np.int16)
        np.savez(file, pcm=pcm, spans=json.dumps([utterance.words, utterance.phonemes]))
    os.replace(file.name, path)  # atomic, because several processes may write the same utterance


def _synthesise(text: str, voice: Voice) -> Utterance:
    pcm, rate_hz, events = espeak().speak(text, f"{voice.name}+{voice.variant}", voice.pitch, voice.speed_wpm)
    loud = np.flatnonzero(np.abs(pcm) > _SILENCE * np.abs(pcm).max(initial=0))
    if not len(loud):
        raise SpeechError(f"espeak-ng produces no sound for {text!r}.")
    start_s, end_s = loud[0] / rate_hz, (loud[-1] + 1) / rate_hz

    def inside(sample: int) -> float:
        return round(float(np.clip(sample / rate_hz, start_s, end_s) - start_s), 4)

    marks = pairwise(event for event in events if event.symbol)
    phonemes = [(e.symbol, inside(e.sample), inside(after.sample)) for e, after in marks if e.symbol[0] != "_"]
    words = [(e.text_at, inside(e.sample)) for e in events if not e.symbol]
    sound = soxr.resample(pcm[loud[0] : loud[-1] + 1], rate_hz, SAMPLE_RATE_HZ)
    level = np.sqrt(np.mean(np.square(sound)))
    return Utterance((sound * (_LEVEL_RMS / level)).astype(np.float32), _word_spans(text, words, phonemes), phonemes)


def _word_spans(text: str, starts: list[tuple[int, float]], phonemes: list[Span]) -> list[Span]:
    """The written words with their times. espeak-ng may report one start for several words ("of the"), or several for
    one ("42"): words without a start of their own share the time up to the next start."""
    written = list(re.finditer(r"\S+", text))
    heard: dict[int, float] = {}
    for at, near_s in starts:  # espeak-ng reports a word slightly before its first phoneme
        index = max((i for i, word in enumerate(written) if word.start() <= at), default=0)
        heard.setdefault(index, next((start for _, start, _ in phonemes if start >= near_s), near_s))
    heard.setdefault(0, 0.0)
    end_s = phonemes[-1][2] if phonemes else 0.0
    spans: list[Span] = []
    for index in sorted(heard):
        following = min((i for i in heard if i > index), default=len(written))
        until_s = heard.get(following, end_s)
        sounds = [end for _, start, end in phonemes if heard[index] <= start < until_s]
        edges = np.linspace(heard[index], sounds[-1] if sounds else until_s, following - index + 1).round(4).tolist()
        shared = zip(written[index:following], edges, edges[1:], strict=False)
        spans += [(word.group(), start, end) for word, start, end in shared]
    return spans


def augment(pcm: Waveform, rng: np.random.Generator, babble: Waveform | None = None) -> Waveform:
    """A caller's sound [n] with random effects of a real call: room, noise, telephone band, gain, clipping.

    `babble` is other speech [m], mixed in as one kind of noise. Silence may get noise, and no other change.
    """
    sound = pcm.astype(np.float32)
    if rng.random() < 0.4:
        sound = _in_room(sound, rng)
    if rng.random() < 0.6:
        sound = sound + _noise(len(sound), rng, babble) * np.float32(_LEVEL_RMS * 10 ** (-rng.uniform(10, 40) / 20))
    if rng.random() < 0.2:
        narrow = soxr.resample(sound, SAMPLE_RATE_HZ, 8_000)
        sound = _pad_or_cut(soxr.resample(narrow, 8_000, SAMPLE_RATE_HZ), len(sound))
    sound = sound * np.float32(10 ** (rng.uniform(-14, 8) / 20))
    if rng.random() < 0.1:
        sound = sound * np.float32(10 ** (rng.uniform(0, 12) / 20))
    return sound.clip(-1, 1).astype(np.float32)


def _in_room(pcm: Waveform, rng: np.random.Generator) -> Waveform:
    """Convolve with the direct sound and an exponentially decaying tail of noise: a small room."""
    decay_s = rng.uniform(0.05, 0.4)  # time to fall by 60 dB
    times_s = np.arange(int(decay_s * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    tail = rng.standard_normal(len(times_s)) * 10 ** (-3 * times_s / decay_s)
    tail *= rng.uniform(0.1, 0.7) / np.linalg.norm(tail)
    tail[0] = 1.0
    size = 1 << (len(pcm) + len(tail) - 1).bit_length()
    wet = np.fft.irfft(np.fft.rfft(pcm, size) * np.fft.rfft(tail, size), size)[: len(pcm)]
    return wet.astype(np.float32)


def _noise(samples: int, rng: np.random.Generator, babble: Waveform | None) -> Waveform:
    """White, pink or babble noise of power 1."""
    kind = rng.integers(3 if babble is not None and len(babble) else 2)
    if kind == 2 and babble is not None:
        turned = np.roll(babble, int(rng.integers(len(babble))))
        noise = np.resize(turned, samples)
    else:
        noise = rng.standard_normal(samples)
        if kind == 1:
            spectrum = np.fft.rfft(noise)
            noise = np.fft.irfft(spectrum / np.sqrt(np.arange(1, len(spectrum) + 1)), samples)
    return (noise / max(float(np.sqrt(np.mean(np.square(noise)))), 1e-6)).astype(np.float32)


def _pad_or_cut(pcm: Waveform, samples: int) -> Waveform:
    return np.pad(pcm, (0, max(0, samples - len(pcm))))[:samples]
