"""Calls as the columns that `Duplex.step` feeds, with the target of each and whether it counts.

Knows streams and delays (`model/network/delays.py`, whose columns these are, made all at once); knows no network.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor
from torch.nn import functional as F

from model.config import DuplexConfig

_SPOKEN_KEPT, _QUIET_KEPT = 0.35, 0.05  # of the frames in which the model speaks or is silent, so many teach the
# depth transformer: it learns its few answers soon, and all frames would make it two fifths of the work
_STRETCH_CHANCE, _STRETCH_FRAMES = 0.025, 3  # around a frame in forty, so much of the caller's is lost at once
_BLIND_FRAMES = 25  # a call entered in its midst is listened to for so long before anything is asked of it


@dataclass(frozen=True, slots=True)
class TrainingBatch:
    """T columns of B calls, and their targets."""

    columns: Tensor  # int64 [B, T, 1 + n_q]
    text: Tensor  # int64 [B, T], to be said next
    audio: Tensor  # int64 [B, T, dep_q], to be said next
    text_counts: Tensor  # bool [B, T]
    audio_counts: Tensor  # bool [B, T]
    words: Tensor  # int64 [B, T], the number of the caller's word that has just ended, or 0

    def to(self, device: torch.device) -> TrainingBatch:
        """The same on a device."""
        return TrainingBatch(*(getattr(self, field.name).to(device) for field in fields(self)))


def delayed(streams: Tensor, config: DuplexConfig) -> tuple[Tensor, Tensor]:
    """Streams int64 [B, F, 1 + n_q] to columns [B, F - 1, 1 + n_q], and what is said after each [B, F - 1, 1 + dep_q].

    Column t holds frame t - delay of each stream, or the initial token where `t <= delay`; what is said after it
    belongs to column t + 1.
    """
    frames = streams.shape[1]
    time = torch.arange(frames)
    columns, said = [], []
    for k, delay in enumerate(config.delays):
        late = streams[:, (time - delay).clamp(min=0), k]
        initial = config.audio_vocab if k else config.text_vocab
        columns.append(torch.where(time <= delay, initial, late)[:, :-1])
        if k <= config.dep_q:
            said.append(late[:, 1:])
    return torch.stack(columns, 2), torch.stack(said, 2)


def draw(recorded: Tensor, config: DuplexConfig, rng: torch.Generator, quiet: Tensor) -> TrainingBatch:
    """A window of the model's context out of each call, half of them from the start.

    `recorded` int16 or int64 [B, F, 2 + n_q]: streams, and the caller's words. `quiet` int64 [dep_q] are the model's
    codes in silence.
    """
    columns, said = delayed(recorded[..., :-1].long(), config)
    calls, length = columns.shape[:2]
    window = min(config.temporal.context, length)
    starts = torch.randint(0, length - window + 1, (calls,), generator=rng)
    starts *= torch.randint(0, 2, (calls,), generator=rng)
    at = starts[:, None] + torch.arange(window)
    rows = torch.arange(calls)[:, None]
    columns, said, words = columns[rows, at], said[rows, at], recorded[rows, at, -1].long()
    known = (starts[:, None] == 0) | (torch.arange(window) >= _BLIND_FRAMES)
    speaks = (said[..., 0] != config.text_pad) | (said[..., 1:] != quiet).any(-1)
    kept = torch.rand(speaks.shape, generator=rng) < torch.where(speaks, _SPOKEN_KEPT, _QUIET_KEPT)
    return TrainingBatch(disturb(columns, config, rng), said[..., 0], said[..., 1:], known, known & kept, words)


def disturb(columns: Tensor, config: DuplexConfig, rng: torch.Generator) -> Tensor:
    """Replace codes at random, so that no single one is relied on: more of the caller's than of its own.

    The caller also loses whole stretches, and in every fifth call the finer codebooks altogether.
    """
    calls, frames, streams = columns.shape
    own = torch.arange(streams) <= config.dep_q
    share = torch.rand(calls, 1, 1, generator=rng) * torch.where(own, 0.04, 0.25)
    lost = torch.rand(columns.shape, generator=rng) < share
    begun = torch.rand(calls, frames, generator=rng) < _STRETCH_CHANCE
    stretches = F.max_pool1d(begun.float(), _STRETCH_FRAMES, 1, _STRETCH_FRAMES // 2)[..., None] > 0
    finest = torch.randint(1, config.user_q + 1, (calls, 1, 1), generator=rng) + config.dep_q
    coarse_only = torch.rand(calls, 1, 1, generator=rng) < 0.2
    lost |= ~own & stretches
    lost |= coarse_only & (torch.arange(streams) > finest)
    lost[..., 0] = False
    lost &= columns < config.audio_vocab
    return torch.where(lost, torch.randint(0, config.audio_vocab, columns.shape, generator=rng), columns)
