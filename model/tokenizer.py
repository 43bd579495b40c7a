"""Text tokens to words people can read."""

from __future__ import annotations

import codecs
from pathlib import Path

import sentencepiece

from model.errors import CheckpointNotFound


class Tokenizer:
    """The pieces of a SentencePiece model, and which tokens are silent."""

    def __init__(self, path: Path, silent: tuple[int, ...]):
        """`silent` are tokens never shown, such as PAD. Raises `CheckpointNotFound`."""
        try:
            processor = sentencepiece.SentencePieceProcessor(model_file=str(path))
        except (OSError, RuntimeError) as error:
            raise CheckpointNotFound(f"The tokenizer {path} can't be read: {error}") from error
        self._pieces: list[str | bytes] = [self._show(processor, token) for token in range(processor.get_piece_size())]
        for token in silent:
            self._pieces[token] = ""

    @staticmethod
    def _show(processor: sentencepiece.SentencePieceProcessor, token: int) -> str | bytes:
        piece = processor.id_to_piece(token)
        if processor.is_byte(token):
            return bytes([int(piece[1:-1], 16)])  # <0xE2>
        if processor.is_control(token) or processor.is_unknown(token):
            return ""
        return piece.replace("▁", " ")

    def piece(self, token: int) -> str | bytes:
        """How a token is shown: text, a single byte of UTF-8, or "" for one that is not shown."""
        return self._pieces[token] if 0 <= token < len(self._pieces) else ""


class TextStream:
    """Joins one slot's tokens into text, holding bytes back until they make whole characters."""

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
