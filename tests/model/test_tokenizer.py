"""Tokens are decoded into text, only in whole characters."""

from __future__ import annotations

from pathlib import Path

import pytest

from model.checkpoints.pieces import read_pieces
from model.checkpoints.random import tokenizer as random_tokenizer
from model.errors import CheckpointNotFound
from model.tokenizer import TextStream, Tokenizer


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    path = tmp_path_factory.mktemp("words") / "tokenizer.model"
    path.write_bytes(random_tokenizer(500, byte_fallback=True))
    return Tokenizer(read_pieces(path), silent=(3, 0))


def byte(value: int) -> int:
    """The token of one byte. SentencePiece has the 256 byte tokens after its four control tokens."""
    return 4 + value


def test_pieces(tokenizer: Tokenizer):
    shown = [tokenizer.piece(token) for token in range(260, 500)]
    assert any(isinstance(piece, str) and piece.startswith(" ") for piece in shown)
    assert not any("▁" in piece for piece in shown if isinstance(piece, str))
    assert [tokenizer.piece(token) for token in (0, 1, 2, 3, -1, -2, 10**6)] == [""] * 7


def test_bytes_join_into_characters(tokenizer: Tokenizer):
    stream = TextStream(tokenizer)
    said = [stream.push(byte(value)) for value in "h€é".encode()]
    assert said == ["h", "", "", "€", "", "é"]


def test_padding_does_not_break_a_character(tokenizer: Tokenizer):
    stream = TextStream(tokenizer)
    first, *rest = "é".encode()
    assert [stream.push(byte(first)), stream.push(3), *[stream.push(byte(value)) for value in rest]] == ["", "", "é"]


def test_an_unfinished_character_is_replaced(tokenizer: Tokenizer):
    stream = TextStream(tokenizer)
    word = next(t for t in range(260, 500) if str(tokenizer.piece(t)).startswith(" "))
    assert stream.push(byte(0xE2)) == ""
    said = stream.push(word)
    assert said == f"�{tokenizer.piece(word)}"
    said.encode()


def test_a_missing_tokenizer_is_named(tmp_path: Path):
    with pytest.raises(CheckpointNotFound, match="can't be read"):
        read_pieces(tmp_path / "none.model")
