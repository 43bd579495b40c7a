"""Prefill a slot before its call begins: known frames, in one pass of the temporal transformer.

A slot that was prompted once can be kept and put into others with `state.snapshot` and `state.restore_`. The server
does not use this yet.
"""

from __future__ import annotations

from torch import Tensor

from model.modes.duplex import Duplex, DuplexState
from model.state import row


def prefill(duplex: Duplex, tokens: Tensor, state: DuplexState, slot: int) -> None:
    """Take T known frames of one slot at once.

    `tokens` int64 [T, 1 + n_q]: row t is what the slot says in the t-th step from here, text and own codes as
    `Delays.push_spoken` takes them, and what it hears in it, the user's codes. Leaves what T such steps would leave of
    temporal state and delays. Codec and sampling stay as they are, since no sound is made and no token sampled.
    Once the window is full, columns go one by one: each takes the place of the oldest key, which those before it still
    see. Reads from the device how many frames the slot has had.
    """
    one = row(state, slot)
    columns = duplex.delays.push_known(tokens, one.delays)
    taken = int(one.temporal.length)
    room = max(0, duplex.config.temporal.context - taken)
    for chunk in (columns[:room], *columns[room:].split(1)):
        if len(chunk):
            duplex.temporal(chunk[None], one.temporal, None, taken)
            taken += len(chunk)
