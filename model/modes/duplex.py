"""Moshi, full duplex: one frame of sound in and one frame of tokens and sound out, for every slot at once.

    Mimi encodes → delays → temporal transformer → text token → depth transformer → delays → Mimi decodes

The model reads and samples streams of tokens: one of text, `dep_q` codebooks of its own voice, `user_q` codebooks of
the user's. Streams are delayed against each other; a column is one token of each, at one position of the temporal
transformer. S is the number of slots; all that the model remembers of them is in `DuplexState`. Knows no callers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from model import kernels
from model.audio import FRAME_SAMPLES
from model.config import DuplexConfig
from model.modes.mode import Frame, Inputs, Mode
from model.network import sampling
from model.network.attention import reads_whole_ring
from model.network.delays import Delays, DelayState
from model.network.depth import Depth
from model.network.mimi import Mimi, MimiDecoderState, MimiEncoderState
from model.network.sampling import FrameSampler, SamplingPlan, SamplingState
from model.network.temporal import Temporal
from model.network.transformer import TransformerState
from model.state import restart_


@dataclass(frozen=True, slots=True)
class DuplexInputs(Inputs):
    """The sound of each slot's user."""

    pcm: Tensor  # f32 [S, FRAME_SAMPLES]


@dataclass(frozen=True, slots=True)
class DuplexFrame(Frame):
    """The newest frame that all of the model's streams have reached; `tokens` int64 [S, 1 + dep_q]."""

    input_codes: Tensor  # int64 [S, codebooks], Mimi's codes of the inputs
    pcm: Tensor  # f32 [S, FRAME_SAMPLES], the model's voice


@dataclass(frozen=True, slots=True)
class DuplexState:
    """Everything that a model remembers of its slots."""

    encoder: MimiEncoderState
    decoder: MimiDecoderState
    temporal: TransformerState
    delays: DelayState
    sampling: SamplingState


class Duplex(Mode[DuplexInputs, DuplexFrame]):
    """The whole network."""

    text_streams: Tensor
    audio_streams: Tensor

    def __init__(self, config: DuplexConfig):
        super().__init__()
        self.config = config
        self.mimi = Mimi(config.mimi)
        self.temporal = Temporal(config)
        self.depth = Depth(config)
        self.delays = Delays(config)
        # The number of each token stream, which gives it noise of its own.
        self.register_buffer("text_streams", torch.zeros(1, dtype=torch.int64), persistent=False)
        self.register_buffer("audio_streams", torch.arange(1, 1 + config.dep_q), persistent=False)

    def make_inputs(self, slots: int) -> DuplexInputs:
        """A frame of silence."""
        return DuplexInputs(torch.zeros(slots, FRAME_SAMPLES, device=self._device))

    def make_state(self, slots: int, kv_dtype: torch.dtype | None = None) -> DuplexState:
        """The state of fresh slots; the temporal transformer's keys and values in `kv_dtype` (None: the model's dtype).

        The codec's stay in float32: they are few, and the codes must not change.
        """
        return DuplexState(
            self.mimi.make_encoder_state(slots),
            self.mimi.make_decoder_state(slots),
            self.temporal.make_state(slots, kv_dtype),
            self.delays.make_state(slots),
            sampling.make_state(slots, self._device),
        )

    @property
    def has_fixed_shapes(self) -> bool:
        """Whether attention reads the whole ring however short the calls are."""
        return reads_whole_ring(self.config.temporal.context)

    def step(
        self,
        inputs: DuplexInputs,
        state: DuplexState,
        active: Tensor | None = None,
        plan: SamplingPlan = SamplingPlan(),  # noqa: B008 - frozen
        longest: int | None = None,
    ) -> DuplexFrame:
        """See `Mode.step`."""
        input_codes = self._encode(inputs.pcm, state, active)  # [S, codebooks]
        column = self.delays.push_heard(input_codes[:, : self.config.user_q], state.delays)  # [S, 1 + n_q]
        hidden, text_logits = self.temporal(column[:, None], state.temporal, active, longest)  # both [S, 1, …]
        logits = [text_logits[:, 0]]
        text = self._sample_text(text_logits[:, 0].float(), state, active, plan)  # [S]
        audio = self.depth.generate(text, hidden[:, 0], self._audio_sampler(state, plan, logits))  # [S, dep_q]
        self.delays.push_spoken(text, audio, state.delays, active)
        tokens, spoken = self.delays.aligned(state.delays)  # [S, 1 + dep_q], [S]
        spoken = spoken if active is None else spoken & active
        pcm = self.mimi.decode(tokens[:, None, 1:], state.decoder, _unless_full(spoken))
        finite = torch.cat([*logits, pcm], dim=1).sum(1).isfinite()  # a sum keeps every NaN and infinity
        return DuplexFrame(tokens, spoken, finite, input_codes, pcm)

    def _encode(self, pcm: Tensor, state: DuplexState, active: Tensor | None) -> Tensor:
        codes = self.mimi.encode(pcm, state.encoder, active)
        # The initial tokens hide a slot's first frame; its left padding is applied again to the second, as in the
        # reference server and so in the sound that the model was trained on.
        first = state.delays.offset == 0
        first = first if active is None else first & active
        if not kernels.host_can_read(first) or first.any():
            restart_(state.encoder, first)
        return codes[:, 0]

    def _sample_text(self, logits: Tensor, state: DuplexState, active: Tensor | None, plan: SamplingPlan) -> Tensor:
        """Text tokens int64 [S] for logits f32 [S, text_vocab_out], which may change."""
        choices, pad = state.sampling, self.config.text_pad
        if plan.penalised:
            sampling.penalise_(logits, choices)
        if plan.greedy:
            text = logits.argmax(-1)
        else:
            if plan.padded:
                sampling.add_pad_bias_(logits, pad, choices)
            text = self._text_sampler(state, plan).draw(logits, 0)
        if plan.penalised:
            sampling.append_history_(text, pad, choices, active)
        return text

    def _text_sampler(self, state: DuplexState, plan: SamplingPlan) -> FrameSampler:
        choices = state.sampling
        return sampling.make_sampler(
            choices.text_temperature,
            choices.text_top_k,
            choices.text_seed,
            state.delays.offset,
            self.text_streams,
            self.config.text_vocab_out,
            plan.unbounded,
        )

    def _audio_sampler(
        self, state: DuplexState, plan: SamplingPlan, logits_so_far: list[Tensor]
    ) -> Callable[[Tensor, int], Tensor]:
        """Samples a codebook's tokens from its logits, which it adds to `logits_so_far`."""
        choices = state.sampling
        sampler = None
        if not plan.greedy:
            sampler = sampling.make_sampler(
                choices.audio_temperature,
                choices.audio_top_k,
                choices.audio_seed,
                state.delays.offset,
                self.audio_streams,
                self.config.audio_vocab,
                plan.unbounded,
            )

        def sample(logits: Tensor, codebook: int) -> Tensor:
            logits_so_far.append(logits)
            return sampler.draw(logits.float(), codebook) if sampler else logits.argmax(-1)

        return sample

    @property
    def _device(self) -> torch.device:
        return self.delays.delays.device


def _unless_full(mask: Tensor) -> Tensor | None:
    """None for a mask that holds every row: writing without a mask is cheaper."""
    return None if kernels.host_can_read(mask) and mask.all() else mask
