"""Records of calls that never were, with times that a test chose; and how to wait for those that are."""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import Callable, Iterable

from server.audio.framing import FRAME_S
from server.load.record import CallRecord


def record(
    sent_at: Iterable[float],
    heard_at: Iterable[float] | None = None,
    *,
    turnaround_s: float = 0.02,
    over: bool = True,
    caller: int = 0,
) -> CallRecord:
    """A call that sent at these times and was answered after `turnaround_s`, or at the times that are given."""
    sent = array("d", sent_at)
    heard = array("d", (at + turnaround_s for at in sent) if heard_at is None else heard_at)
    begun_at = sent[0] - FRAME_S if sent else 99.5
    return CallRecord(
        caller,
        dialled_at=begun_at - 0.5,
        greeted_after_s=0.5,
        over_at=max([*sent, *heard, begun_at]) + 0.3 if over else None,
        due_from=begun_at + FRAME_S - 0.001,
        due_every_s=FRAME_S,
        late_by_s=array("f", [0.001] * len(sent)),
        sent_at=sent,
        heard_at=heard,
    )


async def until(condition: Callable[[], object]) -> None:
    """Wait until it is so; fail when it is not so soon."""
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 (nobody tells)
            await asyncio.sleep(0.01)
