"""Alignment of words with frames: the model's at the frames where they begin, the caller's where they end."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence

import numpy as np
import sentencepiece
from numpy.typing import NDArray

from model.audio import FRAME_SAMPLES, SAMPLE_RATE_HZ

END_PAD, PAD = 0, 3  # as in Moshi: END_PAD in the frame before a word, PAD in frames without a token
_SPECIAL = 4  # <unk> (with the id of END_PAD), <s>, </s>, PAD


def train_tokenizer(answers: Iterable[str]) -> bytes:
    """A SentencePiece model with one piece for each word of the answers: the model need not learn to spell."""
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
    """The text stream int16 [frames]. `pieces` has the tokens of each word, `starts` the frame in which it begins.

    A token whose frame is taken moves to the next free frame. Tokens past the last frame are dropped.
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
    """The caller's words by frame, int16 [frames], from pairs of a word's number (from 1) and its end in seconds.

    A word is placed in the frame after the one in which it ends, when all of its codes have been heard, or in the next
    free frame. Frames without a word are 0.
    """
    ends, free = np.zeros(frames, np.int16), 0
    for word, end_s in words:
        at = max(free, 1 + int(end_s * SAMPLE_RATE_HZ) // FRAME_SAMPLES)
        if at < frames:
            ends[at] = word
        free = at + 1
    return ends
