"""Trials of the evaluation: sounds that are not in the training data, and the right answer to each."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import soxr

from model.audio import FRAME_SAMPLES
from model.demo import conversation
from model.demo.answers import durations_s
from model.demo.dialogues import CLOSE_STORY_AFTER_S
from model.demo.speech import CALLER_VOICES, SAMPLE_RATE_HZ, Voice, Waveform, say
from model.demo.topics import TOPICS

_START_S = (0.8, 1.6)  # when a caller begins, before the greeting would come
_ANSWER_S = 8.0  # the longest answer, and the time to begin it
_VOICE_RMS = 0.08  # of `say`
_FOREIGN = {
    "de": (
        "guten tag wie geht es ihnen",
        "ich möchte gern ein brot kaufen",
        "wo ist der bahnhof",
        "das wetter ist schön",
    ),
    "es": ("buenos días cómo está usted", "quiero comprar pan", "dónde está la estación", "hace buen tiempo hoy"),
}

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Trial:
    """One call: what the model hears, f32 [n] in whole frames, and the text it should say, "" for nothing.

    `asked_s` is when the (last) question begins, `done_s` when it ends. Where it is not `alone`, more may come before.
    """

    pcm: Waveform
    expected: str
    asked_s: float
    done_s: float
    alone: bool = True


def questions(
    rng: np.random.Generator, voices: tuple[Voice, ...], *,
    each: int, seen: bool = False, through: Callable[[Waveform], Waveform] | None = None,
) -> Iterator[Trial]:  # fmt: skip
    """Every topic `each` times, in wordings kept for this (or, `seen`, in trained ones), `through` a bad line."""
    for topic in TOPICS:
        wordings = topic.forms if seen else topic.held_out
        for n in range(each):
            wording = _any(wordings, rng) if seen else wordings[n % len(wordings)]
            trial = _ask([(wording, conversation.reply(topic, None))], rng, _any(voices, rng))
            yield replace(trial, pcm=through(trial.pcm)) if through else trial


def repeats(rng: np.random.Generator, voices: tuple[Voice, ...], count: int) -> Iterator[Trial]:
    """A question, its answer, and "say that again"."""
    for _ in range(count):
        topic = _any(tuple(topic for topic in TOPICS if topic.answer), rng)
        asked = [(_any(topic.forms, rng), topic.answer), (_any(conversation.AGAIN.held_out, rng), topic.answer)]
        yield _ask(asked, rng, _any(voices, rng))


def unknowns(rng: np.random.Generator, voices: tuple[Voice, ...], count: int) -> Iterator[Trial]:
    """Sentences without an answer."""
    for _ in range(count):
        asked = [(conversation.unknown(rng, held_out=True), conversation.FALLBACK)]
        yield _ask(asked, rng, _any(voices, rng))


def stories(rng: np.random.Generator, voices: tuple[Voice, ...], count: int) -> Iterator[Trial]:
    """Three sentences, with a hum after the second, and a call for more after the third."""
    for _ in range(count):
        voice, pause = _any(voices, rng), np.zeros(round(0.5 * SAMPLE_RATE_HZ), np.float32)
        told = [say(conversation.tale(rng), voice).pcm for _ in range(3)]
        sound = np.concatenate([told[0], pause, told[1], pause, told[2]])
        expected = f"{conversation.BACKCHANNEL} {conversation.AFTER_STORY}"
        yield _place([(1.0, sound)], expected, _ANSWER_S + CLOSE_STORY_AFTER_S)


def interruptions(rng: np.random.Generator, voices: tuple[Voice, ...], count: int) -> Iterator[Trial]:
    """A question, and another in the midst of the answer to it; the second is to be answered."""
    lengths = durations_s(conversation.answers())
    long = tuple(topic for topic in TOPICS if topic.answer and lengths[topic.answer] > 1.8)
    for _ in range(count):
        voice, first = _any(voices, rng), _any(long, rng)
        second = _any(tuple(topic for topic in TOPICS if topic.answer and topic is not first), rng)
        opening = say(_any(first.forms, rng), voice).pcm
        again_s = 1 + len(opening) / SAMPLE_RATE_HZ + float(rng.uniform(0.9, 1.4))
        sounds = [(1.0, opening), (again_s, say(_any(second.held_out, rng), voice).pcm)]
        yield replace(_place(sounds, second.answer, _ANSWER_S), alone=False)


def noisy(rng: np.random.Generator, snr_db: float) -> Callable[[Waveform], Waveform]:
    """White noise, so many decibels below a voice."""
    return lambda pcm: pcm + white(rng, len(pcm), 20 * math.log10(_VOICE_RMS) - snr_db)


def telephone(pcm: Waveform) -> Waveform:
    """A band of 8 kHz."""
    return np.resize(soxr.resample(soxr.resample(pcm, SAMPLE_RATE_HZ, 8_000), 8_000, SAMPLE_RATE_HZ), len(pcm))


def clipped(pcm: Waveform) -> Waveform:
    """A microphone turned up much too high: a voice's waves are cut off at a third of their height."""
    return (pcm * np.float32(3 / np.abs(pcm).max())).clip(-1, 1)


