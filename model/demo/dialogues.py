"""Conversations on two tracks: the caller's sound, and the model's answers with their times.

The model answers 0.22 s after the caller stops, hums during long stories, stops when it is interrupted and then answers
the new question, greets a silent caller once, and does not react to noise. Its track is a list of lines that begin at
whole frames: their sound and text are made once (`answers.py`), not for each dialogue.
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
# In a call one frame is added: the answer to frame t is played after frame t + 1 has been heard.
ANSWER_AFTER_S = 0.22
STOP_AFTER_S = 0.22
CLOSE_STORY_AFTER_S = 1.2  # a story's pauses are shorter
_INTERRUPTED = 0.25  # of all answers that are long enough
_SILENT_CALLER = 0.05  # of all calls
_RESAMPLING = (0.88, 1.14)  # factors of resampling: slower playback sounds like a larger speaker


@dataclass(frozen=True, slots=True)
class Line:
    """The model says `answer`, or its first `cut` frames, beginning at `frame`."""

    answer: str
    frame: int
    cut: int | None = None


@dataclass(frozen=True, slots=True)
class Dialogue:
    """One generated call."""

    caller: Waveform  # f32 [frames · FRAME_SAMPLES], as it reaches the model
    lines: tuple[Line, ...]  # in order of time
    words: tuple[tuple[str, float], ...]  # the caller's words with the end of each (s), in order of time


def compose(rng: np.random.Generator, voice: Voice, frames: int, durations_s: dict[str, float]) -> Dialogue:
    """Draw a call of `frames` frames with one caller; `durations_s` has the duration of each spoken answer."""
    scene = Scene(rng, _vary(voice, rng), frames, durations_s)
    is_silent = rng.random() < _SILENT_CALLER
    if is_silent or rng.random() < 0.3:
        scene.wait_for_greeting()
    while not is_silent and scene.has_room():
        scene.turn()
    return scene.finish()


class Scene:
    """A call under construction, turn by turn; `clock_s` is the time at which the caller may speak next."""

    def __init__(self, rng: np.random.Generator, voice: Voice, frames: int, durations_s: dict[str, float]):
        self.lines: list[Line] = []
        self.clock_s = float(rng.uniform(0.1, conversation.GREETING_AFTER_S - 0.6))
        self._rng = rng
        self._voice = voice
        self._resampling = float(rng.uniform(*_RESAMPLING))
        self._words: list[tuple[str, float]] = []
        self._durations_s = durations_s
        self._caller = np.zeros(frames * FRAME_SAMPLES, np.float32)
        self._last: str | None = None

    def has_room(self) -> bool:
        """Whether there is time for another turn."""
        return self.clock_s < len(self._caller) / SAMPLE_RATE_HZ - 2

    def wait_for_greeting(self) -> None:
        """Add the greeting, which the model says to a silent caller."""
        self.clock_s = conversation.GREETING_AFTER_S - ANSWER_AFTER_S
        self.answer(conversation.GREETING)

    def turn(self) -> None:
        """Add one turn: the caller says something and the model answers."""
        kind = self._rng.random()
        if kind < 0.10:
            self.tell_story(int(self._rng.integers(2, 5)))
        elif kind < 0.22:
            self.ask(conversation.unknown(self._rng), conversation.FALLBACK)
        elif kind < 0.30 and self._last:  # more often than any topic: it is harder to learn
            self.ask(conversation.ask(conversation.AGAIN, self._rng), self._last)
        else:
            topic = TOPICS[int(self._rng.integers(len(TOPICS)))]
            self.ask(conversation.ask(topic, self._rng), conversation.reply(topic, self._last))
        if self._rng.random() < 0.1:
            self.clock_s += float(self._rng.uniform(3, 7))

    def ask(self, wording: str, answer: str) -> None:
        """Add a sentence of the caller and the answer to it."""
        self.speak(wording)
        self.answer(answer)

    def tell_story(self, sentences: int) -> None:
        """Add a story; the model hums after every second sentence, and asks for more after a long pause."""
        for number in range(1, sentences + 1):
            self.speak(conversation.story_sentence(self._rng))
            if number % 2 == 0:
                self._say(conversation.BACKCHANNEL, self.clock_s + ANSWER_AFTER_S)
            if number < sentences:
                self.clock_s += float(self._rng.uniform(0.4, 0.7))
        self.clock_s += CLOSE_STORY_AFTER_S - ANSWER_AFTER_S
        self.answer(conversation.AFTER_STORY)

    def speak(self, text: str) -> None:
        """Add the caller's words at the clock, and set the clock to their end."""
        said = say(text + str(self._rng.choice(["", ".", "?"])), self._voice)
        pcm = soxr.resample(said.pcm, SAMPLE_RATE_HZ, SAMPLE_RATE_HZ * self._resampling)
        _add(self._caller, pcm, self.clock_s)
        ends = zip(text.split(), said.words, strict=True)
        self._words += [(word, self.clock_s + end_s * self._resampling) for word, (_, _, end_s) in ends]
        self.clock_s += len(pcm) / SAMPLE_RATE_HZ

    def answer(self, text: str) -> None:
        """Add an answer. Sets the clock after it, or within it if the caller interrupts: then the answer is cut."""
        line = self._say(text, self.clock_s + ANSWER_AFTER_S)
        self._last = text
        start_s, duration_s = line.frame * FRAME_S, self._durations_s[text]
        if duration_s > 1 and self._rng.random() < _INTERRUPTED:
            self.clock_s = start_s + float(self._rng.uniform(0.3, duration_s - 0.4))
            cut = math.ceil((self.clock_s + STOP_AFTER_S) / FRAME_S) - line.frame
            self.lines[-1] = replace(line, cut=cut)
        else:
            self.clock_s = start_s + duration_s + float(self._rng.uniform(0.2, 2.2))

    def finish(self) -> Dialogue:
        """The call as it reaches the model: with augmentation, and sometimes an echo of the model's voice."""
        caller = self._caller
        if self._rng.random() < 0.15:
            caller = caller + self._echo()
        return Dialogue(augment(caller, self._rng, _babble(self._rng)), tuple(self.lines), tuple(self._words))

    def _say(self, text: str, at_s: float) -> Line:
        self.lines.append(Line(text, math.ceil(at_s / FRAME_S)))
        return self.lines[-1]

    def _echo(self) -> Waveform:
        """The model's voice, quiet and delayed, as the caller's microphone picks it up from the loudspeaker."""
        echo = np.zeros_like(self._caller)
        delay_s = FRAME_S + float(self._rng.uniform(0.05, 0.25))
        for line in self.lines:
            said = model_says(line.answer).pcm[: line.cut and line.cut * FRAME_SAMPLES]
            _add(echo, said, line.frame * FRAME_S + delay_s)
        return echo * np.float32(10 ** (-self._rng.uniform(25, 45) / 20))


def _add(track: Waveform, pcm: Waveform, at_s: float) -> None:
    """Add a sound to a track; the part past the track's end is dropped."""
    start = round(at_s * SAMPLE_RATE_HZ)
    room = track[start : start + len(pcm)]
    room += pcm[: len(room)]


def _babble(rng: np.random.Generator) -> Waveform:
    """Two people talking at once in the background."""
    speakers = [CALLER_VOICES[int(rng.integers(len(CALLER_VOICES)))] for _ in range(2)]
    sounds = [say(conversation.story_sentence(rng), speaker).pcm for speaker in speakers]
    return np.concatenate([sounds[0], np.zeros_like(sounds[1])]) + np.concatenate([sounds[1], np.zeros_like(sounds[0])])


def _vary(voice: Voice, rng: np.random.Generator) -> Voice:
    """The same voice with a random change of pitch and speed."""
    pitch = min(99, max(0, voice.pitch + int(rng.integers(-20, 21))))
    return replace(voice, pitch=pitch, speed_wpm=round(voice.speed_wpm * float(rng.uniform(0.85, 1.2))))
