"""The trials of the evaluation: sounds outside the training data, and the right answer to each."""

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

_START_S = (0.8, 1.6)  # when the caller begins: before the greeting is due
_ANSWER_S = 8.0  # at most, for the delay and the length of an answer
_VOICE_RMS = 0.08  # as `say` sets it
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
    """One call: the caller's sound f32 [n] in whole frames, and the text that the model should say.

    The last question begins at `asked_s` and ends at `done_s`. If not `is_whole_text`, the model may say other text
    before `expected`.
    """

    pcm: Waveform
    expected: str
    asked_s: float
    done_s: float
    is_whole_text: bool = True


def questions(
    rng: np.random.Generator, voices: tuple[Voice, ...], *,
    each: int, seen: bool = False, through: Callable[[Waveform], Waveform] | None = None,
) -> Iterator[Trial]:  # fmt: skip
    """Questions about every topic, `each` times, in held-out or (`seen`) trained wordings, distorted by `through`."""
    for topic in TOPICS:
        wordings = topic.forms if seen else topic.held_out
        for n in range(each):
            wording = _any(wordings, rng) if seen else wordings[n % len(wordings)]
            trial = _ask([(wording, conversation.reply(topic, None))], rng, _any(voices, rng))
            yield replace(trial, pcm=through(trial.pcm)) if through else trial


def repeats(rng: np.random.Generator, voices: tuple[Voice, ...], count: int) -> Iterator[Trial]:
    """A question, and "say that again" after its answer."""
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
    """Stories of three sentences: a hum is right after the second, and asking for more after the third."""
    for _ in range(count):
        voice, pause = _any(voices, rng), np.zeros(round(0.5 * SAMPLE_RATE_HZ), np.float32)
        told = [say(conversation.story_sentence(rng), voice).pcm for _ in range(3)]
        sound = np.concatenate([told[0], pause, told[1], pause, told[2]])
        expected = f"{conversation.BACKCHANNEL} {conversation.AFTER_STORY}"
        yield _place([(1.0, sound)], expected, _ANSWER_S + CLOSE_STORY_AFTER_S)


def interruptions(rng: np.random.Generator, voices: tuple[Voice, ...], count: int) -> Iterator[Trial]:
    """A question, and a second one during the answer to it. The answer to the second is expected."""
    lengths = durations_s(conversation.answers())
    long = tuple(topic for topic in TOPICS if topic.answer and lengths[topic.answer] > 1.8)
    for _ in range(count):
        voice, first = _any(voices, rng), _any(long, rng)
        second = _any(tuple(topic for topic in TOPICS if topic.answer and topic is not first), rng)
        opening = say(_any(first.forms, rng), voice).pcm
        again_s = 1 + len(opening) / SAMPLE_RATE_HZ + float(rng.uniform(0.9, 1.4))
        sounds = [(1.0, opening), (again_s, say(_any(second.held_out, rng), voice).pcm)]
        yield replace(_place(sounds, second.answer, _ANSWER_S), is_whole_text=False)


def noisy(rng: np.random.Generator, snr_db: float) -> Callable[[Waveform], Waveform]:
    """A distortion that adds white noise, `snr_db` below the level of a voice."""
    return lambda pcm: pcm + white(rng, len(pcm), 20 * math.log10(_VOICE_RMS) - snr_db)


def telephone(pcm: Waveform) -> Waveform:
    """Resample to the 8 kHz of a telephone and back."""
    return np.resize(soxr.resample(soxr.resample(pcm, SAMPLE_RATE_HZ, 8_000), 8_000, SAMPLE_RATE_HZ), len(pcm))


def clipped(pcm: Waveform) -> Waveform:
    """Clip at a third of the peak and scale to full scale, as a microphone with too much gain does."""
    return (pcm * np.float32(3 / np.abs(pcm).max())).clip(-1, 1)


def white(rng: np.random.Generator, samples: int, level_db: float) -> Waveform:
    """White noise f32 [samples] with an RMS of `level_db` dBFS."""
    return rng.standard_normal(samples).astype(np.float32) * np.float32(10 ** (level_db / 20))


def music(rng: np.random.Generator, samples: int) -> Waveform:
    """Music f32 [samples]: two chords of plucked strings a second, with a beat."""
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
    """German and Spanish sentences with pauses, f32 [samples]."""
    pcm, start = np.zeros(samples, np.float32), SAMPLE_RATE_HZ
    while start < samples:
        language, sentences = _any(tuple(_FOREIGN.items()), rng)
        said = say(_any(sentences, rng), Voice(language, "m3", int(rng.integers(30, 70)), 150)).pcm
        room = pcm[start : start + len(said)]
        room += said[: len(room)]
        start += len(said) + int(rng.uniform(2, 6) * SAMPLE_RATE_HZ)
    return pcm


def no_question(pcm: Waveform) -> Trial:
    """A call without a question: one greeting is expected."""
    return Trial(pcm[: len(pcm) // FRAME_SAMPLES * FRAME_SAMPLES], conversation.GREETING, 0, 0)


def other_speeds(rng: np.random.Generator) -> tuple[Voice, ...]:
    """The trained voices, slower or faster than in the training."""
    return tuple(replace(v, speed_wpm=round(v.speed_wpm * rng.choice([0.7, 1.4]))) for v in CALLER_VOICES)


def _ask(asked: list[tuple[str, str]], rng: np.random.Generator, voice: Voice) -> Trial:
    """A trial of questions with time for each answer; only the last question is measured."""
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
