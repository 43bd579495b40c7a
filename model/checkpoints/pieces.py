"""Text pieces from a SentencePiece model."""

from __future__ import annotations

from pathlib import Path

from sentencepiece import SentencePieceProcessor

from model.errors import CheckpointNotFound


def read_pieces(path: Path) -> tuple[str | bytes, ...]:
    """What each token shows, see `Tokenizer`. Raises `CheckpointNotFound` for a file that can't be read."""
    try:
        processor = SentencePieceProcessor(model_file=str(path))
    except (OSError, RuntimeError) as error:
        raise CheckpointNotFound(f"The tokenizer {path} can't be read: {error}") from error
    return tuple(_shown(processor, token) for token in range(processor.get_piece_size()))


def _shown(processor: SentencePieceProcessor, token: int) -> str | bytes:
    piece = processor.id_to_piece(token)
    if processor.is_byte(token):
        return bytes([int(piece[1:-1], 16)])  # <0xE2>
    if processor.is_control(token) or processor.is_unknown(token):
        return ""
    return piece.replace("▁", " ")
