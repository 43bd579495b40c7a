"""Written words on the frames of a call: the model's, each where it is spoken, and the caller's, each where it ends."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence

import numpy as np
import sentencepiece
from numpy.typing import NDArray

from model.audio import FRAME_SAMPLES, SAMPLE_RATE_HZ

END_PAD, PAD = 0, 3  # as published: END_PAD in the frame before a word, PAD where nothing begins
_SPECIAL = 4  # <unk> (which END_PAD is), <s>, </s>, PAD


def train_tokenizer(answers: Iterable[str]) -> bytes:
    """A SentencePiece model whose pieces are the answers' words, each whole: it shall learn to speak, not to spell."""
    sentences = list(answers)
    words = {word for sentence in sentences for word in sentence.split()}
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(sentences), model_writer=model, model_type="word", vocab_size=len(words) + _SPECIAL,
        unk_id=END_PAD, bos_id=1, eos_id=2, pad_id=PAD, character_coverage=1.0, normalization_rule_name="identity",
        minloglevel=2,
    )  # fmt: skip
    return model.getvalue()


def align(pieces: Sequence[Sequence[int]], starts: Sequence[int], frames: int) -> NDArray[np.int16]:
    """The text stream int16 [frames] of words given as their pieces, and the frame in which each begins.

    A piece that finds its frame taken moves to the next. Pieces past the end are left out.
    """
    text = np.full(frames, PAD, np.int16)
    free = 0
    for word, start in zip(pieces, starts, strict=True):
        at = max(start, free)
        if free < at <= frames:
            text[at - 1] = END_PAD
        for piece in word:
            if at < frames:
                text[at] = piece
            at += 1
        free = at
    return text


def align_ends(words: Iterable[tuple[int, float]], frames: int) -> NDArray[np.int16]:
    """The caller's words as numbers from 1 on, given with their ends in seconds, to int16 [frames]; 0 where none ends.

    A word stands in the frame after the one in which it ends, when all of its codes have been heard, or later if that
    frame is taken.
    """
    ends, free = np.zeros(frames, np.int16), 0
    for word, end_s in words:
        at = max(free, 1 + int(end_s * SAMPLE_RATE_HZ) // FRAME_SAMPLES)
        if at < frames:
            ends[at] = word
        free = at + 1
    return ends
