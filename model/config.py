"""The shapes of models: numbers only, no tensors, and no family's names for them.

What a checkpoint's files call these is read in `checkpoints/`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from model.errors import UnsupportedModel

NormKind = Literal["rms_norm_f32", "rms_norm", "layer_norm"]


@dataclass(frozen=True, slots=True)
class TransformerConfig:
    """A causal transformer with rotary positions over a ring of `context` keys."""

    dim: int
    heads: int
    layers: int
    context: int
    feedforward: int  # hidden width
    norm: NormKind
    gated: bool  # SiLU-gated feed-forward; else linear, GELU, linear
    layer_scale: bool
    max_period: float = 10_000.0

    def __post_init__(self) -> None:
        require(self.context >= 1, f"a window of {self.context} positions")
        _require_heads(self.dim, self.heads)


@dataclass(frozen=True, slots=True)
class DepthConfig:
    """The transformer over codebooks, as stored; the first `dep_q` of its codebooks are run.

    `weight_of[k]` is the set of weights that codebook k uses, `input_of[k]` its projection of the hidden state.
    """

    dim: int
    heads: int
    layers: int
    feedforward: tuple[int, ...]  # hidden width of each stored set of weights
    norm: NormKind
    weight_of: tuple[int, ...]
    input_of: tuple[int, ...]
    low_rank: int | None

    def __post_init__(self) -> None:
        _require_heads(self.dim, self.heads, rotated=False)

    @property
    def stored_codebooks(self) -> int:
        return len(self.weight_of)

    @property
    def stored_weight_sets(self) -> int:
        return len(self.feedforward)


@dataclass(frozen=True, slots=True)
class SeanetConfig:
    """The convolutional encoder, and its mirror (SEANet, arXiv:2009.02095)."""

    dimension: int
    filters: int
    residual_layers: int
    ratios: tuple[int, ...]  # decoder order: upsampling factors, first to last
    kernel: int
    last_kernel: int
    residual_kernel: int
    dilation_base: int
    compress: int

    @property
    def hop_samples(self) -> int:
        hop = 1
        for ratio in self.ratios:
            hop *= ratio
        return hop


@dataclass(frozen=True, slots=True)
class QuantizerConfig:
    """A split residual vector quantizer: one semantic codebook beside `stored_codebooks - 1` acoustic ones."""

    dimension: int
    stored_codebooks: int
    bins: int
    semantic_codebooks: int = 1


@dataclass(frozen=True, slots=True)
class MimiConfig:
    """The codec: 24 kHz sound to and from `codebooks` indices every 80 ms."""

    seanet: SeanetConfig
    transformer: TransformerConfig
    quantizer: QuantizerConfig
    downsample: int  # encoder frames to one codec frame; 2 in the published Mimi
    codebooks: int  # how many of the stored ones are used


@dataclass(frozen=True, slots=True)
class DuplexConfig:
    """A whole Moshi: codec, temporal transformer, depth transformer and the delays between their streams."""

    mimi: MimiConfig
    temporal: TransformerConfig
    depth: DepthConfig
    n_q: int  # audio streams in: own, then user
    dep_q: int  # own audio streams, generated
    audio_vocab: int  # codes in each codebook
    text_vocab: int
    text_vocab_out: int  # text tokens that can be sampled
    delays: tuple[int, ...]  # [1 + n_q]: text, own, user; in frames
    text_pad: int
    text_end_pad: int

    @property
    def user_q(self) -> int:
        """How many of Mimi's codebooks the model hears."""
        return self.n_q - self.dep_q

    @property
    def max_delay(self) -> int:
        return max(self.delays)


def require(holds: bool, what: str) -> None:
    """Raise `UnsupportedModel` unless `holds`; `what` is the request that can't be met."""
    if not holds:
        raise UnsupportedModel(f"The checkpoint asks for {what}, which is not supported.")


def _require_heads(dim: int, heads: int, *, rotated: bool = True) -> None:
    parts = heads * (2 if rotated else 1)
    require(heads >= 1 and dim % parts == 0, f"{heads} heads for {dim} dimensions")
