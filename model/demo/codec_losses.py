"""A perceptual distance between sounds: magnitudes at several resolutions, and the mel spectrum."""

from __future__ import annotations

import torch
from torch import Tensor

from model.audio import SAMPLE_RATE_HZ

_WINDOWS = (256, 512, 1024, 2048)
_MEL_WINDOW, _MEL_BANDS = 1024, 64
_FLOOR = 3e-3  # added to the mean magnitude, so that the distance from silence stays finite
_MEL_FLOOR = 1e-3


class SpectralDistance:
    """The distance of each sound in [B, T] from its target, relative to the target, so that quiet clips count too."""

    def __init__(self) -> None:
        self._hann = {size: torch.hann_window(size) for size in _WINDOWS}
        self._mel = mel_filters(_MEL_WINDOW, _MEL_BANDS)

    def __call__(self, sound: Tensor, target: Tensor) -> Tensor:
        total = torch.zeros(len(sound))
        for size in _WINDOWS:
            got, wanted = self._magnitudes(sound, size), self._magnitudes(target, size)
            total = total + (got - wanted).abs().mean((1, 2)) / (wanted.mean((1, 2)) + _FLOOR)
            if size == _MEL_WINDOW:
                total = total + (self._log_mel(got) - self._log_mel(wanted)).abs().mean((1, 2))
        return total

    def log_mel(self, sound: Tensor) -> Tensor:
        """[B, T] → natural logarithms of mel magnitudes [B, bands, frames]."""
        return self._log_mel(self._magnitudes(sound, _MEL_WINDOW))

    def _magnitudes(self, sound: Tensor, size: int) -> Tensor:
        window = self._hann[size]
        spectrum = torch.stft(sound, size, size // 4, window=window, return_complex=True)
        return spectrum.abs() / window.square().sum().sqrt()

    def _log_mel(self, magnitudes: Tensor) -> Tensor:
        return (self._mel @ magnitudes + _MEL_FLOOR).log()


def mel_filters(size: int, bands: int, lowest_hz: float = 40.0) -> Tensor:
    """Triangular filters of weight 1 each, evenly spaced in mel: [bands, size // 2 + 1]."""
    ends_mel = 2595 * torch.log10(1 + torch.tensor([lowest_hz, SAMPLE_RATE_HZ / 2]) / 700)
    corners_hz = 700 * (10 ** (torch.linspace(ends_mel[0].item(), ends_mel[1].item(), bands + 2) / 2595) - 1)
    bins_hz = torch.linspace(0, SAMPLE_RATE_HZ / 2, size // 2 + 1)
    low, middle, high = corners_hz[:-2, None], corners_hz[1:-1, None], corners_hz[2:, None]
    filters = torch.minimum((bins_hz - low) / (middle - low), (high - bins_hz) / (high - middle)).clamp(min=0)
    return filters / filters.sum(1, keepdim=True).clamp(min=1e-3)
