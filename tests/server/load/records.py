"""Synthetic call records, and a way to wait for real ones."""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import Callable, Iterable

from server.audio.framing import FRAME_S
from server.load.call_record import CallRecord


def record(
    sent_at: Iterable[float],
    received_at: Iterable[float] | None = None,
    *,
    turnaround_s: float = 0.02,
    is_over: bool = True,
    caller: int = 0,
) -> CallRecord:
    """A call that sent at these times and was answered after `turnaround_s`, or at `received_at`."""
    sent = array("d", sent_at)
    heard = array("d", (at + turnaround_s for at in sent) if received_at is None else received_at)
    speech_at = sent[0] - FRAME_S if sent else 99.5
    return CallRecord(
        caller,
        started_at=speech_at - 0.5,
        handshake_after_s=0.5,
        ended_at=max([*sent, *heard, speech_at]) + 0.3 if is_over else None,
        first_due_at=speech_at + FRAME_S - 0.001,
        send_interval_s=FRAME_S,
        late_by_s=array("f", [0.001] * len(sent)),
        sent_at=sent,
        received_at=heard,
    )


async def until(condition: Callable[[], object]) -> None:
    """Wait until `condition()` holds; fail if it does not soon."""
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110, there is no event to wait for
            await asyncio.sleep(0.01)
