"""The split quantizer while it is trained: straight-through gradients, codebooks that follow moving averages."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from model.network.quantizer import ResidualQuantizer

_DECAY = 0.99
_DEAD = 0.1  # of the mean use: a codebook entry used less is put where something is
_KMEANS_ROUNDS = 10


@dataclass(frozen=True, slots=True)
class Quantised:
    """What one half of the quantizer made of its projected latents."""

    vectors: Tensor  # [N, dim], with the gradient of what went in
    commitment: Tensor  # how far what went in lies from its codes, relative to its size
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
        """The moving averages; to be copied into, to go on from."""
        return self.usage, self.sums

    @property
    def started(self) -> bool:
        """Whether the codebooks hold anything."""
        return bool(self.usage.any())

    @torch.no_grad()
    def start(self, projected: Tensor, rng: torch.Generator) -> None:
        """Set the codebooks by k-means over vectors [N, dim], each over what those before leave."""
        residual = projected
        for level, book in enumerate(self._half.codebooks):
            bins = len(book)
            book.copy_(residual[torch.randperm(len(residual), generator=rng)[:bins]])
            for _ in range(_KMEANS_ROUNDS):
                counts, sums = _gather(residual, _nearest(residual, book), bins)
                book.copy_(torch.where(counts[:, None] > 0, sums / counts.clamp(min=1)[:, None], book))
            self.usage[level].fill_(1)
            self.sums[level].copy_(book)
            residual = residual - book[_nearest(residual, book)]

    def __call__(self, projected: Tensor, rng: torch.Generator | None) -> Quantised:
        """Quantise projected latents [N, dim]. With rng, the codebooks learn from them."""
        residual = projected.detach()
        codes = []
        for level, book in enumerate(self._half.codebooks):
            code = _nearest(residual, book)
            if rng is not None:
                found = residual
                residual = residual - book[code]
                self._follow(level, found, code, rng)
            else:
                residual = residual - book[code]
            codes.append(code)
        quantised = projected.detach() - residual
        size = projected.detach().square().mean() + 1e-6
        commitment = (projected - quantised).square().mean() / size
        return Quantised(projected + (quantised - projected).detach(), commitment, torch.stack(codes, 1))

    @torch.no_grad()
    def _follow(self, level: int, residual: Tensor, code: Tensor, rng: torch.Generator) -> None:
        book, usage, sums = self._half.codebooks[level], self.usage[level], self.sums[level]
        counts, found = _gather(residual, code, len(book))
        usage.lerp_(counts, 1 - _DECAY)
        sums.lerp_(found, 1 - _DECAY)
        mean = usage.mean()
        dead = usage < _DEAD * mean
        drawn = residual[torch.randint(len(residual), (len(book),), generator=rng)]
        usage.copy_(torch.where(dead, mean, usage))
        sums.copy_(torch.where(dead[:, None], drawn * mean, sums))
        book.copy_(sums / usage[:, None])


def _nearest(vectors: Tensor, book: Tensor) -> Tensor:
    return torch.addmm(book.square().sum(-1).mul_(-0.5), vectors, book.mT).argmax(-1)


def _gather(vectors: Tensor, code: Tensor, bins: int) -> tuple[Tensor, Tensor]:
    """How many vectors, and their sum, for each codebook entry."""
    chosen = F.one_hot(code, bins).to(vectors.dtype)
    return chosen.sum(0), chosen.mT @ vectors
