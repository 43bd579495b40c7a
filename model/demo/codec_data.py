"""Training clips of the codec: its input, and the output it should give.

The model's own voice is both input and target. A caller's input has noise, a room or a telephone band, as in a call,
and its target is the clean voice, so that the codes carry words rather than noise. Only this training decodes the
callers' codes, so their sound has less weight.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from model.audio import FRAME_SAMPLES, SAMPLE_RATE_HZ
from model.demo.codec_config import CLIP_FRAMES
from model.demo.conversation import answers, ask, story_sentence, unknown
from model.demo.speech import CALLER_VOICES, MODEL_VOICE, Utterance, Voice, Waveform, augment, say
from model.demo.topics import TOPICS

CLIP_SAMPLES = CLIP_FRAMES * FRAME_SAMPLES
SPOKEN_PER_FRAME = 2  # phoneme labels in a frame, which the semantic codes learn to predict
_LABEL_HZ = 200
_MODEL, _CALLER, _NOISE = 0.5, 0.43, 0.04  # shares of clips; the others are digital silence
_CALLER_WEIGHT = 0.4

_WORDS = """the a one every some that her our another very small old green heavy quick quiet strange early left open
water house garden morning letter window bridge river doctor music table paper yellow orange summer mountain brother
people question number kitchen village journey picture thunder shadow feather machine engine treasure judge church
walks jumps takes gives brings thinks laughs chooses watches enjoys measures pushes breathes reads writes sings
under over beyond after before without between because although however maybe always never often usually together
three five seven nine eleven twelve twenty thirty hundred thousand zero monday thursday saturday january august
boy toy voice noise join south mouth loud cow use few music cure pure fear near there chair care four door poor
thing teeth smooth bathe azure vision beige yacht yes wolf whale quite squeeze glimpse strength twelfth sixths
""".split()


@dataclass(frozen=True, slots=True)
class Take:
    """One utterance, and its phoneme at every 1/200 s (0: none)."""

    pcm: NDArray[np.int16]  # [n]
    phonemes: NDArray[np.uint8]  # [n · 200 / 24,000]


@dataclass(frozen=True, slots=True)
class Clips:
    """A training batch of B clips."""

    heard: Tensor  # f32 [B, CLIP_SAMPLES]
    wanted: Tensor  # f32 [B, CLIP_SAMPLES]
    phonemes: Tensor  # int64 [B, CLIP_FRAMES, SPOKEN_PER_FRAME]
    weight: Tensor  # f32 [B], of the sound loss


class Corpus:
    """Utterances of the model's voice and of callers, from which clips are drawn."""

    def __init__(self, seed: int, model_takes: int, caller_takes: int, voices: Sequence[Voice] = CALLER_VOICES):
        rng = np.random.default_rng(seed)
        lines = [(text, MODEL_VOICE) for text in _model_texts(rng, model_takes)]
        lines += [(text, voices[int(rng.integers(len(voices)))]) for text in _caller_texts(rng, caller_takes)]
        spoken = [say(text, voice) for text, voice in tqdm(lines, desc="speaking", unit="utterance")]
        self.symbols = sorted({symbol for utterance in spoken for symbol, _, _ in utterance.phonemes})
        index = {symbol: i + 1 for i, symbol in enumerate(self.symbols)}
        takes = [_take(utterance, index) for utterance in spoken]
        self._model, self._callers = takes[:model_takes], takes[model_takes:]

    @property
    def classes(self) -> int:
        """The number of phonemes, plus one for silence."""
        return len(self.symbols) + 1

    def draw(self, rng: np.random.Generator, clips: int) -> Clips:
        """Draw clips, which may begin in silence or within a word."""
        drawn = [self._clip(rng) for _ in range(clips)]
        heard, wanted, phonemes, weight = zip(*drawn, strict=True)
        return Clips(
            torch.from_numpy(np.stack(heard)),
            torch.from_numpy(np.stack(wanted)),
            torch.from_numpy(np.stack(phonemes)).long(),
            torch.tensor(weight),
        )

    def _clip(self, rng: np.random.Generator) -> tuple[Waveform, Waveform, NDArray[np.uint8], float]:
        kind = rng.random()
        if kind < _MODEL:
            wanted, phonemes = _place(self._model, rng)
            return wanted, wanted, phonemes, 1.0
        if kind < _MODEL + _CALLER:
            wanted, phonemes = _place(self._callers, rng)
            babble, _ = _place(self._callers, rng)
            return augment(wanted, rng, babble), wanted, phonemes, _CALLER_WEIGHT
        silence = np.zeros(CLIP_SAMPLES, np.float32)
        quiet = np.zeros((CLIP_FRAMES, SPOKEN_PER_FRAME), np.uint8)
        heard = augment(silence, rng) if kind < _MODEL + _CALLER + _NOISE else silence
        return heard, silence, quiet, 1.0


def _place(takes: list[Take], rng: np.random.Generator) -> tuple[Waveform, NDArray[np.uint8]]:
    """Sound of a random window that overlaps one utterance, and its phonemes at regular times."""
    take = takes[int(rng.integers(len(takes)))]
    start = int(rng.integers(-CLIP_SAMPLES // 2, max(1, len(take.pcm) - CLIP_SAMPLES // 3)))
    pcm = np.zeros(CLIP_SAMPLES, np.float32)
    source = slice(max(0, start), max(0, min(len(take.pcm), start + CLIP_SAMPLES)))
    pcm[source.start - start : source.stop - start] = take.pcm[source] / np.float32(32768)
    count = CLIP_FRAMES * SPOKEN_PER_FRAME
    times = start + (np.arange(count) + 0.5) * CLIP_SAMPLES / count
    index = (times * _LABEL_HZ / SAMPLE_RATE_HZ).astype(int)
    inside = (times >= 0) & (index < len(take.phonemes))
    phonemes = np.where(inside, take.phonemes[np.where(inside, index, 0)], 0)
    return pcm, phonemes.astype(np.uint8).reshape(CLIP_FRAMES, SPOKEN_PER_FRAME)


def _take(utterance: Utterance, index: dict[str, int]) -> Take:
    phonemes = np.zeros(max(1, len(utterance.pcm) * _LABEL_HZ // SAMPLE_RATE_HZ), np.uint8)
    for symbol, start_s, end_s in utterance.phonemes:
        phonemes[round(start_s * _LABEL_HZ) : round(end_s * _LABEL_HZ)] = index[symbol]
    return Take((utterance.pcm * 32767).round().astype(np.int16), phonemes)


def _model_texts(rng: np.random.Generator, count: int) -> Iterator[str]:
    """The model's answers, alternating with sentences of random words."""
    own = answers()
    for at in range(count):
        yield own[at // 2 % len(own)] if at % 2 else _nonsense(rng)


def _caller_texts(rng: np.random.Generator, count: int) -> Iterator[str]:
    """Sentences of callers: questions, unknown sentences, stories and random words."""
    for _ in range(count):
        kind = rng.random()
        if kind < 0.5:
            yield ask(TOPICS[int(rng.integers(len(TOPICS)))], rng)
        elif kind < 0.7:
            yield unknown(rng)
        else:
            yield story_sentence(rng) if kind < 0.75 else _nonsense(rng)


def _nonsense(rng: np.random.Generator) -> str:
    return " ".join(rng.choice(_WORDS, int(rng.integers(3, 9)))) + "."
