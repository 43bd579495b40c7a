"""Conversations on two tracks: the caller's sound, and the model's answers with their times.

The model starts a quarter of a second after the caller's pause, hums in long stories, falls silent when it is talked
over and answers what it heard meanwhile, greets once when nobody speaks, and says nothing to noise. Its own track is
a list of lines at whole frames: sound and text for them are made once (`answers.py`), not for each dialogue.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import soxr

from model.audio import FRAME_SAMPLES
from model.demo import conversation
from model.demo.answers import model_says
from model.demo.speech import CALLER_VOICES, SAMPLE_RATE_HZ, Voice, Waveform, augment, say
from model.demo.topics import TOPICS

FRAME_S = FRAME_SAMPLES / SAMPLE_RATE_HZ
# Serving adds one frame: what is decided while frame t is heard, is played when frame t + 1 has been heard.
ANSWER_AFTER_S = 0.22
YIELD_AFTER_S = 0.22
CLOSE_STORY_AFTER_S = 1.2  # a story's pauses are shorter
_INTERRUPTED = 0.25  # of all answers that are long enough
_NOBODY = 0.05  # of all calls: the line is open, and nobody speaks
_SIZES = (0.88, 1.14)  # of the caller: a tape played slower is a bigger speaker


@dataclass(frozen=True, slots=True)
class Line:
    """The model says `answer` from `frame` on; all of it, or its first `cut` frames."""

    answer: str
    frame: int
    cut: int | None = None


@dataclass(frozen=True, slots=True)
class Dialogue:
    """One call."""

    caller: Waveform  # f32 [frames · FRAME_SAMPLES], as it reaches the model
    lines: tuple[Line, ...]  # in time
    words: tuple[tuple[str, float], ...]  # the caller's, and when each ends (s), in time


def compose(rng: np.random.Generator, voice: Voice, frames: int, durations_s: dict[str, float]) -> Dialogue:
    """Draw a call of so many frames with one caller; `durations_s` says how long each answer takes to speak."""
    scene = Scene(rng, _tuned(voice, rng), frames, durations_s)
    nobody = rng.random() < _NOBODY
    if nobody or rng.random() < 0.3:
        scene.wait_for_greeting()
    while not nobody and scene.has_room():
        scene.turn()
    return scene.finish()


class Scene:
    """A call as it is drawn, turn by turn; `clock_s` is when the caller may speak next."""

    def __init__(self, rng: np.random.Generator, voice: Voice, frames: int, durations_s: dict[str, float]):
        self.lines: list[Line] = []
        self.clock_s = float(rng.uniform(0.1, conversation.GREETING_AFTER_S - 0.6))
        self._dice = rng
        self._voice = voice
        self._size = float(rng.uniform(*_SIZES))
        self._words: list[tuple[str, float]] = []
        self._durations_s = durations_s
        self._caller = np.zeros(frames * FRAME_SAMPLES, np.float32)
        self._last: str | None = None

    def has_room(self) -> bool:
        """Whether another turn should begin before the end."""
        return self.clock_s < len(self._caller) / SAMPLE_RATE_HZ - 2

    def wait_for_greeting(self) -> None:
        """The model greets, since nobody speaks."""
        self.clock_s = conversation.GREETING_AFTER_S - ANSWER_AFTER_S
        self.answer(conversation.GREETING)

    def turn(self) -> None:
        """The caller says one thing, and has the answer."""
        kind = self._dice.random()
        if kind < 0.10:
            self.tell_story(int(self._dice.integers(2, 5)))
        elif kind < 0.22:
            self.ask(conversation.unknown(self._dice), conversation.FALLBACK)
        elif kind < 0.30 and self._last:  # what it said last is harder to learn than any one answer
            self.ask(conversation.ask(conversation.AGAIN, self._dice), self._last)
        else:
            topic = TOPICS[int(self._dice.integers(len(TOPICS)))]
            self.ask(conversation.ask(topic, self._dice), conversation.reply(topic, self._last))
        if self._dice.random() < 0.1:
            self.clock_s += float(self._dice.uniform(3, 7))

    def ask(self, wording: str, answer: str) -> None:
        """The caller says something that has an answer."""
        self.speak(wording)
        self.answer(answer)

    def tell_story(self, sentences: int) -> None:
        """The model hums after every second sentence, and asks for more when the caller is silent for long."""
        for number in range(1, sentences + 1):
            self.speak(conversation.tale(self._dice))
            if number % 2 == 0:
                self._say(conversation.BACKCHANNEL, self.clock_s + ANSWER_AFTER_S)
            if number < sentences:
                self.clock_s += float(self._dice.uniform(0.4, 0.7))
        self.clock_s += CLOSE_STORY_AFTER_S - ANSWER_AFTER_S
        self.answer(conversation.AFTER_STORY)

    def speak(self, text: str) -> None:
        """Put the caller's words at the clock, and the clock at their end."""
        said = say(text + str(self._dice.choice(["", ".", "?"])), self._voice)
        pcm = soxr.resample(said.pcm, SAMPLE_RATE_HZ, SAMPLE_RATE_HZ * self._size)
        _add(self._caller, pcm, self.clock_s)
        ends = zip(text.split(), said.words, strict=True)
        self._words += [(word, self.clock_s + end_s * self._size) for word, (_, _, end_s) in ends]
        self.clock_s += len(pcm) / SAMPLE_RATE_HZ

    def answer(self, text: str) -> None:
        """The model answers; then the clock stands after it, or within it: it will be talked over."""
        line = self._say(text, self.clock_s + ANSWER_AFTER_S)
        self._last = text
        start_s, duration_s = line.frame * FRAME_S, self._durations_s[text]
        if duration_s > 1 and self._dice.random() < _INTERRUPTED:
            self.clock_s = start_s + float(self._dice.uniform(0.3, duration_s - 0.4))
            cut = math.ceil((self.clock_s + YIELD_AFTER_S) / FRAME_S) - line.frame
            self.lines[-1] = replace(line, cut=cut)
        else:
            self.clock_s = start_s + duration_s + float(self._dice.uniform(0.2, 2.2))

    def finish(self) -> Dialogue:
        """The call as it reaches the model: through a room, a microphone, perhaps a telephone, perhaps with echo."""
        caller = self._caller
        if self._dice.random() < 0.15:
            caller = caller + self._echo()
        return Dialogue(augment(caller, self._dice, _babble(self._dice)), tuple(self.lines), tuple(self._words))

    def _say(self, text: str, at_s: float) -> Line:
        self.lines.append(Line(text, math.ceil(at_s / FRAME_S)))
        return self.lines[-1]

    def _echo(self) -> Waveform:
        """The model's own voice from the caller's loudspeaker, faintly."""
        echo = np.zeros_like(self._caller)
        delay_s = FRAME_S + float(self._dice.uniform(0.05, 0.25))
        for line in self.lines:
            said = model_says(line.answer).pcm[: line.cut and line.cut * FRAME_SAMPLES]
            _add(echo, said, line.frame * FRAME_S + delay_s)
        return echo * np.float32(10 ** (-self._dice.uniform(25, 45) / 20))


def _add(track: Waveform, pcm: Waveform, at_s: float) -> None:
    """Mix a sound into a track, which may end before it does."""
    start = round(at_s * SAMPLE_RATE_HZ)
    room = track[start : start + len(pcm)]
    room += pcm[: len(room)]


def _babble(rng: np.random.Generator) -> Waveform:
    """Two people talking at once in the background."""
    speakers = [CALLER_VOICES[int(rng.integers(len(CALLER_VOICES)))] for _ in range(2)]
    sounds = [say(conversation.tale(rng), speaker).pcm for speaker in speakers]
    return np.concatenate([sounds[0], np.zeros_like(sounds[1])]) + np.concatenate([sounds[1], np.zeros_like(sounds[0])])


def _tuned(voice: Voice, rng: np.random.Generator) -> Voice:
    """The same speaker on another day: a little higher or lower, faster or slower."""
    pitch = min(99, max(0, voice.pitch + int(rng.integers(-20, 21))))
    return replace(voice, pitch=pitch, speed_wpm=round(voice.speed_wpm * float(rng.uniform(0.85, 1.2))))
