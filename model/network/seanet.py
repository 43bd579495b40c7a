"""Mimi's convolutional encoder and decoder (SEANet, arXiv:2009.02095; `moshi/modules/seanet.py`)."""

from __future__ import annotations

from typing import TypeAlias, cast

from torch import Tensor, nn

from model.config import SeanetConfig
from model.network.conv import CausalConv1d, CausalConvTranspose1d


class ResidualBlock(nn.Module):
    """A narrow convolution over time and one over channels, added to the input."""

    def __init__(self, channels: int, kernel: int, dilation: int, compress: int):
        super().__init__()
        hidden = channels // compress
        self.conv1 = CausalConv1d(channels, hidden, kernel, dilation=dilation, activate=True)
        self.conv2 = CausalConv1d(hidden, channels, 1, activate=True)

    def make_state(self, slots: int) -> Tensor:
        """The first convolution's past; the second has none."""
        return self.conv1.make_state(slots)

    def forward(self, x: Tensor, past: Tensor, active: Tensor | None) -> Tensor:
        return x + self.conv2(self.conv1(x, past, active), past, active)


SeanetLayer: TypeAlias = CausalConv1d | CausalConvTranspose1d | ResidualBlock


class Seanet(nn.Module):
    """A chain of convolutions. Its state is one tensor a layer."""

    def __init__(self, layers: list[SeanetLayer]):
        super().__init__()
        self.layers = cast("list[SeanetLayer]", nn.ModuleList(layers))

    def make_state(self, slots: int) -> tuple[Tensor, ...]:
        """A fresh past for every layer."""
        return tuple(layer.make_state(slots) for layer in self.layers)

    def forward(self, x: Tensor, state: tuple[Tensor, ...], active: Tensor | None) -> Tensor:
        for layer, past in zip(self.layers, state, strict=True):
            x = layer(x, past, active)
        return x


class SeanetEncoder(Seanet):
    """Sound [S, T, 1] → features [S, T/hop, dimension]."""

    def __init__(self, config: SeanetConfig):
        channels = config.filters
        layers: list[SeanetLayer] = [CausalConv1d(1, channels, config.kernel)]
        for ratio in reversed(config.ratios):
            layers += _residual_blocks(config, channels)
            layers += [CausalConv1d(channels, 2 * channels, 2 * ratio, stride=ratio, activate=True)]
            channels *= 2
        layers += [CausalConv1d(channels, config.dimension, config.last_kernel, activate=True)]
        super().__init__(layers)


class SeanetDecoder(Seanet):
    """Features [S, T, dimension] → sound [S, T · hop, 1]."""

    def __init__(self, config: SeanetConfig):
        channels = config.filters * 2 ** len(config.ratios)
        layers: list[SeanetLayer] = [CausalConv1d(config.dimension, channels, config.kernel)]
        for ratio in config.ratios:
            layers += [CausalConvTranspose1d(channels, channels // 2, ratio)]
            channels //= 2
            layers += _residual_blocks(config, channels)
        layers += [CausalConv1d(channels, 1, config.last_kernel, activate=True)]
        super().__init__(layers)


def _residual_blocks(config: SeanetConfig, channels: int) -> list[SeanetLayer]:
    return [
        ResidualBlock(channels, config.residual_kernel, config.dilation_base**n, config.compress)
        for n in range(config.residual_layers)
    ]
