"""Moshi, full duplex: one frame in and one frame out, for every slot at once.

    encode → push_heard → temporal → sample text → depth → push_spoken → aligned → decode

Knows slots, not callers. All that a slot remembers is in `DuplexState`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from model.config import DuplexConfig
from model.network import sampling
from model.network.delays import Delays, DelayState
from model.network.depth import Depth
from model.network.mimi import Mimi, MimiDecoderState, MimiEncoderState
from model.network.sampling import SamplingPlan, SamplingState
from model.network.temporal import Temporal
from model.network.transformer import TransformerState
from model.state import restart_, row, simplest


@dataclass(frozen=True, slots=True)
class DuplexState:
    """Everything that a model remembers of its slots."""

    encoder: MimiEncoderState
    decoder: MimiDecoderState
    temporal: TransformerState
    delays: DelayState
    sampling: SamplingState


@dataclass(frozen=True, slots=True)
class Frame:
    """What one step heard and said."""

    heard: Tensor  # int64 [S, codebooks], the codes of the frame that came in
    tokens: Tensor  # int64 [S, 1 + dep_q], text first: the newest frame that all streams have reached
    spoken: Tensor  # bool [S]; False where the slot was idle, or its delays are still filling
    pcm: Tensor  # f32 [S, FRAME_SAMPLES]; meaningless where nothing was spoken
    finite: Tensor  # bool [S]; False where logits or sound are NaN or infinite: that slot's call can't go on


class Duplex(nn.Module):
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
        # Each token stream of a frame has noise of its own.
        self.register_buffer("text_streams", torch.zeros(1, dtype=torch.int64), persistent=False)
        self.register_buffer("audio_streams", torch.arange(1, 1 + config.dep_q), persistent=False)

    def make_state(self, slots: int, kv_dtype: torch.dtype | None = None) -> DuplexState:
        """A fresh state, with the temporal transformer's keys and values in `kv_dtype` (None: the model's dtype).

        The codec's stay in float32: they are few, and codes must not change.
        """
        return DuplexState(
            self.mimi.make_encoder_state(slots),
            self.mimi.make_decoder_state(slots),
            self.temporal.make_state(slots, kv_dtype),
            self.delays.make_state(slots),
            sampling.make_state(slots, self.delays.delays.device),
        )

    def step(
        self,
        pcm: Tensor,
        state: DuplexState,
        active: Tensor | None = None,
        plan: SamplingPlan = SamplingPlan(),  # noqa: B008 - frozen
        longest: int | None = None,
    ) -> Frame:
        """One frame for every slot: pcm f32 [S, FRAME_SAMPLES]; rows that are not `active` (bool [S]) stay unmoved.

        `longest` is the most frames that any live slot has heard (None: unknown), so that short calls read few keys.
        """
        heard = self._listen(pcm, state, active)
        column = self.delays.push_heard(heard[:, : self.config.user_q], state.delays)
        hidden, logits = self.temporal(column[:, None], state.temporal, active, longest)
        drawn_from = [logits[:, 0]]
        text = self._draw_text(logits[:, 0].float(), state, active, plan)
        audio = self.depth.generate(text, hidden[:, 0], self._audio_draw(state, plan, drawn_from))
        self.delays.push_spoken(text, audio, state.delays, active)
        tokens, spoken = self.delays.aligned(state.delays)
        spoken = spoken if active is None else spoken & active
        pcm = self.mimi.decode(tokens[:, None, 1:], state.decoder, simplest(spoken))
        finite = torch.cat([*drawn_from, pcm], dim=1).sum(1).isfinite()  # neither NaN nor infinity is lost in a sum
        return Frame(heard, tokens, spoken, pcm, finite)

    def prefill(self, tokens: Tensor, state: DuplexState, slot: int) -> None:
        """Live through T known frames of one slot, in one pass of the temporal transformer.

        `tokens` int64 [T, 1 + n_q]: row t is what the slot says in the t-th step from here, text and own codes as
        `Delays.push_spoken` takes them, and what it hears in it, the user's codes. Leaves what T such steps would leave
        of temporal state and delays; codec and sampling stay as they are, since no sound is made and no token drawn.
        Beyond the window's first filling columns go one by one: each takes the place of the oldest key, which those
        before it still see. Asks the device how much the slot has heard.
        """
        one = row(state, slot)
        columns = self.delays.push_known(tokens, one.delays)
        heard = int(one.temporal.length)
        room = max(0, self.config.temporal.context - heard)
        for piece in (columns[:room], *columns[room:].split(1)):
            if len(piece):
                self.temporal(piece[None], one.temporal, None, heard)
                heard += len(piece)

    def _listen(self, pcm: Tensor, state: DuplexState, active: Tensor | None) -> Tensor:
        codes = self.mimi.encode(pcm, state.encoder, active)
        # The initial tokens hide the first frame; its left padding is applied again to the second, as it is in the
        # reference server and so in what the model was trained to hear.
        first = state.delays.offset == 0
        restart_(state.encoder, first if active is None else first & active)
        return codes[:, 0]

    def _draw_text(self, logits: Tensor, state: DuplexState, active: Tensor | None, plan: SamplingPlan) -> Tensor:
        choices, pad = state.sampling, self.config.text_pad
        if plan.penalised:
            sampling.penalise_(logits, choices)
        if plan.greedy:
            text = logits.argmax(-1)
        else:
            if plan.padded:
                sampling.add_pad_bias_(logits, pad, choices)
            text = sampling.make_sampler(
                choices.text_temperature, choices.text_top_k, choices.text_seed,
                state.delays.offset, self.text_streams, self.config.text_vocab_out, plan.unbounded,
            ).draw(logits, 0)  # fmt: skip
        if plan.penalised:
            sampling.append_history_(text, pad, choices, active)
        return text

    def _audio_draw(
        self, state: DuplexState, plan: SamplingPlan, drawn_from: list[Tensor]
    ) -> Callable[[Tensor, int], Tensor]:
        """What draws the tokens of each codebook; the logits go into `drawn_from`."""
        choices = state.sampling
        rng = None if plan.greedy else sampling.make_sampler(
            choices.audio_temperature, choices.audio_top_k, choices.audio_seed,
            state.delays.offset, self.audio_streams, self.config.audio_vocab, plan.unbounded,
        )  # fmt: skip

        def draw(logits: Tensor, codebook: int) -> Tensor:
            drawn_from.append(logits)
            return rng.draw(logits.float(), codebook) if rng else logits.argmax(-1)

        return draw
