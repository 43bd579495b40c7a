"""Training of the split quantizer: straight-through gradients, and codebooks updated by moving averages."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from model.network.quantizer import ResidualQuantizer

_DECAY = 0.99
_MIN_USAGE = 0.1  # of the mean: an entry used less is moved to a random vector
_KMEANS_ROUNDS = 10


@dataclass(frozen=True, slots=True)
class Quantised:
    """The output of one half of the quantizer for projected latents."""

    vectors: Tensor  # [N, dim], with the gradient of the input
    commitment: Tensor  # mean square distance of the input from its codebook vectors, relative to its mean square
    codes: Tensor  # int64 [N, K]


class CodebookTrainer:
    """Trains the codebooks of one half of the split quantizer. Its `state` is part of a training checkpoint."""

    def __init__(self, half: ResidualQuantizer):
        self._half = half
        books = half.codebooks
        self.usage = torch.zeros(books.shape[:2])  # [K, bins]
        self.sums = torch.zeros_like(books)

    @property
    def state(self) -> tuple[Tensor, Tensor]:
        """The moving averages. To resume, copy saved ones into these tensors."""
        return self.usage, self.sums

    @property
    def started(self) -> bool:
        """Whether the codebooks were initialised."""
        return bool(self.usage.any())

    @torch.no_grad()
    def start(self, projected: Tensor, rng: torch.Generator) -> None:
        """Initialise each codebook by k-means on the residual of vectors [N, dim] after the codebooks before it."""
        residual = projected
        for level, book in enumerate(self._half.codebooks):
            bins = len(book)
            book.copy_(residual[torch.randperm(len(residual), generator=rng)[:bins]])
            for _ in range(_KMEANS_ROUNDS):
                counts, sums = _count_and_sum(residual, _nearest(residual, book), bins)
                book.copy_(torch.where(counts[:, None] > 0, sums / counts.clamp(min=1)[:, None], book))
            self.usage[level].fill_(1)
            self.sums[level].copy_(book)
            residual = residual - book[_nearest(residual, book)]

    def __call__(self, projected: Tensor, rng: torch.Generator | None) -> Quantised:
        """Quantise projected latents [N, dim]. If rng is given, also update the codebooks from them."""
        residual = projected.detach()
        codes = []
        for level, book in enumerate(self._half.codebooks):
            code = _nearest(residual, book)
            if rng is not None:
                found = residual
                residual = residual - book[code]
                self._update_averages(level, found, code, rng)
            else:
                residual = residual - book[code]
            codes.append(code)
        quantised = projected.detach() - residual
        size = projected.detach().square().mean() + 1e-6
        commitment = (projected - quantised).square().mean() / size
        return Quantised(projected + (quantised - projected).detach(), commitment, torch.stack(codes, 1))

    @torch.no_grad()
    def _update_averages(self, level: int, residual: Tensor, code: Tensor, rng: torch.Generator) -> None:
        book, usage, sums = self._half.codebooks[level], self.usage[level], self.sums[level]
        counts, found = _count_and_sum(residual, code, len(book))
        usage.lerp_(counts, 1 - _DECAY)
        sums.lerp_(found, 1 - _DECAY)
        mean = usage.mean()
        unused = usage < _MIN_USAGE * mean
        drawn = residual[torch.randint(len(residual), (len(book),), generator=rng)]
        usage.copy_(torch.where(unused, mean, usage))
        sums.copy_(torch.where(unused[:, None], drawn * mean, sums))
        book.copy_(sums / usage[:, None])


def _nearest(vectors: Tensor, book: Tensor) -> Tensor:
    return torch.addmm(book.square().sum(-1).mul_(-0.5), vectors, book.mT).argmax(-1)


def _count_and_sum(vectors: Tensor, code: Tensor, bins: int) -> tuple[Tensor, Tensor]:
    """For each codebook entry, the number of its vectors [bins] and their sum [bins, dim]."""
    chosen = F.one_hot(code, bins).to(vectors.dtype)
    return chosen.sum(0), chosen.mT @ vectors
