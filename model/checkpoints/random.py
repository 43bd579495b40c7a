"""A checkpoint of any shape with random weights, in the published layout.

For tests against golden tokens, and for measuring speed, which does not depend on the values of the weights. A tensor
is a pure function of the seed and of its published name.
"""

from __future__ import annotations

import io
import json
import math
import random
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import sentencepiece
import torch
from safetensors.torch import save_file
from torch import Tensor

from model.checkpoints.defaults import MIMI_JSON, MOSHI_JSON
from model.checkpoints.layout import Entry, mimi_layout, moshi_layout
from model.checkpoints.moshi_config import duplex_config
from model.modes.duplex import Duplex

# A Moshi small enough for a laptop's core: it says nothing that makes sense, but in real time.
BABBLE: dict[str, Any] = {
    "dim": 128,
    "num_heads": 4,
    "num_layers": 3,
    "context": 250,
    "card": 256,
    "text_card": 500,
    "depformer_dim": 64,
    "depformer_dim_feedforward": 264,
    "depformer_num_heads": 2,
    "depformer_num_layers": 2,
}


def shallow_7b(layers: int) -> dict[str, Any]:
    """The 7B with `layers` temporal layers and one layer of its depth transformer."""
    return {"num_layers": layers, "depformer_num_layers": 1}


# What config.json says of the files beside it.
FILE_NAMES = {
    "model_type": "moshi",
    "moshi_name": "model.safetensors",
    "mimi_name": "mimi.safetensors",
    "mimi_config_name": "mimi_config.json",
    "tokenizer_name": "tokenizer.model",
}


def small_mimi(bins: int, codebooks: int = 8, width: int = 64, filters: int = 8) -> dict[str, Any]:
    """A Mimi configuration of the published form, a few hundred thousand parameters large."""
    sides = {"input_dimension": width, "output_dimension": width}
    transformer = {"d_model": width, "num_heads": 4, "num_layers": 2, "context": 50, "dim_feedforward": 4 * width}
    transformer |= {"input_dimension": width, "output_dimensions": [width]}
    return MIMI_JSON | {
        "seanet": MIMI_JSON["seanet"] | {"dimension": width, "n_filters": filters},
        "quantizer": {"dimension": 32, "n_q": codebooks, "bins": bins} | sides,
        "transformer": MIMI_JSON["transformer"] | transformer,
    }


def write_checkpoint(
    directory: Path,
    lm: dict[str, Any] | None = None,
    mimi: dict[str, Any] | None = None,
    *,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
    stacked: bool = True,
) -> None:
    """Write config.json, weights, codec and tokenizer into `directory`.

    `lm` overrides the 7B's arguments (None: `BABBLE`); `stacked` names the depth projections as published files do,
    else as a saved reference model does.
    """
    lm = MOSHI_JSON | (BABBLE if lm is None else lm)
    mimi = mimi or small_mimi(lm["card"], max(lm["dep_q"], lm["n_q"] - lm["dep_q"]))
    config = duplex_config(lm, mimi, stored_linears=lm["dep_q"])
    model = Duplex(config)
    directory.mkdir(parents=True, exist_ok=True)
    weights = {name: tensor.to(dtype) for name, tensor in _tensors(moshi_layout(model, config), seed)}
    save_file(_stack(weights) if stacked else weights, directory / "model.safetensors")
    codec = dict(_tensors(mimi_layout(model.mimi, config.mimi), seed))
    save_file(_stack(codec) if stacked else codec, directory / "mimi.safetensors")
    (directory / "tokenizer.model").write_bytes(tokenizer(config.text_vocab))
    (directory / "mimi_config.json").write_text(json.dumps(mimi, indent=1))
    (directory / "config.json").write_text(json.dumps(lm | FILE_NAMES, indent=1))


def random_tensor(name: str, shape: tuple[int, ...], seed: int) -> Tensor:
    """The float32 tensor of this published name: uniform, and scaled so that signals keep their size."""
    bits = np.random.PCG64(zlib.crc32(f"{seed}/{name}".encode()))
    noise = torch.from_numpy(np.random.Generator(bits).random(shape, dtype=np.float32) * 2 - 1) * math.sqrt(3)
    if name.endswith("_initialized"):
        return torch.ones(shape)
    if name.endswith("cluster_usage"):
        return noise * 0.2 + 1
    if name.endswith("embedding_sum"):
        level = int(match[1]) + 1 if (match := re.search(r"rvq_rest.*layers\.(\d+)", name)) else 0
        return noise * 0.8 * 0.85**level  # each codebook finer than the one before
    if name.endswith(("alpha", "norm1.weight", "norm2.weight")):
        return noise * 0.05 + 1
    if name.endswith("scale"):
        return noise * 0.05 + 0.3
    if name.endswith("bias"):
        return noise * 0.02
    if ".convtr." in name:
        fan_in = 2 * (shape[0] if shape[1] > 1 else 1)  # each output sample hears two inputs
    else:
        fan_in = math.prod(shape[1:])
    gain = _GAINS.get(name.split(".")[0], 1.0)
    return noise * gain / math.sqrt(fan_in)


_GAINS = {"encoder": 1.2, "decoder": 0.55, "linears": 2.0, "text_linear": 2.0}


def _tensors(entries: Iterator[Entry], seed: int) -> Iterator[tuple[str, Tensor]]:
    for entry in entries:
        for name, shape in zip(entry.names, entry.shapes, strict=True):
            yield name, random_tensor(name, shape, seed)


def _stack(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Join the per-step projections under the names of the published files."""
    joined: dict[str, list[Tensor]] = {}
    for name, tensor in weights.items():
        stacked = re.sub(r"in_projs\.\d+\.weight$", "in_proj_weight", name)
        stacked = re.sub(r"out_projs\.\d+\.weight$", "out_proj.weight", stacked)
        joined.setdefault(stacked, []).append(tensor)
    return {name: torch.cat(parts) for name, parts in joined.items()}


def tokenizer(pieces: int, *, byte_fallback: bool = False) -> bytes:
    """A SentencePiece model over made-up words with PAD at 3; perhaps, as the published ones, with a piece a byte."""
    rng = random.Random(0)
    syllables = [consonant + vowel for consonant in "bcdfghjklmnprstvwz" for vowel in "aeiou"]
    words = ["".join(rng.choices(syllables, k=rng.randint(1, 3))) for _ in range(1500)]
    lines = (" ".join(rng.choices(words, k=8)) + rng.choice(".,?!") for _ in range(2000))
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=lines, model_writer=model, vocab_size=pieces, pad_id=3, unk_id=0, bos_id=1, eos_id=2,
        hard_vocab_limit=False, byte_fallback=byte_fallback, minloglevel=2,
    )  # fmt: skip
    return model.getvalue()
