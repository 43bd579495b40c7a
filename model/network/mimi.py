"""Mimi, the codec: 80 ms of 24 kHz sound to and from a handful of codes (Moshi paper, section 3.3).

Streaming equals offline while a slot's window is not full; after that, two positions enter at a time, and the first
of each pair sees one key fewer, here as in the reference.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from model.config import MimiConfig
from model.network.conv import DepthwiseUpsample, Downsample
from model.network.quantizer import SplitQuantizer
from model.network.seanet import SeanetDecoder, SeanetEncoder
from model.network.transformer import StreamingTransformer, TransformerState


@dataclass(frozen=True, slots=True)
class MimiEncoderState:
    """The encoder's state of each slot."""

    seanet: tuple[Tensor, ...]
    transformer: TransformerState
    downsample: Tensor  # [S, stride, C]
    started: Tensor  # bool [S]: whether `downsample` holds real samples yet


@dataclass(frozen=True, slots=True)
class MimiDecoderState:
    """The decoder's state of each slot."""

    upsample: Tensor  # [S, stride, C]
    transformer: TransformerState
    seanet: tuple[Tensor, ...]


class Mimi(nn.Module):
    """Encoder, quantizer and decoder over all slots. Always float32."""

    def __init__(self, config: MimiConfig):
        super().__init__()
        width = config.seanet.dimension
        self.config = config
        self.encoder = SeanetEncoder(config.seanet)
        self.encoder_transformer = StreamingTransformer(config.transformer)
        self.downsample = Downsample(width, config.downsample) if config.downsample > 1 else None
        self.quantizer = SplitQuantizer(width, config.quantizer, config.codebooks)
        self.upsample = DepthwiseUpsample(width, config.downsample) if config.downsample > 1 else None
        self.decoder_transformer = StreamingTransformer(config.transformer)
        self.decoder = SeanetDecoder(config.seanet)

    def make_encoder_state(self, slots: int) -> MimiEncoderState:
        """A fresh encoder state."""
        return MimiEncoderState(
            self.encoder.make_state(slots),
            self.encoder_transformer.make_state(slots),
            self.downsample.conv.make_state(slots) if self.downsample else self._no_state(slots),
            torch.zeros(slots, dtype=torch.bool, device=self._device),
        )

    def make_decoder_state(self, slots: int) -> MimiDecoderState:
        """A fresh decoder state."""
        return MimiDecoderState(
            self.upsample.make_state(slots) if self.upsample else self._no_state(slots),
            self.decoder_transformer.make_state(slots),
            self.decoder.make_state(slots),
        )

    def encode(self, pcm: Tensor, state: MimiEncoderState, active: Tensor | None) -> Tensor:
        """Whole frames of sound, float32 [S, F · FRAME_SAMPLES], to codes, int64 [S, F, K].

        Any number of frames whose positions fit in the transformer's window; a live step takes one.
        """
        x = self.encoder(pcm[:, :, None], state.seanet, active)
        x = self.encoder_transformer(x, state.transformer, active)
        if self.downsample is not None:
            x = self.downsample(x, state.downsample, state.started, active)
        return self.quantizer.encode(x.flatten(0, 1)).unflatten(0, x.shape[:2])

    def decode(self, codes: Tensor, state: MimiDecoderState, active: Tensor | None) -> Tensor:
        """Codes, int64 [S, F, K], to sound, float32 [S, F · FRAME_SAMPLES]; K may be fewer than were encoded."""
        x = self.quantizer.decode(codes.flatten(0, 1)).unflatten(0, codes.shape[:2])
        if self.upsample is not None:
            x = self.upsample(x, state.upsample, active)
        x = self.decoder_transformer(x, state.transformer, active)
        return self.decoder(x, state.seanet, active).flatten(1)

    @property
    def _device(self) -> torch.device:
        return next(self.parameters()).device

    def _no_state(self, slots: int) -> Tensor:
        return torch.zeros(slots, 0, device=self._device)
