"""Mimi over whole clips from a fresh state, for training, with the same weights and results as in the server.

The server keeps sound as [S, T, C] and multiplies windows of it, which is fast for one frame of many slots. For a whole
clip PyTorch's own convolutions are faster, above all in the backward pass. A test compares the results of both.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from model.network.conv import CausalConv1d, CausalConvTranspose1d
from model.network.mimi import Mimi
from model.network.seanet import ResidualBlock, Seanet


def latents(mimi: Mimi, pcm: Tensor) -> Tensor:
    """Encode clips [B, F · FRAME_SAMPLES] to latents [B, F, C], the quantizer's input."""
    x = _chain(mimi.encoder, pcm[:, None]).mT
    x = mimi.encoder_transformer(x, mimi.encoder_transformer.make_state(len(x)), None)
    assert mimi.downsample is not None
    conv = mimi.downsample.conv
    return _conv(conv, x.mT, "replicate").mT


def sounds(mimi: Mimi, latent: Tensor) -> Tensor:
    """Decode latents [B, F, C], the quantizer's output, to clips [B, F · FRAME_SAMPLES]."""
    assert mimi.upsample is not None
    x = mimi.upsample(latent, mimi.upsample.make_state(len(latent)), None)
    x = mimi.decoder_transformer(x, mimi.decoder_transformer.make_state(len(x)), None)
    return _chain(mimi.decoder, x.mT)[:, 0]


def _chain(seanet: Seanet, x: Tensor) -> Tensor:  # [B, C, T]
    for layer in seanet.layers:
        if isinstance(layer, ResidualBlock):
            x = x + _conv(layer.conv2, _conv(layer.conv1, x))
        elif isinstance(layer, CausalConvTranspose1d):
            x = _transposed(layer, x)
        else:
            x = _conv(layer, x)
    return x


def _conv(layer: CausalConv1d, x: Tensor, padding: str = "constant") -> Tensor:
    if layer.activate:
        x = F.elu(x)
    weight = layer.weight.view(-1, layer.kernel, layer.channels_in).mT
    x = F.pad(x, (layer.past_samples, 0), padding)
    return F.conv1d(x, weight, layer.bias, layer.stride, dilation=layer.dilation)


def _transposed(layer: CausalConvTranspose1d, x: Tensor) -> Tensor:
    weight = layer.weight.view(2 * layer.stride, layer.channels_out, -1).permute(2, 1, 0)
    return F.conv_transpose1d(F.elu(x), weight, layer.bias, layer.stride)[..., : x.shape[-1] * layer.stride]
