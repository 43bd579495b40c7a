"""A model built from a checkpoint, or from its shape alone."""

from __future__ import annotations

import torch

from model.checkpoints.family import Checkpoint
from model.checkpoints.layout import mimi_layout, moshi_layout
from model.checkpoints.loader import Progress, load
from model.config import DuplexConfig
from model.modes import make_mode
from model.modes.duplex import Duplex
from model.network.layers import quantize_linears_
from model.tokenizer import Tokenizer


def meta_model(config: DuplexConfig, dtype: torch.dtype, weight_dtype: torch.dtype | None = None) -> Duplex:
    """A model on the meta device: parameters with shapes and dtypes, and no memory. Dtypes are as in `build`."""
    duplex = make_mode(config)
    for part in (duplex.temporal.to(dtype), duplex.depth.to(dtype)):
        if weight_dtype is not None:
            quantize_linears_(part, weight_dtype)
    return duplex


def meta_model_of(checkpoint: Checkpoint, dtype: torch.dtype, weight_dtype: torch.dtype | None = None) -> Duplex:
    """The same for what `build` makes of a checkpoint."""
    return meta_model(checkpoint.config, dtype, checkpoint.language_model.linear_dtype or weight_dtype)


@torch.no_grad()
def build(
    checkpoint: Checkpoint,
    device: torch.device,
    dtype: torch.dtype,
    progress: Progress | None = None,
    weight_dtype: torch.dtype | None = None,
) -> tuple[Duplex, Tokenizer]:
    """Build the model straight on `device`: the language model in `dtype`, the codec in float32.

    `weight_dtype`, int8 or fp8, holds the language model's linear layers in 8 bits (`quantize.py`); those that the
    checkpoint holds in int8 stay as they are. Embeddings are looked up, not multiplied by, and keep `dtype`. Parameters
    are made empty and filled tensor by tensor, so that the memory needed is that of the weights and one tensor more.
    Raises `WeightsError`.
    """
    duplex = meta_model_of(checkpoint, dtype, weight_dtype)
    config = duplex.config
    for part in (duplex.mimi, duplex.temporal, duplex.depth):
        part.to_empty(device=device)
    duplex.to(device)
    load(checkpoint.language_model, moshi_layout(duplex, config), progress)
    load(checkpoint.codec, mimi_layout(duplex.mimi, config.mimi), progress)
    return duplex.eval(), Tokenizer(checkpoint.pieces, silent=(config.text_pad, config.text_end_pad))
