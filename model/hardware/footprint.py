"""What a model asks of a device: bytes held, bytes read and arithmetic done in a step.

Counted from the real modules; on the meta device they are enough (`checkpoints/build.py:meta_model`). Knows no device.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import nn

from model.audio import FRAME_SAMPLES
from model.modes.duplex import Duplex
from model.network.conv import CausalConvTranspose1d
from model.network.mimi import Mimi
from model.network.seanet import ResidualBlock, Seanet
from model.state import nbytes

# Kernels in a captured step, of one pass of a layer: four products, which take in norms and gate where they are ours,
# what attention needs, and two sums. All else: convolutions with their windows, codebooks, and a draw for each stream.
_TEMPORAL_KERNELS = 9  # rotation and ring are one, attention two
_DEPTH_KERNELS = 8  # keys and values so far, attention
_CODEC_KERNELS = 11  # two norms, rotation and ring, attention, GELU
_OTHER_KERNELS = 400


@dataclass(frozen=True, slots=True)
class Footprint:
    """What a model holds in memory."""

    weight_bytes: int
    slot_bytes: int  # the state of one slot


@dataclass(frozen=True, slots=True)
class Work:
    """What a step reads and computes, in total and for each caller."""

    weight_bytes: int  # of the language model, read once for all callers; weights of the depth steps included
    weight_flops: int  # on them, a caller
    key_bytes: int  # keys and values read back, a caller
    codec_bytes: int  # of the codec's weights
    codec_flops: int  # on them in float32, a caller
    codec_key_bytes: int  # of the codec's keys and values, a caller
    kernels: int


def footprint(duplex: Duplex, kv_dtype: torch.dtype | None = None) -> Footprint:
    """What a model holds; keys and values in `kv_dtype` (None: in the language model's dtype)."""
    return Footprint(_nbytes(duplex.parameters()), nbytes(duplex.make_state(1, kv_dtype)))


def work(duplex: Duplex, kv_dtype: torch.dtype | None = None, window: int | None = None) -> Work:
    """What a step does when every caller has had `window` frames (None: as many as the context holds)."""
    config = duplex.config
    context = config.temporal.context
    state = duplex.make_state(1, kv_dtype)
    codec_rings = (state.encoder.transformer.rings, state.decoder.transformer.rings)
    read = list(_read_parameters(duplex))
    kernels = (
        _TEMPORAL_KERNELS * config.temporal.layers
        + _DEPTH_KERNELS * config.depth.layers * config.dep_q
        + _CODEC_KERNELS * 2 * config.mimi.transformer.layers
        + _OTHER_KERNELS
    )
    return Work(
        weight_bytes=_nbytes(read),
        weight_flops=2 * _weights(read),
        key_bytes=nbytes(state.temporal.rings) * min(window or context, context) // context,
        codec_bytes=_nbytes(duplex.mimi.parameters()),
        codec_flops=codec_flops(duplex.mimi),
        codec_key_bytes=nbytes(codec_rings),  # the codec's window is full after ten seconds
        kernels=kernels,
    )


def _read_parameters(duplex: Duplex) -> Iterator[nn.Parameter]:
    """The language model's parameters, each as often as one step reads it whole. Embeddings are only looked into."""
    temporal, depth, config = duplex.temporal, duplex.depth, duplex.config
    for part in (temporal.transformer, temporal.norm, temporal.text_head, depth.input):
        yield from part.parameters()
    for step in range(config.dep_q):
        yield from depth.heads[step].parameters()
        if depth.low_rank:
            yield from depth.low_rank[step].parameters()
        weights = config.depth.weight_of[step]
        for layer in depth.layers:  # shared weights are read again: a pass over all layers is larger than any cache
            for part in (layer.norm1, layer.in_proj[weights], layer.out_proj[weights], layer.norm2):
                yield from part.parameters()
            yield from layer.gating[weights].parameters()


def codec_flops(mimi: Mimi) -> int:
    """Multiplications and additions with the codec's weights, to encode and to decode one frame."""
    coarse, fine = 1, mimi.config.downsample  # positions in a frame: of codes, and of the transformers
    quantizers = mimi.quantizer.first, mimi.quantizer.rest
    products = _seanet_products(mimi.encoder, FRAME_SAMPLES) + _seanet_products(mimi.decoder, fine)
    for transformer in (mimi.encoder_transformer, mimi.decoder_transformer):
        products += fine * _weights(transformer.parameters())
    for part in (mimi.downsample, *quantizers):
        products += coarse * _weights(part.parameters()) if part else 0
    return 2 * (products + sum(part.codebooks.numel() for part in quantizers))


def _seanet_products(seanet: Seanet, positions: int) -> int:
    total = 0
    for layer in seanet.layers:
        if not isinstance(layer, ResidualBlock | CausalConvTranspose1d):
            positions //= layer.stride
        total += positions * _weights(layer.parameters())
        if isinstance(layer, CausalConvTranspose1d):
            positions *= layer.stride
    return total


def _weights(parameters: Iterable[nn.Parameter]) -> int:
    """How many numbers matrices hold: norms, biases and scales are nothing beside them."""
    return sum(parameter.numel() for parameter in parameters if parameter.dim() == 2)


def _nbytes(parameters: Iterable[nn.Parameter]) -> int:
    return sum(parameter.nbytes for parameter in parameters)
