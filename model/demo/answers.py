"""The model's side of a dialogue: each answer spoken, coded and aligned with its words, once.

An answer begins at a whole frame, after silence, so it has the same codes in every dialogue, and the model's track of
a dialogue is assembled from them. An interrupted answer fades out within one frame, so each answer is also coded once
for each frame at which it may be cut.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import sentencepiece
from numpy.typing import NDArray
from tqdm import tqdm

from model.audio import FRAME_SAMPLES
from model.demo import conversation
from model.demo.codes import encode
from model.demo.speech import MODEL_VOICE, SAMPLE_RATE_HZ, Utterance, say
from model.demo.words import PAD, align
from model.network.mimi import Mimi

if TYPE_CHECKING:
    from model.demo.dialogues import Line

# Silence around an answer: longer than the codec's window of ten frames, after which earlier sound has no effect. One
# frame of the lead is kept, for the END_PAD before the first word.
_LEAD_FRAMES = _TAIL_FRAMES = 12
_FADE_SAMPLES = FRAME_SAMPLES // 2
_PRONOUNCED = {conversation.BACKCHANNEL: "umhum"}
_BATCH = 64


@functools.cache
def model_says(answer: str) -> Utterance:
    """The answer in the model's voice."""
    return say(_PRONOUNCED.get(answer, answer), MODEL_VOICE)


@dataclass(frozen=True, slots=True)
class AnswerBook:
    """Tracks int16 [F, 1 + K] (text first) by answer and cut (0: whole). Each begins one frame before its answer."""

    silence: NDArray[np.int16]  # [K]
    tracks: dict[tuple[str, int], NDArray[np.int16]]

    def track(self, lines: Iterable[Line], frames: int) -> NDArray[np.int16]:
        """The model's side of a dialogue, text and codes: int16 [frames, 1 + K]."""
        track = np.empty((frames, 1 + len(self.silence)), np.int16)
        track[:] = [PAD, *self.silence]
        for line in lines:
            part = self.tracks[line.answer, line.cut or 0]
            room = track[line.frame - 1 : line.frame - 1 + len(part)]
            room[:] = part[: len(room)]
        return track

    def save(self, path: Path) -> None:
        """Write the book into a file."""
        named = {f"{cut}/{answer}": track for (answer, cut), track in self.tracks.items()}
        with path.open("wb") as file:
            np.savez(file, silence=self.silence, **named)  # pyright: ignore[reportArgumentType]

    @classmethod
    def load(cls, path: Path) -> AnswerBook:
        """Read a book from a file."""
        with np.load(path) as file:
            named = (name.split("/", 1) for name in file.files if name != "silence")
            tracks = {(answer, int(cut)): file[f"{cut}/{answer}"] for cut, answer in named}
            return cls(file["silence"], tracks)


def durations_s(answers: Iterable[str]) -> dict[str, float]:
    """The duration of each spoken answer, in seconds."""
    return {answer: len(model_says(answer).pcm) / SAMPLE_RATE_HZ for answer in answers}


def make_book(answers: Iterable[str], mimi: Mimi, tokenizer: sentencepiece.SentencePieceProcessor) -> AnswerBook:
    """Speak, code and align every answer, whole and cut at every frame."""
    wanted = [(answer, cut) for answer in answers for cut in range(_frames(model_says(answer)))]
    wanted.sort(key=_length)  # equal lengths together, so that a batch has little padding
    tracks: dict[tuple[str, int], NDArray[np.int16]] = {}
    for start in tqdm(range(0, len(wanted), _BATCH), desc="Answers", unit="batch", disable=None):
        batch = wanted[start : start + _BATCH]
        sounds = [_sound(answer, cut) for answer, cut in batch]
        pcm = np.zeros((len(batch), max(map(len, sounds))), np.float32)
        for row, sound in zip(pcm, sounds, strict=True):
            row[: len(sound)] = sound
        for (answer, cut), codes in zip(batch, encode(mimi, pcm), strict=True):
            tracks[answer, cut] = _track(answer, cut, codes, tokenizer)
    silence = encode(mimi, np.zeros((1, 50 * FRAME_SAMPLES), np.float32))[0, -1]
    return AnswerBook(silence, tracks)


def _frames(utterance: Utterance) -> int:
    return -(-len(utterance.pcm) // FRAME_SAMPLES)


def _length(key: tuple[str, int]) -> int:
    answer, cut = key
    return cut or _frames(model_says(answer))


def _sound(answer: str, cut: int) -> NDArray[np.float32]:
    """Silence, the answer, and silence in which the codec's output decays: whole frames."""
    pcm = model_says(answer).pcm
    if cut:
        pcm = pcm[: cut * FRAME_SAMPLES + _FADE_SAMPLES].copy()
        faded = pcm[cut * FRAME_SAMPLES :]
        faded *= np.linspace(1, 0, _FADE_SAMPLES, dtype=np.float32)[: len(faded)]
    sound = np.zeros((_LEAD_FRAMES + _length((answer, cut)) + _TAIL_FRAMES) * FRAME_SAMPLES, np.float32)
    at = _LEAD_FRAMES * FRAME_SAMPLES
    sound[at : at + len(pcm)] = pcm
    return sound


def _track(
    answer: str, cut: int, codes: NDArray[np.int16], tokenizer: sentencepiece.SentencePieceProcessor
) -> NDArray[np.int16]:
    """Text and codes [F, 1 + K], from one frame before the answer, from the codes int16 [F', K] of `_sound`."""
    length = _length((answer, cut))
    said = model_says(answer)
    words = answer.split()
    if len(words) != len(said.words):
        raise ValueError(f"{answer!r} has {len(words)} words, but {len(said.words)} were spoken.")
    starts = [1 + int(start_s * SAMPLE_RATE_HZ) // FRAME_SAMPLES for _, start_s, _ in said.words]
    text = align([tokenizer.encode(word) for word in words], starts, 1 + length)
    codes = codes[_LEAD_FRAMES - 1 : _LEAD_FRAMES + length + _TAIL_FRAMES]
    padded = np.pad(text, (0, len(codes) - len(text)), constant_values=PAD)
    return np.concatenate([padded[:, None], codes], axis=1)
