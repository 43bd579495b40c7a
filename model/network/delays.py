"""The delays between streams: a small ring of token columns for each slot (Moshi paper, section 3.4.4).

Stream k lags `delays[k]` frames behind. At offset `o` (frames heard so far) the model reads column `o`, in which a
stream that has not begun holds its initial token; the tokens that it then samples belong to column `o + 1`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from model.config import DuplexConfig
from model.state import commit_


@dataclass(frozen=True, slots=True)
class DelayState:
    """The last columns of all streams, and how many frames each slot has heard."""

    columns: Tensor  # int64 [S, 1 + n_q, max_delay + 2]
    offset: Tensor  # int64 [S]


class Delays(nn.Module):
    """Lays tokens into columns and takes aligned frames out of them."""

    delays: Tensor
    initial: Tensor
    lag: Tensor  # how many columns after the step in which it is pushed a stream's token stands

    def __init__(self, config: DuplexConfig):
        super().__init__()
        self.first_user = 1 + config.dep_q
        self.max_delay = config.max_delay
        self.capacity = config.max_delay + 2
        initial = [config.text_vocab] + [config.audio_vocab] * config.n_q
        self.register_buffer("delays", torch.tensor(config.delays), persistent=False)  # [1 + n_q]
        self.register_buffer("initial", torch.tensor(initial), persistent=False)  # [1 + n_q]
        lag = [1] * self.first_user + list(config.delays[self.first_user :])
        self.register_buffer("lag", torch.tensor(lag), persistent=False)  # [1 + n_q]

    def make_state(self, slots: int) -> DelayState:
        """A fresh state."""
        device = self.delays.device
        shape = (slots, len(self.delays), self.capacity)
        return DelayState(
            torch.zeros(shape, dtype=torch.int64, device=device),
            torch.zeros(slots, dtype=torch.int64, device=device),
        )

    def push_heard(self, codes: Tensor, state: DelayState) -> Tensor:
        """Write the user's codes, int64 [S, user_q], and read the column the model takes, int64 [S, 1 + n_q].

        Idle rows may write: their next active frame overwrites these codes before they are read.
        """
        at = (state.offset[:, None] + self.delays[self.first_user :]) % self.capacity
        state.columns[:, self.first_user :].scatter_(2, at[:, :, None], codes[:, :, None])
        now = (state.offset % self.capacity)[:, None, None].expand(-1, self.delays.shape[0], 1)
        column = state.columns.gather(2, now)[:, :, 0]
        return torch.where(state.offset[:, None] <= self.delays, self.initial, column)

    def push_spoken(self, text: Tensor, audio: Tensor, state: DelayState, active: Tensor | None) -> None:
        """Write the sampled tokens, text int64 [S] and own codes int64 [S, dep_q], and advance the offset.

        Idle rows may write here too: column `offset + 1` is written again before it is read.
        """
        spoken = torch.cat([text[:, None], audio], dim=1)
        at = ((state.offset + 1) % self.capacity)[:, None, None].expand(-1, self.first_user, 1)
        state.columns[:, : self.first_user].scatter_(2, at, spoken[:, :, None])
        commit_(state.offset, state.offset + 1, active)

    def push_known(self, tokens: Tensor, state: DelayState) -> Tensor:
        """Push the spoken and heard tokens of T steps of one slot at once, and read the columns that the model takes.

        Tokens int64 [T, 1 + n_q], text first, then own, then the user's; a state of one row → int64 [T, 1 + n_q].
        """
        steps = torch.arange(len(tokens), device=tokens.device)[:, None]  # [T, 1]
        source = steps - self.lag  # [T, 1 + n_q]: the step whose token stands in the column of this one
        before = state.columns[0].T.gather(0, ((state.offset + steps) % self.capacity).expand_as(tokens))
        columns = torch.where(source >= 0, tokens.gather(0, source.clamp(min=0)), before)
        columns = torch.where(state.offset + steps <= self.delays, self.initial, columns)
        last = slice(-self.capacity, None)  # earlier columns would be overwritten
        at = (state.offset + steps + self.lag) % self.capacity
        state.columns[0].scatter_(1, at[last].T, tokens[last].T)
        state.offset.add_(len(tokens))
        return columns

    def aligned(self, state: DelayState) -> tuple[Tensor, Tensor]:
        """The newest frame of which every stream is known: tokens int64 [S, 1 + dep_q], and whether it exists [S]."""
        at = (state.offset[:, None] - self.max_delay + self.delays[: self.first_user]) % self.capacity
        return state.columns[:, : self.first_user].gather(2, at[:, :, None])[:, :, 0], state.offset > self.max_delay
