"""What the evaluation asks: sounds that the training never held, and what should come of each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from model.demo import conversation
from model.demo.answers import durations_s
from model.demo.dialogues import CLOSE_STORY_AFTER_S
from model.demo.speech import CALLER_VOICES, SAMPLE_RATE_HZ, Voice, say
from model.demo.topics import TOPICS
from model.published import FRAME_SAMPLES

_START_S = (0.8, 1.6)  # when a caller begins, before the greeting would come
_ANSWER_S = 8.0  # the longest answer, and the time to begin it
_VOICE_RMS = 0.08  # of `say`

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Trial:
    """One call: what the model hears, f32 [n] in whole frames, and the text it should say, "" for nothing.

    `asked_s` is when the (last) question begins, `done_s` when it ends. Where it is not `alone`, more may come before.
    """

    pcm: NDArray[np.float32]
    expected: str
    asked_s: float
    done_s: float
    alone: bool = True


def questions(
    dice: np.random.Generator, voices: tuple[Voice, ...], *, each: int, snr_db: float | None = None, seen: bool = False
) -> Iterator[Trial]:
    """Every topic `each` times, in wordings kept for this (or, `seen`, in trained ones)."""
    for topic in TOPICS:
        wordings = topic.wordings if seen else topic.held_out
        for n in range(each):
            wording = wordings[n % len(wordings)]
            yield _ask([(wording, conversation.reply(topic, None))], dice, _any(voices, dice), snr_db)


def repeats(dice: np.random.Generator, voices: tuple[Voice, ...], count: int) -> Iterator[Trial]:
    """A question, its answer, and "say that again"."""
    again = next(topic for topic in TOPICS if not topic.answer)
    for _ in range(count):
        topic = _any(tuple(topic for topic in TOPICS if topic.answer), dice)
        asked = [(_any(topic.wordings, dice), topic.answer), (_any(again.held_out, dice), topic.answer)]
        yield _ask(asked, dice, _any(voices, dice))


def unknowns(dice: np.random.Generator, voices: tuple[Voice, ...], count: int) -> Iterator[Trial]:
    """Sentences without an answer."""
    for _ in range(count):
        asked = [(conversation.unknown(dice, held_out=True), conversation.FALLBACK)]
        yield _ask(asked, dice, _any(voices, dice))


def stories(dice: np.random.Generator, voices: tuple[Voice, ...], count: int) -> Iterator[Trial]:
    """Three sentences, with a hum after the second, and a call for more after the third."""
    for _ in range(count):
        voice, pause = _any(voices, dice), np.zeros(round(0.5 * SAMPLE_RATE_HZ), np.float32)
        told = [say(conversation.tale(dice), voice).pcm for _ in range(3)]
        sound = np.concatenate([told[0], pause, told[1], pause, told[2]])
        expected = f"{conversation.BACKCHANNEL} {conversation.AFTER_STORY}"
        yield _place([(1.0, sound)], expected, _ANSWER_S + CLOSE_STORY_AFTER_S)


def interruptions(dice: np.random.Generator, voices: tuple[Voice, ...], count: int) -> Iterator[Trial]:
    """A question, and another in the midst of the answer to it; the second is to be answered."""
    lengths = durations_s(conversation.answers())
    long = tuple(topic for topic in TOPICS if topic.answer and lengths[topic.answer] > 1.8)
    for _ in range(count):
        voice, first = _any(voices, dice), _any(long, dice)
        second = _any(tuple(topic for topic in TOPICS if topic.answer and topic is not first), dice)
        opening = say(_any(first.wordings, dice), voice).pcm
        again_s = 1 + len(opening) / SAMPLE_RATE_HZ + float(dice.uniform(0.9, 1.4))
        sounds = [(1.0, opening), (again_s, say(_any(second.held_out, dice), voice).pcm)]
        yield replace(_place(sounds, second.answer, _ANSWER_S), alone=False)


def quiet(dice: np.random.Generator, seconds: float, level_db: float | None) -> Trial:
    """Nobody speaks, in silence (None) or in white noise of this level; one greeting is expected."""
    samples = round(seconds * SAMPLE_RATE_HZ) // FRAME_SAMPLES * FRAME_SAMPLES
    noise = dice.standard_normal(samples).astype(np.float32) if level_db is not None else np.zeros(samples, np.float32)
    return Trial(noise * np.float32(10 ** ((level_db or 0) / 20)), conversation.GREETING, 0, 0)


def other_speeds(dice: np.random.Generator) -> tuple[Voice, ...]:
    """Trained speakers, slower or faster than they were trained."""
    return tuple(replace(v, speed_wpm=round(v.speed_wpm * dice.choice([0.8, 1.25]))) for v in CALLER_VOICES)


def _ask(asked: list[tuple[str, str]], dice: np.random.Generator, voice: Voice, snr_db: float | None = None) -> Trial:
    """Questions with their answers, the next after the answer to the one before; only the last is measured."""
    lengths = durations_s([answer for _, answer in asked])
    at_s, sounds = float(dice.uniform(*_START_S)), []
    for wording, answer in asked:
        sounds.append((at_s, say(wording, voice).pcm))
        at_s += len(sounds[-1][1]) / SAMPLE_RATE_HZ + lengths[answer] + 1.2
    trial = _place(sounds, " ".join(answer for _, answer in asked), _ANSWER_S)
    if snr_db is None:
        return trial
    noise = dice.standard_normal(len(trial.pcm)).astype(np.float32) * np.float32(_VOICE_RMS * 10 ** (-snr_db / 20))
    return replace(trial, pcm=trial.pcm + noise)


def _place(sounds: list[tuple[float, NDArray[np.float32]]], expected: str, rest_s: float) -> Trial:
    asked_s = sounds[-1][0]
    done_s = asked_s + len(sounds[-1][1]) / SAMPLE_RATE_HZ
    pcm = np.zeros(round((done_s + rest_s) * SAMPLE_RATE_HZ) // FRAME_SAMPLES * FRAME_SAMPLES, np.float32)
    for at_s, sound in sounds:
        start = round(at_s * SAMPLE_RATE_HZ)
        pcm[start : start + len(sound)] += sound
    return Trial(pcm, expected, asked_s, done_s)


def _any(choices: tuple[T, ...], dice: np.random.Generator) -> T:
    return choices[int(dice.integers(len(choices)))]
