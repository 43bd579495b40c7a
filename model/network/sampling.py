"""Drawing tokens: per-slot temperature, top-k and seed, and noise that any machine can repeat.

The draw is `argmax(p / Exp(1))` over the top k of `softmax(logits / temperature)`, as in the reference, with the noise
of a counter hash of (seed, step, stream, token id): a call repeats whatever its neighbours do. Temperature 0 means the
likeliest token. Choices are tensors, a value for each slot; `SamplingPlan` is what the host knows of all slots
together.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

MAX_TOP_K = 500  # a larger one is 0: the whole vocabulary
HISTORY = 200  # how many text tokens the repetition penalty can cover


@dataclass(frozen=True, slots=True)
class SamplingState:
    """Each slot's choices, and the text tokens that it said last."""

    text_temperature: Tensor  # f32 [S]
    text_top_k: Tensor  # int64 [S]; 0: all
    audio_temperature: Tensor  # f32 [S]
    audio_top_k: Tensor  # int64 [S]
    text_seed: Tensor  # int64 [S]
    audio_seed: Tensor  # int64 [S]
    pad_bonus: Tensor  # f32 [S]; P(PAD) is multiplied by its exponential
    penalty: Tensor  # f32 [S]; divides positive and multiplies negative logits of recent text tokens
    penalty_span: Tensor  # int64 [S]; how many text tokens count as recent
    history: Tensor  # int64 [S, HISTORY + 1], a ring of the text tokens said, and one column to write to
    said: Tensor  # int64 [S], how many text tokens were said


@dataclass(frozen=True, slots=True)
class SamplingPlan:
    """What all live slots' choices have in common, so that a step does no needless work."""

    greedy: bool = False  # every temperature is 0
    unbounded: bool = True  # some top k is 0: the whole vocabulary
    penalised: bool = True  # some slot has a penalty other than 1
    padded: bool = True  # some slot has a pad bonus other than 0

    @property
    def is_common(self) -> bool:
        """Whether `COMMON_PLAN` samples correctly for these slots."""
        return not (self.unbounded or self.penalised or self.padded)


# The plan of almost every caller: steps are traced and captured with it.
COMMON_PLAN = SamplingPlan(unbounded=False, penalised=False, padded=False)


def make_state(slots: int, device: torch.device) -> SamplingState:
    """A fresh state, which samples greedily until a caller's choices are written."""
    f32 = [torch.zeros(slots, device=device) for _ in range(4)]
    i64 = [torch.zeros(slots, dtype=torch.int64, device=device) for _ in range(6)]
    history = torch.zeros(slots, HISTORY + 1, dtype=torch.int64, device=device)
    return SamplingState(f32[0], i64[0], f32[1], i64[1], i64[2], i64[3], f32[2], f32[3], i64[4], history, i64[5])


@dataclass(frozen=True, slots=True)
class FrameSampler:
    """Samples the tokens of one frame: all that its streams share, computed once."""

    temperature: Tensor  # f32 [S, 1], above 0
    greedy: Tensor  # bool [S]
    excluded: Tensor  # bool [S, K]: ranks beyond a slot's top k
    unbounded: Tensor | None  # bool [S]: the rows that sample from the whole vocabulary; None: no row
    noise: tuple[Tensor, ...]  # of each stream, f32 [S, V]
    considered: int  # how many of the likeliest tokens: K

    def draw(self, logits: Tensor, stream: int) -> Tensor:
        """One token a slot: logits f32 [S, V] → int64 [S]."""
        noise = self.noise[stream]
        values, ids = logits.topk(self.considered, dim=-1)  # likeliest first
        scores = (values / self.temperature).masked_fill_(self.excluded, -torch.inf)
        best = scores.add_(noise.gather(1, ids)).argmax(-1, keepdim=True)
        token = ids.gather(1, best).flatten()
        if self.unbounded is not None:
            token = torch.where(self.unbounded, (logits / self.temperature + noise).argmax(-1), token)
        return torch.where(self.greedy, logits.argmax(-1), token)


def make_sampler(
    temperature: Tensor, top_k: Tensor, seed: Tensor, step: Tensor, streams: Tensor, vocabulary: int, unbounded: bool
) -> FrameSampler:
    """The rng of one frame: all [S] but `streams` int64 [N], which number the noise of each draw.

    `unbounded`: some slot's top_k is 0, so it samples from the whole vocabulary.
    """
    # The same for every slot, whatever its neighbours chose: how topk orders equal logits depends on how many it is
    # asked for, and logits that were bfloat16 are often equal.
    considered = min(MAX_TOP_K, vocabulary)
    ranks = torch.arange(considered, device=top_k.device)
    limit = torch.where(top_k > 0, top_k, vocabulary)
    keys = _mix(_mix(_mix(seed) + step)[:, None] + streams)  # [S, N]
    # For every token at once: a draw that looked up its own candidates' noise would be mostly the hash's small steps.
    noise = gumbel(keys[..., None], torch.arange(vocabulary, device=top_k.device))
    return FrameSampler(
        temperature.clamp(min=1e-6)[:, None],
        temperature <= 0,
        ranks >= limit[:, None],
        top_k == 0 if unbounded and vocabulary > MAX_TOP_K else None,
        noise.unbind(1),
        considered,
    )


def gumbel(keys: Tensor, ids: Tensor) -> Tensor:
    """-log of Exp(1) noise for every key [..., 1] and token id [V]: f32 [..., V].

    `argmax(log p + gumbel)` is `argmax(p / Exp(1))`.
    """
    bits = (_mix(keys + ids) >> 41) & 0x7FFFFF
    uniform = (bits.float() + 0.5) * 2.0**-23  # 23 bits and a half are exact in float32: never 0, never 1
    return uniform.log_().neg_().log_().neg_()


def penalise_(logits: Tensor, state: SamplingState) -> None:
    """Make each slot's recent text tokens less likely, in place: logits f32 [S, V]."""
    columns = torch.arange(HISTORY + 1, device=logits.device)
    age = (state.said[:, None] - 1 - columns) % (HISTORY + 1)
    lately = age < torch.minimum(state.said, state.penalty_span)[:, None]
    now = logits.gather(1, state.history)
    less = torch.where(now > 0, now / state.penalty[:, None], now * state.penalty[:, None])
    logits.scatter_reduce_(1, state.history, torch.where(lately, less, now), "amin")


def add_pad_bias_(logits: Tensor, pad: int, state: SamplingState) -> None:
    """Multiply each slot's P(PAD) by the exponential of its bonus, in place: logits f32 [S, V]."""
    logits[:, pad] += state.pad_bonus * state.text_temperature


def append_history_(text: Tensor, pad: int, state: SamplingState, active: Tensor | None) -> None:
    """Note a text token int64 [S] in the history of every active slot that did not pad."""
    at = (state.said % (HISTORY + 1))[:, None]
    state.history.scatter_(1, at, text[:, None])  # this column counts only once `said` grows
    spoke = text != pad if active is None else active & (text != pad)
    state.said.add_(spoke)


def _mix(x: Tensor) -> Tensor:
    """The high bits of SplitMix64's finaliser (Steele, Lea and Flood, 2014) over int64, whose products wrap around."""
    x = x + -7046029254386353131
    x = (x ^ _shift(x, 30)) * -4658895280553007687
    return (x ^ _shift(x, 27)) * -7723592293110705685  # its last shift would change low bits only


def _shift(x: Tensor, bits: int) -> Tensor:
    """Shift right without the sign."""
    return (x >> bits) & ((1 << (64 - bits)) - 1)
