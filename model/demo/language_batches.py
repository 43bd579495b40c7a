"""Training batches: calls as the columns that `Duplex.step` feeds to the network, with targets and masks.

The columns are those of `model/network/delays.py`, computed for a whole call at once.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor
from torch.nn import functional as F

from model.config import DuplexConfig

# Shares of the frames with speech and with silence that train the depth transformer. It learns its few answers quickly,
# and with all frames it would take two fifths of the computation.
_SPOKEN_KEPT, _QUIET_KEPT = 0.35, 0.05
_LOSS_RATE, _LOSS_FRAMES = 0.025, 3  # around one frame in forty, this many frames of the caller are replaced
_CONTEXT_FRAMES = 25  # at the start of a window within a call: without a loss, since the model lacks the frames before


@dataclass(frozen=True, slots=True)
class TrainingBatch:
    """T columns of B calls, and their targets."""

    columns: Tensor  # int64 [B, T, 1 + n_q]
    text: Tensor  # int64 [B, T], the next text token
    audio: Tensor  # int64 [B, T, dep_q], the model's next codes
    text_counts: Tensor  # bool [B, T], whether the text loss counts
    audio_counts: Tensor  # bool [B, T], whether the audio loss counts
    words: Tensor  # int64 [B, T], the number of the caller's word that has just ended, or 0

    def to(self, device: torch.device) -> TrainingBatch:
        """This batch on `device`."""
        return TrainingBatch(*(getattr(self, field.name).to(device) for field in fields(self)))


def delayed(streams: Tensor, config: DuplexConfig) -> tuple[Tensor, Tensor]:
    """From streams int64 [B, F, 1 + n_q]: columns [B, F - 1, 1 + n_q] and their targets [B, F - 1, 1 + dep_q].

    Column t has frame t - delay of each stream, or the initial token where `t <= delay`. Its target is the model's part
    of column t + 1.
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
    """Draw one window as long as the model's context from each call; about half of them begin with the call.

    `recorded` int16 or int64 [B, F, 2 + n_q] has the streams and the caller's words, `quiet` int64 [dep_q] the codes of
    the model's silence.
    """
    columns, said = delayed(recorded[..., :-1].long(), config)
    calls, length = columns.shape[:2]
    window = min(config.temporal.context, length)
    starts = torch.randint(0, length - window + 1, (calls,), generator=rng)
    starts *= torch.randint(0, 2, (calls,), generator=rng)
    at = starts[:, None] + torch.arange(window)
    rows = torch.arange(calls)[:, None]
    columns, said, words = columns[rows, at], said[rows, at], recorded[rows, at, -1].long()
    known = (starts[:, None] == 0) | (torch.arange(window) >= _CONTEXT_FRAMES)
    speaks = (said[..., 0] != config.text_pad) | (said[..., 1:] != quiet).any(-1)
    kept = torch.rand(speaks.shape, generator=rng) < torch.where(speaks, _SPOKEN_KEPT, _QUIET_KEPT)
    return TrainingBatch(corrupt(columns, config, rng), said[..., 0], said[..., 1:], known, known & kept, words)


def corrupt(columns: Tensor, config: DuplexConfig, rng: torch.Generator) -> Tensor:
    """Replace up to 25 % of the caller's codes and 4 % of the model's, so that the model does not rely on single codes.

    Also replaced are all codes of the caller around some frames and, in a fifth of the calls, the finer codebooks.
    """
    calls, frames, streams = columns.shape
    own = torch.arange(streams) <= config.dep_q
    share = torch.rand(calls, 1, 1, generator=rng) * torch.where(own, 0.04, 0.25)
    lost = torch.rand(columns.shape, generator=rng) < share
    begun = torch.rand(calls, frames, generator=rng) < _LOSS_RATE
    stretches = F.max_pool1d(begun.float(), _LOSS_FRAMES, 1, _LOSS_FRAMES // 2)[..., None] > 0
    finest = torch.randint(1, config.user_q + 1, (calls, 1, 1), generator=rng) + config.dep_q
    coarse_only = torch.rand(calls, 1, 1, generator=rng) < 0.2
    lost |= ~own & stretches
    lost |= coarse_only & (torch.arange(streams) > finest)
    lost[..., 0] = False
    lost &= columns < config.audio_vocab
    return torch.where(lost, torch.randint(0, config.audio_vocab, columns.shape, generator=rng), columns)
