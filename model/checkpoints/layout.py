"""Canonical names and shapes of all tensors, and the parameter of ours that each one fills.

Canonical names are those of the `moshi` package's split form, with a name for every step's projection. Knows no files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from torch import Tensor

from model.config import DuplexConfig, MimiConfig
from model.modes.duplex import Duplex
from model.network.conv import CausalConv1d, CausalConvTranspose1d
from model.network.depth import Depth, DepthLayer
from model.network.layers import Gated, Linear, Norm, RMSNorm
from model.network.mimi import Mimi
from model.network.seanet import ResidualBlock, Seanet
from model.network.transformer import StreamingTransformer

Part = TypeVar("Part", Linear, Gated)


@dataclass(frozen=True, slots=True)
class Entry:
    """Tensors `names` of these `shapes` fill one parameter of ours, or rows of one.

    `target` None: the tensors may be there, and are not needed. `convert` makes ours of them (None: a reshape does).
    A target of 8 bits has a `scale` for each of its rows.
    """

    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    target: Tensor | None
    convert: Callable[..., Tensor] | None = None
    scale: Tensor | None = None


def moshi_layout(model: Duplex, config: DuplexConfig) -> Iterator[Entry]:
    """The language model's tensors (`moshi/models/lm.py`)."""
    temporal, depth = model.temporal, model.depth
    dim, rows = config.temporal.dim, config.audio_vocab + 1
    for k in range(config.n_q):
        yield _entry(f"emb.{k}.weight", (rows, dim), temporal.audio_embedding[k * rows : (k + 1) * rows])
    yield _entry("text_emb.weight", (config.text_vocab + 1, dim), temporal.text_embedding)
    yield _linear_entry("text_linear", (config.text_vocab_out, dim), temporal.text_head)
    yield from _norm_entries("out_norm", temporal.norm)
    yield from _transformer_entries("transformer", temporal.transformer)
    yield from _depth_entries(depth, config)


def mimi_layout(mimi: Mimi, config: MimiConfig) -> Iterator[Entry]:
    """The codec's tensors (`moshi/models/compression.py`)."""
    for side in ("encoder", "decoder"):
        yield from _seanet_entries(f"{side}.model", getattr(mimi, side))
        yield from _transformer_entries(f"{side}_transformer.transformer", getattr(mimi, f"{side}_transformer"))
    width, stride = config.seanet.dimension, config.downsample
    if mimi.downsample is not None and mimi.upsample is not None:
        conv = mimi.downsample.conv
        yield _entry("downsample.conv.conv.conv.weight", (width, width, 2 * stride), conv.weight, _windowed)
        weight = mimi.upsample.weight
        yield _entry("upsample.convtr.convtr.convtr.weight", (width, 1, 2 * stride), weight, _depthwise)
    first = config.quantizer.semantic_codebooks
    stored = config.quantizer.stored_codebooks
    for name, part, count in (
        ("first", mimi.quantizer.first, first),
        ("rest", mimi.quantizer.rest, stored - first),
    ):
        dim, bins = config.quantizer.dimension, config.quantizer.bins
        yield _entry(f"quantizer.rvq_{name}.input_proj.weight", (dim, width, 1), part.input_proj.weight)
        yield _entry(f"quantizer.rvq_{name}.output_proj.weight", (width, dim, 1), part.output_proj.weight)
        for i in range(count):
            book = f"quantizer.rvq_{name}.vq.layers.{i}._codebook"
            target = part.codebooks[i] if i < len(part.codebooks) else None
            names = (f"{book}.embedding_sum", f"{book}.cluster_usage", f"{book}._initialized")
            yield Entry(names, ((bins, dim), (bins,), (1,)), target, _centroids)


def _depth_entries(depth: Depth, config: DuplexConfig) -> Iterator[Entry]:
    shape = config.depth
    dim, rows, stored = shape.dim, config.audio_vocab + 1, shape.stored_codebooks
    rank = shape.low_rank or dim
    for k in range(max(shape.input_of) + 1):
        weight = _rows(depth.input.weight, k, dim)
        scale = None if depth.input.scale is None else _rows(depth.input.scale, k, dim)
        yield Entry((f"depformer_in.{k}.weight",), ((dim, config.temporal.dim),), weight, scale=scale)
    audio = [(f"depformer_emb.{k}", rows, _rows(depth.audio_embedding, k, rows)) for k in range(stored - 1)]
    embeddings = [("depformer_text_emb", config.text_vocab + 1, depth.text_embedding), *audio]
    for step, (name, count, target) in enumerate(embeddings):
        yield _entry(f"{name}.weight", (count, rank), target)
        if shape.low_rank:
            yield _linear_entry(f"{name}.low_rank", (dim, rank), _get(depth.low_rank, step))
    for k in range(stored):
        yield _linear_entry(f"linears.{k}", (config.audio_vocab, dim), _get(depth.heads, k))
    for i, layer in enumerate(depth.layers):
        yield from _depth_layer_entries(f"depformer.layers.{i}", layer, config)


