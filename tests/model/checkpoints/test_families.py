"""The seam for checkpoint families: a toy layout gives the published one's tokens; unsupported ones are named."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from model.audio import FRAME_SAMPLES
from model.checkpoints import families
from model.checkpoints.build import build
from model.checkpoints.families import config_at, find
from model.checkpoints.family import Checkpoint
from model.checkpoints.files import in_directory
from model.checkpoints.pieces import read_pieces
from model.checkpoints.random import write_checkpoint
from model.errors import CheckpointNotFound, UnsupportedModel, WeightsError
from model.modes.duplex import DuplexInputs
from tests.golden.cases import speech_like
from tests.model.checkpoints.toy_family import SHARDS, ToyFamily, convert


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("published")
    write_checkpoint(directory, stacked=False)
    path = directory / "model.safetensors"
    tensors = load_file(path)
    tensors["text_linear.weight"] = (64 * tensors["text_linear.weight"]).round().clamp(-127, 127) / 64
    save_file(tensors, path)
    return directory


@pytest.fixture
def toy(published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same checkpoint in the toy layout, whose family is registered for one test."""
    monkeypatch.setattr(families, "FAMILIES", (ToyFamily(), *families.FAMILIES))
    pieces = [str(piece) for piece in read_pieces(published / "tokenizer.model")]
    convert(published, tmp_path / "toy", config_at(published), pieces)
    return tmp_path / "toy"


@torch.inference_mode()
def said(checkpoint: Checkpoint) -> tuple[torch.Tensor, str]:
    """The tokens of 20 frames [T, 1 + dep_q], and their text."""
    duplex, tokenizer = build(checkpoint, torch.device("cpu"), torch.float32)
    state = duplex.make_state(1)
    pcm = torch.from_numpy(speech_like(20).astype(np.float32) / 32768)
    tokens = torch.cat([duplex.step(DuplexInputs(frame[None]), state).tokens for frame in pcm.split(FRAME_SAMPLES)])
    return tokens, "".join(str(tokenizer.piece(token)) for token in tokens[:, 0].tolist())


def test_a_toy_family_gives_the_tokens_of_the_published_layout(published: Path, toy: Path):
    theirs, ours = find(in_directory(published)), find(in_directory(toy))
    assert ours.config == theirs.config == config_at(toy)
    assert ours.sampling == {"audio_temperature": 0.5}
    (tokens, text), (expected, expected_text) = said(ours), said(theirs)
    assert torch.equal(tokens, expected)
    assert text == expected_text
    assert len(tokens[:, 1].unique()) > 5


def test_the_loader_names_a_tensor_that_a_family_does_not_provide(toy: Path):
    tensors = load_file(toy / SHARDS[1])
    del tensors[next(key for key in tensors if key.startswith("speaker/emb"))]
    save_file(tensors, toy / SHARDS[1])
    with pytest.raises(WeightsError, match=r"toy lacks emb\.\d+\.weight"):
        said(find(in_directory(toy)))


def test_the_bytes_to_read_equal_the_size_of_the_files(published: Path):
    checkpoint = find(in_directory(published))
    stored = sum((published / name).stat().st_size for name in ("model.safetensors", "mimi.safetensors"))
    assert checkpoint.nbytes == pytest.approx(stored, rel=0.02)  # except for their headers
    read: list[int] = []
    build(checkpoint, torch.device("cpu"), torch.float32, read.append)
    assert sum(read) == checkpoint.nbytes


def test_each_file_is_fetched_once(published: Path):
    fetched: list[str] = []
    resolve = in_directory(published)

    def noted(name: str) -> Path:
        fetched.append(name)
        return resolve(name)

    find(noted)
    names = ["config.json", "mimi.safetensors", "mimi_config.json", "model.safetensors", "tokenizer.model"]
    assert sorted(fetched) == names


def mlx(directory: Path) -> None:
    tensors = load_file(directory / "model.safetensors")
    names = {"out_norm.alpha": "out_norm.weight", "depformer_in.0.weight": "depformer.slices.0.linear_in.weight"}
    save_file({names.get(name, name): tensor for name, tensor in tensors.items()}, directory / "model.safetensors")


def gguf(directory: Path) -> None:
    (directory / "model.safetensors").write_bytes(b"GGUF" + bytes(100))


def unknown(directory: Path) -> None:
    save_file({"a": torch.ones(1)}, directory / "model.safetensors")


def transformers(directory: Path) -> None:
    (directory / "config.json").write_text(json.dumps({"model_type": "moshi", "audio_encoder_config": {}}))


@pytest.mark.parametrize(
    ("spoil", "told"),
    [(mlx, "named for MLX"), (gguf, "a GGUF file"), (unknown, "in an unknown layout"), (transformers, "Transformers")],
)
def test_unsupported_families_are_refused_by_name(changed, spoil, told: str):
    directory = changed("config.json", lambda config: None)
    spoil(directory)
    with pytest.raises(UnsupportedModel, match=rf"{told}.*kyutai/moshiko-pytorch-q8"):
        find(in_directory(directory))


def test_a_missing_directory_is_named(tmp_path: Path):
    with pytest.raises(CheckpointNotFound, match="no checkpoint directory"):
        config_at(tmp_path / "nowhere")
    with pytest.raises(CheckpointNotFound, match=r"has no file model\.safetensors"):
        find(in_directory(tmp_path))
