"""Kyutai's PyTorch checkpoints: Moshi, PersonaPlex, and models trained on from them, also with a LoRA.

A config.json (or none: Moshi 7B) names one safetensors file for the language model, one for Mimi and a SentencePiece
model, and may name Mimi's JSON and a LoRA. Tensors have their canonical names, with three exceptions that are undone
here: published files stack the projections of all depth steps in one tensor, old Mimi files have other names for their
codebooks, and q8 files hold linears in int8 beside the largest magnitude of each row.
"""

from __future__ import annotations

import re
from functools import partial
from math import prod
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from model.checkpoints.defaults import MIMI_NAME, MOSHI_NAME, TOKENIZER_NAME
from model.checkpoints.family import Checkpoint, Lora, StoredTensor, Weights
from model.checkpoints.files import Files, open_safetensors
from model.checkpoints.moshi_config import duplex_config
from model.checkpoints.pieces import read_pieces
from model.config import DuplexConfig
from model.errors import UnsupportedModel, WeightsError
from model.quantize import dequantize

_OF_THIS_FAMILY = {"out_norm.alpha", "depformer_in.0.weight"}
_OLD_NAMES = {
    r"\._codebook\.inited$": "._codebook._initialized",
    r"\._codebook\.cluster_size$": "._codebook.cluster_usage",
    r"\._codebook\.(embed_avg|embed_sum)$": "._codebook.embedding_sum",
}
_PROJECTION = re.compile(r"(.*\.self_attn\.)(in|out)_proj[._](weight|weight_scb|lora_[AB]\.weight)")
_ITEM_BYTES = {"BOOL": 1, "I8": 1, "U8": 1, "F8_E4M3": 1, "F8_E5M2": 1, "F16": 2, "BF16": 2, "F64": 8, "I64": 8}

_SAMPLING_NAMES = {
    "temp": "audio_temperature",
    "temp_text": "text_temperature",
    "top_k": "audio_topk",
    "top_k_text": "text_topk",
}  # of lm_gen_config, and ours


class PyTorchFamily:
    """See `Family`."""

    def matches(self, files: Files) -> bool:
        config = files.find_json("config.json") or {}
        if "audio_encoder_config" in config:  # Transformers' config.json has model_type "moshi" too
            return False
        name = config.get("moshi_name") or MOSHI_NAME
        path = files.find(name)
        if path is None:
            return True  # `open` says which file is missing
        with path.open("rb") as file:
            if file.read(4) == b"GGUF":
                return False
        return not _OF_THIS_FAMILY.isdisjoint(files.keys(name))

    def config(self, files: Files) -> DuplexConfig:
        raw = files.find_json("config.json")
        mimi_config_name = (raw or {}).get("mimi_config_name")
        mimi_raw = files.json(mimi_config_name) if mimi_config_name else None
        moshi_name = (raw or {}).get("moshi_name") or MOSHI_NAME
        stored_linears = None
        if files.find(moshi_name):
            keys = files.keys(moshi_name)
            stored_linears = sum(re.fullmatch(r"linears\.\d+\.weight", key) is not None for key in keys)
        try:
            return duplex_config(raw, mimi_raw, stored_linears=stored_linears)
        except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
            raise UnsupportedModel(f"The checkpoint's configuration can't be understood: {error!r}.") from error

    def open(self, files: Files) -> Checkpoint:
        raw = files.find_json("config.json") or {}
        moshi = files.path(raw.get("moshi_name") or MOSHI_NAME)
        mimi = files.path(raw.get("mimi_name") or MIMI_NAME)
        tokenizer = files.path(raw.get("tokenizer_name") or TOKENIZER_NAME)
        config = self.config(files)
        depth_sets = config.depth.stored_weight_sets
        return Checkpoint(
            config,
            read_weights(moshi, depth_sets, lora=_lora(raw, files, depth_sets)),
            read_weights(mimi),
            read_pieces(tokenizer),
            _sampling(raw.get("lm_gen_config")),
        )


def _sampling(lm_gen_config: object) -> dict[str, object]:
    """The recommended sampling defaults by our names; only those that are given."""
    given = lm_gen_config or {}
    if not isinstance(given, dict):
        raise UnsupportedModel("config.json has an lm_gen_config that is not an object.")
    found = {ours: given[theirs] for theirs, ours in _SAMPLING_NAMES.items() if theirs in given}
    if given.get("use_sampling") is False:
        found |= {"text_temperature": 0, "audio_temperature": 0}
    return found


