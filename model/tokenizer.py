"""Text tokens to words that people can read."""

from __future__ import annotations

import codecs
from collections.abc import Sequence


class Tokenizer:
    """The text pieces of a vocabulary, and which tokens are never shown."""

    def __init__(self, pieces: Sequence[str | bytes], silent: Sequence[int] = ()):
        """`pieces[token]` is text, a single byte of UTF-8, or "". `silent` are tokens never shown, such as PAD."""
        self._pieces = list(pieces)
        for token in silent:
            if token < len(self._pieces):
                self._pieces[token] = ""

    def piece(self, token: int) -> str | bytes:
        """How a token is shown: text, a single byte of UTF-8, or "" for one that is not shown."""
        return self._pieces[token] if 0 <= token < len(self._pieces) else ""


class TextStream:
    """Joins one slot's tokens into text, and holds bytes back until they make whole characters."""

    def __init__(self, tokenizer: Tokenizer):
        self._tokenizer = tokenizer
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def push(self, token: int) -> str:
        """The text that this token completes, "" for none."""
        piece = self._tokenizer.piece(token)
        if isinstance(piece, bytes):
            return self._decoder.decode(piece)
        if piece and self._decoder.getstate()[0]:
            piece = self._decoder.decode(b"", final=True) + piece  # an unfinished character will not be finished now
        return piece
