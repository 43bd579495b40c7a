"""A speech recogniser independent of the model: pocketsphinx with a list of sentences (needs the `demo` extra)."""

from __future__ import annotations

import re
from collections.abc import Iterable

import numpy as np
import soxr
from numpy.typing import NDArray
from pocketsphinx import Decoder

from model.audio import SAMPLE_RATE_HZ

_RATE_HZ = 16_000


class Recogniser:
    """Recognises which of a list of sentences was said."""

    def __init__(self, sentences: Iterable[str]):
        """All words of `sentences` must be in pocketsphinx's English dictionary."""
        self._sentences = {_plain(sentence): sentence for sentence in sentences}
        self._decoder = Decoder(lm=None, samprate=_RATE_HZ, loglevel="FATAL")
        choices = " | ".join(self._sentences)
        self._decoder.add_jsgf_string("sentences", f"#JSGF V1.0; grammar said; public <said> = {choices};")
        self._decoder.activate_search("sentences")

    def hear(self, pcm: NDArray[np.float32]) -> str | None:
        """The sentence in 24 kHz sound f32 [n]; None if it was not recognised."""
        sound = soxr.resample(pcm, SAMPLE_RATE_HZ, _RATE_HZ)
        padded = np.pad(sound, _RATE_HZ // 4)
        self._decoder.start_utt()
        self._decoder.process_raw((padded.clip(-1, 1) * 32767).astype(np.int16).tobytes(), full_utt=True)
        self._decoder.end_utt()
        hypothesis = self._decoder.hyp()
        return self._sentences.get(hypothesis.hypstr) if hypothesis else None


def _plain(sentence: str) -> str:
    return re.sub(r"[^a-z' ]", "", sentence.lower()).strip()