def white(rng: np.random.Generator, samples: int, level_db: float) -> Waveform:
    """White noise of this power in dB of full scale."""
    return rng.standard_normal(samples).astype(np.float32) * np.float32(10 ** (level_db / 20))


def music(rng: np.random.Generator, samples: int) -> Waveform:
    """Chords of plucked strings over a beat, two a second: f32 [samples]."""
    pcm = np.zeros(samples, np.float32)
    time_s = np.arange(SAMPLE_RATE_HZ) / SAMPLE_RATE_HZ
    for start in range(0, samples, SAMPLE_RATE_HZ // 2):
        root_hz = 110 * 2 ** (int(rng.choice([0, 3, 5, 7, 8, 10])) / 12)
        notes_hz = [root_hz * 2 ** (step / 12) * part for step in (0, 4, 7, 12) for part in (1, 2, 3, 4)]
        chord = sum(np.sin(2 * np.pi * hz * time_s) * np.exp(-4 * time_s * (hz / 200) ** 0.5) for hz in notes_hz)
        beat = rng.standard_normal(len(time_s)) * np.exp(-60 * time_s)
        room = pcm[start : start + len(time_s)]
        room += (0.03 * chord + 0.05 * beat).astype(np.float32)[: len(room)]
    return pcm


def foreign(rng: np.random.Generator, samples: int) -> Waveform:
    """German and Spanish sentences, with pauses: f32 [samples]."""
    pcm, start = np.zeros(samples, np.float32), SAMPLE_RATE_HZ
    while start < samples:
        language, sentences = _any(tuple(_FOREIGN.items()), rng)
        said = say(_any(sentences, rng), Voice(language, "m3", int(rng.integers(30, 70)), 150)).pcm
        room = pcm[start : start + len(said)]
        room += said[: len(room)]
        start += len(said) + int(rng.uniform(2, 6) * SAMPLE_RATE_HZ)
    return pcm


def nobody(pcm: Waveform) -> Trial:
    """A call without speech: one greeting is expected."""
    return Trial(pcm[: len(pcm) // FRAME_SAMPLES * FRAME_SAMPLES], conversation.GREETING, 0, 0)


def other_speeds(rng: np.random.Generator) -> tuple[Voice, ...]:
    """Trained speakers, slower or faster than they were trained."""
    return tuple(replace(v, speed_wpm=round(v.speed_wpm * rng.choice([0.7, 1.4]))) for v in CALLER_VOICES)


def _ask(asked: list[tuple[str, str]], rng: np.random.Generator, voice: Voice) -> Trial:
    """Questions with their answers, the next after the answer to the one before; only the last is measured."""
    lengths = durations_s([answer for _, answer in asked])
    at_s, sounds = float(rng.uniform(*_START_S)), []
    for wording, answer in asked:
        sounds.append((at_s, say(wording, voice).pcm))
        at_s += len(sounds[-1][1]) / SAMPLE_RATE_HZ + lengths[answer] + 1.2
    return _place(sounds, " ".join(answer for _, answer in asked), _ANSWER_S)


def _place(sounds: list[tuple[float, Waveform]], expected: str, rest_s: float) -> Trial:
    asked_s = sounds[-1][0]
    done_s = asked_s + len(sounds[-1][1]) / SAMPLE_RATE_HZ
    pcm = np.zeros(round((done_s + rest_s) * SAMPLE_RATE_HZ) // FRAME_SAMPLES * FRAME_SAMPLES, np.float32)
    for at_s, sound in sounds:
        start = round(at_s * SAMPLE_RATE_HZ)
        pcm[start : start + len(sound)] += sound
    return Trial(pcm, expected, asked_s, done_s)


def _any(choices: tuple[T, ...], rng: np.random.Generator) -> T:
    return choices[int(rng.integers(len(choices)))]
