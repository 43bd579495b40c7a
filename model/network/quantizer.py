"""Split residual vector quantisation (Moshi paper, section 3.3.2): one semantic codebook beside acoustic ones.

Both halves see the same latent, each through its own projection; decoding adds them.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from model.config import QuantizerConfig
from model.network.layers import Linear, empty


class ResidualQuantizer(nn.Module):
    """Codebooks that each quantise the residual of those before, by Euclidean distance."""

    def __init__(self, latent_dim: int, dim: int, codebooks: int, bins: int):
        super().__init__()
        self.input_proj = Linear(latent_dim, dim)
        self.output_proj = Linear(dim, latent_dim)
        self.codebooks = empty(codebooks, bins, dim)
        self._half_norms: Tensor | None = None  # [K, bins]

    def encode(self, latent: Tensor) -> list[Tensor]:  # [N, latent_dim] → K times int64 [N]
        if self._half_norms is None:
            self._half_norms = self.codebooks.square().sum(-1).mul_(-0.5)
        residual = self.input_proj(latent)
        codes: list[Tensor] = []
        for book, half_norms in zip(self.codebooks, self._half_norms, strict=True):
            # argmin |r - c|² is argmax r·c - |c|²/2
            code = F.linear(residual, book, half_norms).argmax(-1)
            residual = residual - F.embedding(code, book)
            codes.append(code)
        return codes

    def decode(self, codes: Tensor) -> Tensor:  # int64 [N, K] → [N, latent_dim]
        _, bins, dim = self.codebooks.shape
        first_row = torch.arange(codes.shape[1], device=codes.device) * bins
        vectors = F.embedding(codes + first_row, self.codebooks.view(-1, dim))
        return self.output_proj(vectors.sum(1))


class SplitQuantizer(nn.Module):
    """The semantic codebook and the acoustic ones."""

    def __init__(self, latent_dim: int, config: QuantizerConfig, codebooks: int):
        super().__init__()
        first = config.semantic_codebooks
        self.first = ResidualQuantizer(latent_dim, config.dimension, first, config.bins)
        self.rest = ResidualQuantizer(latent_dim, config.dimension, codebooks - first, config.bins)

    def encode(self, latent: Tensor) -> Tensor:  # [N, latent_dim] → int64 [N, K]
        return torch.stack([*self.first.encode(latent), *self.rest.encode(latent)], dim=1)

    def decode(self, codes: Tensor) -> Tensor:  # int64 [N, K] → [N, latent_dim]
        first = self.first.codebooks.shape[0]
        return self.first.decode(codes[:, :first]) + self.rest.decode(codes[:, first:])