def _depth_layer_entries(name: str, layer: DepthLayer, config: DuplexConfig) -> Iterator[Entry]:
    shape, dim = config.depth, config.depth.dim
    yield from _norm_entries(f"{name}.norm1", layer.norm1)
    yield from _norm_entries(f"{name}.norm2", layer.norm2)
    for w, width in enumerate(shape.feedforward):
        yield _linear_entry(f"{name}.self_attn.in_projs.{w}", (3 * dim, dim), _get(layer.in_proj, w))
        yield _linear_entry(f"{name}.self_attn.out_projs.{w}", (dim, dim), _get(layer.out_proj, w))
        gate = f"{name}.gating.{w}"
        gating = _get(layer.gating, w)
        yield _linear_entry(f"{gate}.linear_in", (2 * width, dim), gating and gating.linear_in)
        yield _linear_entry(f"{gate}.linear_out", (dim, width), gating and gating.linear_out)


def _transformer_entries(name: str, transformer: StreamingTransformer) -> Iterator[Entry]:
    config = transformer.config
    dim = config.dim
    for i, layer in enumerate(transformer.layers):
        at = f"{name}.layers.{i}"
        yield from _norm_entries(f"{at}.norm1", layer.norm1)
        yield from _norm_entries(f"{at}.norm2", layer.norm2)
        yield _linear_entry(f"{at}.self_attn.in_projs.0", (3 * dim, dim), layer.in_proj)
        yield _linear_entry(f"{at}.self_attn.out_projs.0", (dim, dim), layer.out_proj)
        feedforward = layer.feedforward
        if isinstance(feedforward, Gated):
            yield _linear_entry(f"{at}.gating.linear_in", (2 * config.feedforward, dim), feedforward.linear_in)
            yield _linear_entry(f"{at}.gating.linear_out", (dim, config.feedforward), feedforward.linear_out)
        else:
            yield _linear_entry(f"{at}.linear1", (config.feedforward, dim), feedforward.linear1)
            yield _linear_entry(f"{at}.linear2", (dim, config.feedforward), feedforward.linear2)
        if config.layer_scale:
            yield _entry(f"{at}.layer_scale_1.scale", (dim,), layer.scale_1)
            yield _entry(f"{at}.layer_scale_2.scale", (dim,), layer.scale_2)


def _norm_entries(name: str, norm: Norm) -> Iterator[Entry]:
    if isinstance(norm, RMSNorm):
        yield _entry(f"{name}.alpha", (1, 1, len(norm.alpha)), norm.alpha)
    else:
        yield _entry(f"{name}.weight", tuple(norm.weight.shape), norm.weight)
        yield _entry(f"{name}.bias", tuple(norm.bias.shape), norm.bias)


def _seanet_entries(name: str, seanet: Seanet) -> Iterator[Entry]:
    index = 0  # in the published chain, where ELU is a layer of its own
    for layer in seanet.layers:
        if isinstance(layer, ResidualBlock):
            yield from _conv_entries(f"{name}.{index}.block.1.conv.conv", layer.conv1)
            yield from _conv_entries(f"{name}.{index}.block.3.conv.conv", layer.conv2)
        elif isinstance(layer, CausalConvTranspose1d):
            index += 1
            published = (layer.weight.shape[1], layer.channels_out, 2 * layer.stride)
            yield _entry(f"{name}.{index}.convtr.convtr.weight", published, layer.weight, _transposed)
            yield _entry(f"{name}.{index}.convtr.convtr.bias", (layer.channels_out,), layer.bias)
        else:
            index += layer.activate
            yield from _conv_entries(f"{name}.{index}.conv.conv", layer)
        index += 1


def _conv_entries(name: str, conv: CausalConv1d) -> Iterator[Entry]:
    published = (conv.weight.shape[0], conv.channels_in, conv.kernel)
    yield _entry(f"{name}.weight", published, conv.weight, _windowed)
    if conv.bias is not None:
        yield _entry(f"{name}.bias", tuple(conv.bias.shape), conv.bias)


def _windowed(weight: Tensor) -> Tensor:  # [out, in, kernel] → [out, kernel · in]
    return weight.permute(0, 2, 1)


def _transposed(weight: Tensor) -> Tensor:  # [in, out, kernel] → [kernel · out, in]
    return weight.permute(2, 1, 0)


def _depthwise(weight: Tensor) -> Tensor:  # [C, 1, kernel] → [kernel, C]
    return weight[:, 0].T


def _centroids(embedding_sum: Tensor, cluster_usage: Tensor, _initialized: Tensor) -> Tensor:
    return embedding_sum.float() / cluster_usage.float().clamp(min=1e-5)[:, None]


def _entry(
    name: str, shape: tuple[int, ...], target: Tensor | None, convert: Callable[..., Tensor] | None = None
) -> Entry:
    return Entry((name,), (shape,), target, convert)


def _linear_entry(name: str, shape: tuple[int, int], linear: Linear | None) -> Entry:
    return Entry((f"{name}.weight",), (shape,), linear and linear.weight, scale=linear and linear.scale)


def _rows(stack: Tensor, index: int, count: int) -> Tensor | None:
    """The index-th run of `count` rows; None past the end, where a checkpoint holds more than is run."""
    rows = stack[index * count : (index + 1) * count]
    return rows if len(rows) else None


def _get(parts: list[Part], index: int) -> Part | None:
    return parts[index] if index < len(parts) else None
