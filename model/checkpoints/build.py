"""A checkpoint, found on disk and built into a `Duplex`.

A checkpoint is a directory in the published layout: config.json (or none: Moshi 7B) and the files that it names.
Downloading is not done here: whoever calls gives a `resolve` for files that lie elsewhere.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from model.checkpoints.layout import mimi_layout, moshi_layout
from model.checkpoints.loader import Lora, Progress, is_q8, linears_in, load
from model.config import DuplexConfig, duplex_config
from model.errors import CheckpointNotFound, UnsupportedModel
from model.modes.duplex import Duplex
from model.network.layers import quantize_linears_
from model.tokenizer import Tokenizer

MOSHI_NAME = "model.safetensors"
MIMI_NAME = "tokenizer-e351c8d8-checkpoint125.safetensors"
TOKENIZER_NAME = "tokenizer_spm_32k_3.model"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Where a checkpoint's files are, and what its config.json says (None: there is none)."""

    raw: dict[str, Any] | None
    moshi: Path
    mimi: Path
    tokenizer: Path
    mimi_config: Path | None
    lora: Lora | None


def find(resolve: Callable[[str], Path]) -> Checkpoint:
    """Locate a checkpoint's files. `resolve(name)` gives a local path or raises `CheckpointNotFound`.

    A name is a file of the checkpoint, `hf://org/repo/file` or `file://path`. Raises `UnsupportedModel` for a
    config.json that can't be read, or says that there is a LoRA and not where.
    """
    try:
        raw = _json(resolve("config.json"))
    except CheckpointNotFound:
        raw = None
    said = raw or {}
    mimi_config = said.get("mimi_config_name")
    return Checkpoint(
        raw,
        resolve(said.get("moshi_name") or MOSHI_NAME),
        resolve(said.get("mimi_name") or MIMI_NAME),
        resolve(said.get("tokenizer_name") or TOKENIZER_NAME),
        resolve(mimi_config) if mimi_config else None,
        _lora(said, resolve),
    )


def _lora(said: dict[str, Any], resolve: Callable[[str], Path]) -> Lora | None:
    name = said.get("lora_name")
    if not name and said.get("lora"):
        raise UnsupportedModel("config.json says that there is a LoRA, but no lora_name says in which file.")
    if not name:
        return None
    rank, scaling = said.get("lora_rank", 128), said.get("lora_scaling", 2.0)
    if not isinstance(rank, int) or not isinstance(scaling, int | float):
        raise UnsupportedModel(f"config.json says lora_rank = {rank!r} and lora_scaling = {scaling!r}: no such LoRA.")
    return Lora(resolve(name), rank, scaling)


def in_directory(directory: Path) -> Callable[[str], Path]:
    """A `resolve` for a checkpoint directory."""
    if not directory.is_dir():
        raise CheckpointNotFound(f"There is no checkpoint directory {directory}.")

    def resolve(name: str) -> Path:
        path = Path(name.removeprefix("file://")) if name.startswith("file://") else directory / name
        if not path.is_file():
            raise CheckpointNotFound(f"The checkpoint in {directory} has no file {name}.")
        return path

    return resolve


def config_of(checkpoint: Checkpoint) -> DuplexConfig:
    """The shape of the model. Raises `UnsupportedModel`, `CheckpointNotFound`."""
    mimi_raw = _json(checkpoint.mimi_config) if checkpoint.mimi_config else None
    return _config(checkpoint.raw, mimi_raw, linears_in(checkpoint.moshi))


def config_at(path: Path) -> DuplexConfig:
    """The shape that a checkpoint directory or a config.json describes, whether its weights are there or not.

    Raises `UnsupportedModel`, `CheckpointNotFound`.
    """
    directory, file = (path, path / "config.json") if path.is_dir() else (path.parent, path)
    if not path.exists():
        raise CheckpointNotFound(f"There is no checkpoint directory and no config.json {path}.")
    raw = _json(file) if file.exists() else None
    said = raw or {}
    mimi_config = said.get("mimi_config_name")
    moshi = directory / (said.get("moshi_name") or MOSHI_NAME)
    mimi_raw = _json(in_directory(directory)(mimi_config)) if mimi_config else None
    return _config(raw, mimi_raw, linears_in(moshi) if moshi.is_file() else None)


def _config(raw: dict[str, Any] | None, mimi_raw: dict[str, Any] | None, stored_linears: int | None) -> DuplexConfig:
    try:
        return duplex_config(raw, mimi_raw, stored_linears=stored_linears)
    except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        raise UnsupportedModel(f"The checkpoint's configuration can't be understood: {error!r}.") from error


def meta_model(config: DuplexConfig, dtype: torch.dtype, weight_dtype: torch.dtype | None = None) -> Duplex:
    """A model whose parameters have shapes and dtypes and no memory yet; `dtype` and `weight_dtype` as in `build`."""
    duplex = Duplex(config)
    for part in (duplex.temporal.to(dtype), duplex.depth.to(dtype)):
        if weight_dtype is not None:
            quantize_linears_(part, weight_dtype)
    return duplex


def meta_model_of(checkpoint: Checkpoint, dtype: torch.dtype, weight_dtype: torch.dtype | None = None) -> Duplex:
    """The outline of what `build` makes of a checkpoint."""
    return meta_model(config_of(checkpoint), dtype, torch.int8 if is_q8(checkpoint.moshi) else weight_dtype)


@torch.no_grad()
def build(
    checkpoint: Checkpoint,
    device: torch.device,
    dtype: torch.dtype,
    progress: Progress | None = None,
    weight_dtype: torch.dtype | None = None,
) -> tuple[Duplex, Tokenizer]:
    """Build the model straight on `device`: the language model in `dtype`, the codec in float32.

    `weight_dtype` puts the language model's linear layers into 8 bits (`model.quantize`); those
    of a q8 checkpoint are in int8 as they are. Embeddings are looked up, not multiplied by, and stay as they are.
    Parameters are made empty and filled tensor by tensor, so that the memory needed is that of the weights and one
    tensor more. Raises `UnsupportedModel`, `WeightsError`, `CheckpointNotFound`.
    """
    duplex = meta_model_of(checkpoint, dtype, weight_dtype)
    config = duplex.config
    for part in (duplex.mimi, duplex.temporal, duplex.depth):
        part.to_empty(device=device)
    duplex.to(device)
    load(checkpoint.moshi, moshi_layout(duplex, config), config.depth.stored_weight_sets, progress, checkpoint.lora)
    load(checkpoint.mimi, mimi_layout(duplex.mimi, config.mimi), 1, progress)
    tokenizer = Tokenizer(checkpoint.tokenizer, silent=(config.text_pad, config.text_end_pad))
    return duplex.eval(), tokenizer


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise UnsupportedModel(f"{path} is not a readable JSON file: {error}.") from error
    if not isinstance(content, dict):
        raise UnsupportedModel(f"{path} holds no JSON object.")
    return content