def _lora(raw: dict[str, Any], files: Files, depth_sets: int) -> Lora | None:
    name = raw.get("lora_name")
    if not name and raw.get("lora"):
        raise UnsupportedModel("config.json has lora set but no lora_name: add the name of the LoRA's file.")
    if not name:
        return None
    rank, scaling = raw.get("lora_rank", 128), raw.get("lora_scaling", 2.0)
    if not isinstance(rank, int) or not isinstance(scaling, int | float):
        raise UnsupportedModel(
            f"config.json has lora_rank = {rank!r} and lora_scaling = {scaling!r}; both should be numbers."
        )
    return Lora(read_weights(files.path(name), depth_sets), rank, scaling)


def read_weights(path: Path, depth_sets: int = 1, *, lora: Lora | None = None) -> Weights:
    """The tensors of one safetensors file. Raises `WeightsError`, `CheckpointNotFound`.

    `depth_sets` is how many sets of weights a stacked projection of the depth transformer holds.
    """
    file = open_safetensors(path)
    stored: dict[str, _Stored] = {}
    for key in file.keys():  # noqa: SIM118 - not a dict
        stored |= _named(path, file, key, depth_sets)
    scales = {name.removesuffix("_scb"): name for name in stored if name.endswith("weight_scb")}
    tensors = {
        name: part.to_tensor(path, name, stored.get(f"{name}_scb"))
        for name, part in stored.items()
        if not (name.endswith("weight_scb") and name.removesuffix("_scb") in stored)
    }
    return Weights(path.name, tensors, torch.int8 if scales else None, lora)


def _named(path: Path, file: safe_open, key: str, depth_sets: int) -> dict[str, _Stored]:
    """A stored tensor under its canonical name, or its rows under several."""
    name = key
    for old, new in _OLD_NAMES.items():
        name = re.sub(old, new, name)
    part = file.get_slice(key)
    shape, dtype = tuple(part.get_shape()), part.get_dtype()
    match = _PROJECTION.fullmatch(name)
    if match is None:
        return {name: _Stored(file, key, dtype, shape)}
    count = depth_sets if name.startswith("depformer.") else 1
    if shape[0] % count:
        raise WeightsError(f"{path.name}: {key} has {shape[0]} rows, which {count} steps can't share.")
    rows = shape[0] // count
    return {
        f"{match[1]}{match[2]}_projs.{i}.{match[3]}": _Stored(file, key, dtype, (rows, *shape[1:]), i * rows)
        for i in range(count)
    }


class _Stored:
    """A tensor of a safetensors file, or a run of its rows."""

    def __init__(self, file: safe_open, key: str, dtype: str, shape: tuple[int, ...], first_row: int | None = None):
        self._file, self._key, self._first_row = file, key, first_row
        self.dtype, self.shape = dtype, shape
        self.nbytes = _ITEM_BYTES.get(dtype, 4) * prod(shape)

    def read(self, device: torch.device) -> Tensor:
        if self._first_row is None:
            return self._file.get_tensor(self._key).to(device)
        return self._file.get_slice(self._key)[self._first_row : self._first_row + self.shape[0]].to(device)

    def to_tensor(self, path: Path, name: str, scale: _Stored | None) -> StoredTensor:
        """As others see it; one in int8 is dequantised with its rows' `scale`."""
        if self.dtype != "I8":
            return StoredTensor(self.shape, self.nbytes, self.read)
        if scale is None:
            raise WeightsError(f"{path.name} lacks {name}_scb.")
        if scale.shape != self.shape[:1]:
            raise WeightsError(
                f"{path.name}: {name}_scb has shape {list(scale.shape)}, its weight needs {list(self.shape[:1])}."
            )
        return StoredTensor(self.shape, self.nbytes + scale.nbytes, partial(_dequantized, self, scale))


def _dequantized(part: _Stored, scale: _Stored, device: torch.device) -> Tensor:
    largest = scale.read(device).float()
    return dequantize(part.read(device), largest / 127, torch.float32)
