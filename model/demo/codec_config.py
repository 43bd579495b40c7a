"""The demo's codec: its shape, its initial weights, and writing it in the published layout."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from model.checkpoints.defaults import MIMI_JSON
from model.checkpoints.layout import Entry, mimi_layout
from model.checkpoints.moshi_config import mimi_config
from model.network.conv import CausalConv1d, CausalConvTranspose1d, DepthwiseUpsample
from model.network.layers import FeedForward, LayerNorm, Linear
from model.network.mimi import Mimi
from model.network.seanet import ResidualBlock
from model.network.transformer import Layer

CODEBOOKS = 8
CLIP_FRAMES = 10  # in a training clip
_WIDTH = 128

MIMI: dict[str, Any] = MIMI_JSON | {
    "seanet": MIMI_JSON["seanet"] | {"dimension": _WIDTH, "n_filters": 16},
    "quantizer": {
        "dimension": 32, "n_q": CODEBOOKS, "bins": 512, "input_dimension": _WIDTH, "output_dimension": _WIDTH,
    },
    "transformer": MIMI_JSON["transformer"] | {
        "d_model": _WIDTH, "num_heads": 4, "num_layers": 2, "dim_feedforward": 4 * _WIDTH, "layer_scale": 1.0,
        "context": 2 * CLIP_FRAMES,  # two positions a frame, so the window is as long as a training clip
        "input_dimension": _WIDTH, "output_dimensions": [_WIDTH],
    },
}  # fmt: skip

_SOUND_RMS = 0.08
_ELU_GAIN = 1.25  # compensates the loss of variance in ELU


@torch.no_grad()
def fresh_codec(rng: torch.Generator, raw: dict[str, Any] = MIMI) -> Mimi:
    """A codec to train, initialised so that a signal keeps its variance through the encoder and the decoder.

    With PyTorch's default initialisation the sound becomes quieter with each layer, and training first learns silence.
    """
    mimi = Mimi(mimi_config(raw, CODEBOOKS)).to_empty(device="cpu")
    for module in mimi.modules():
        _initialise(module, rng)
    branch = 1 / math.sqrt(2 * mimi.config.transformer.layers)
    for module in mimi.modules():
        if isinstance(module, Layer):  # each addition to the residual stream starts smaller than the stream
            assert isinstance(module.feedforward, FeedForward)
            module.out_proj.weight.mul_(branch)
            module.feedforward.linear2.weight.mul_(branch)
            for scale in (module.scale_1, module.scale_2):
                if scale is not None:
                    scale.fill_(1)
        elif isinstance(module, ResidualBlock):
            module.conv2.weight.mul_(0.5)
    first, last = mimi.encoder.layers[0], mimi.decoder.layers[-1]
    assert isinstance(first, CausalConv1d) and isinstance(last, CausalConv1d)
    first.weight.div_(_SOUND_RMS)
    last.weight.mul_(_SOUND_RMS)
    mimi.requires_grad_(True)
    for half in (mimi.quantizer.first, mimi.quantizer.rest):
        half.codebooks.zero_().requires_grad_(False)  # updated by moving averages, not by gradients
    return mimi


def _initialise(module: nn.Module, rng: torch.Generator) -> None:
    if isinstance(module, CausalConv1d):
        gain = _ELU_GAIN if module.activate else 1.0
        module.weight.normal_(0, gain / math.sqrt(module.weight.shape[1]), generator=rng)
        if module.bias is not None:
            module.bias.zero_()
    elif isinstance(module, CausalConvTranspose1d):  # each output sample is the sum of two inputs
        module.weight.normal_(0, _ELU_GAIN / math.sqrt(2 * module.weight.shape[1]), generator=rng)
        module.bias.zero_()
    elif isinstance(module, DepthwiseUpsample):
        module.weight.fill_(1 / math.sqrt(2))
    elif isinstance(module, Linear):
        module.weight.normal_(0, 1 / math.sqrt(module.weight.shape[1]), generator=rng)
    elif isinstance(module, LayerNorm):
        module.weight.fill_(1)
        module.bias.zero_()


def write_codec(directory: Path, mimi: Mimi, raw: dict[str, Any] = MIMI) -> None:
    """Write mimi.safetensors (float16, to be small) and mimi_config.json, as `model.checkpoints.build` reads them."""
    directory.mkdir(parents=True, exist_ok=True)
    tensors = {name: tensor.half() for name, tensor in published(mimi_layout(mimi, mimi.config))}
    save_file(tensors, directory / "mimi.safetensors")
    (directory / "mimi_config.json").write_text(json.dumps(raw, indent=1) + "\n")


@torch.no_grad()
def published(entries: Iterator[Entry]) -> Iterator[tuple[str, Tensor]]:
    """Published names and tensors of the parameters in a layout's entries: the inverse of loading."""
    for entry in entries:
        assert entry.target is not None  # a model in training has every tensor of its file
        if len(entry.names) == 3:  # a codebook: its file has sums and counts
            bins = entry.shapes[1]
            tensors = (entry.target.clone(), torch.ones(bins), torch.ones(1))
            yield from zip(entry.names, tensors, strict=True)
            continue
        shape = entry.shapes[0]
        ours = torch.arange(math.prod(shape)).view(shape)  # loading permutes the elements: find the permutation
        ours = entry.convert(ours) if entry.convert else ours
        theirs = torch.empty(math.prod(shape), dtype=entry.target.dtype)
        theirs[ours.flatten()] = entry.target.flatten()
        yield entry.names[0], theirs.view(shape)
