"""Causal convolutions, one frame at a time, as matrix products.

Sound is kept as [S, T, C] (slots, time, channels), so that the window a convolution looks at is one contiguous run
of numbers and the whole convolution is a single matrix product over all slots. What a convolution remembers of a
slot is one tensor; zeros mean silence before the first sample.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from model.network.layers import empty, linear
from model.state import commit_, per_row


class CausalConv1d(nn.Module):
    """A convolution over `kernel` inputs `dilation` apart, every `stride`; `activate` applies ELU to its input.

    `weight` is [out, kernel · in], from the published [out, in, kernel].
    """

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        kernel: int,
        *,
        stride: int = 1,
        dilation: int = 1,
        bias: bool = True,
        activate: bool = False,
    ):
        super().__init__()
        self.channels_in = channels_in
        self.kernel, self.stride, self.dilation = kernel, stride, dilation
        self.activate = activate
        self.past_samples = (kernel - 1) * dilation + 1 - stride
        self.weight = empty(channels_out, kernel * channels_in)
        self.bias = empty(channels_out) if bias else None

    def make_state(self, slots: int) -> Tensor:
        """The last inputs, [S, past_samples, in]."""
        return torch.zeros(slots, self.past_samples, self.channels_in, device=self.weight.device)

    def forward(self, x: Tensor, past: Tensor, active: Tensor | None) -> Tensor:  # [S, T, in] → [S, T/stride, out]
        if self.activate:
            x = F.elu(x)
        if self.past_samples:
            x = torch.cat([past, x], dim=1)
            commit_(past, x.narrow(1, -self.past_samples, self.past_samples), active)
        return linear(self._windows(x), self.weight, self.bias)

    def _windows(self, x: Tensor) -> Tensor:
        if self.kernel == 1 and self.stride == 1:
            return x
        if self.dilation == 1:
            windows = x.flatten(1).unfold(1, self.kernel * self.channels_in, self.stride * self.channels_in)
        else:
            reach = (self.kernel - 1) * self.dilation + 1
            windows = x.unfold(1, reach, self.stride)[..., :: self.dilation].mT.flatten(2)
        return windows.contiguous()  # overlapping views are slow to multiply


class CausalConvTranspose1d(nn.Module):
    """An upsampling by `stride` with a kernel of twice that: each input adds to its own step and to the next.

    `weight` is [2 · stride · out, in], from the published [in, out, 2 · stride]. ELU is applied to the input.
    """

    def __init__(self, channels_in: int, channels_out: int, stride: int):
        super().__init__()
        self.stride, self.channels_out = stride, channels_out
        self.weight = empty(2 * stride * channels_out, channels_in)
        self.bias = empty(channels_out)

    def make_state(self, slots: int) -> Tensor:
        """What the last input adds to the next step, [S, stride, out]."""
        return torch.zeros(slots, self.stride, self.channels_out, device=self.weight.device)

    def forward(self, x: Tensor, tail: Tensor, active: Tensor | None) -> Tensor:  # [S, T, in] → [S, T·stride, out]
        halves = linear(F.elu(x), self.weight).unflatten(2, (2, self.stride, self.channels_out))
        return overlap_add(halves, tail, active).add_(self.bias)


class DepthwiseUpsample(nn.Module):
    """The same upsampling, each channel by itself and without bias. `weight` is [2 · stride, C]."""

    def __init__(self, channels: int, stride: int):
        super().__init__()
        self.stride = stride
        self.weight = empty(2 * stride, channels)

    def make_state(self, slots: int) -> Tensor:
        """What the last input adds to the next step, [S, stride, C]."""
        return torch.zeros(slots, self.stride, self.weight.shape[1], device=self.weight.device)

    def forward(self, x: Tensor, tail: Tensor, active: Tensor | None) -> Tensor:  # [S, T, C] → [S, T·stride, C]
        halves = (x.unsqueeze(2) * self.weight).unflatten(2, (2, self.stride))
        return overlap_add(halves, tail, active)


class Downsample(nn.Module):
    """A convolution by `stride` whose first window is padded with copies of the first sample, not with zeros."""

    def __init__(self, channels: int, stride: int):
        super().__init__()
        self.conv = CausalConv1d(channels, channels, 2 * stride, stride=stride, bias=False)

    def forward(self, x: Tensor, past: Tensor, started: Tensor, active: Tensor | None) -> Tensor:
        """[S, T, C] → [S, T/stride, C]; `started` (bool [S]): the rows that have a past."""
        past.copy_(torch.where(per_row(started, past), past, x[:, :1]))
        commit_(started, torch.ones_like(started), active)
        return self.conv(x, past, active)


def overlap_add(halves: Tensor, tail: Tensor, active: Tensor | None) -> Tensor:
    """Add each input's second half [S, T, 2, stride, C] to the step after it: [S, T · stride, C]."""
    current, following = halves.unbind(2)  # each [S, T, stride, C]
    carried = torch.cat([tail.unsqueeze(1), following[:, :-1]], dim=1)
    commit_(tail, following.select(1, -1), active)
    return (current + carried).flatten(1, 2)
