"""The waiting queue: places and estimated waits."""

from __future__ import annotations

import random
import statistics

import pytest

from server.calls.waiting_queue import WaitingQueue, waits_s
from server.events import Queued
from server.sessions.params import SessionParams
from server.sessions.session import Session
from tests.fakes import FakeClock


async def next_place(session: Session) -> tuple[int, int | None] | None:
    """Position and wait in the event that is sent next; None if there is none."""
    if session.outbox.is_empty:
        return None
    event = await session.outbox.next()
    assert isinstance(event, Queued)
    return event.position, event.wait_s


def queue_of(count: int) -> tuple[WaitingQueue, list[Session]]:
    queue, sessions = WaitingQueue(), [Session(SessionParams(), FakeClock()) for _ in range(count)]
    for session in sessions:
        queue.append(session)
    return queue, sessions


async def test_place_is_sent_again_only_after_it_changed():
    queue, (first, second, third) = queue_of(3)
    queue.send_positions([0.0])
    assert [await next_place(session) for session in (first, second, third)] == [(1, None), (2, None), (3, None)]
    queue.send_positions([5.0])
    assert [await next_place(session) for session in (first, second, third)] == [None, None, None]
    queue.remove(second)
    queue.send_positions([6.0])
    assert [await next_place(session) for session in (first, third)] == [None, (2, None)]
    queue.note_length(60.0)
    queue.send_positions([20.0])
    assert [await next_place(session) for session in (first, third)] == [(1, 40), (2, 100)]
    queue.send_positions([21.0])  # one second of forty is too little to send it again
    assert [await next_place(session) for session in (first, third)] == [None, None]
    queue.send_positions([52.0])
    assert await next_place(first) == (1, 8)
    assert queue.pop_first() is first and list(queue) == [third]


@pytest.mark.parametrize(
    ("ages_s", "lengths_s", "waits"),
    [
        ([0.0], [], [None, None]),  # no call has ended yet
        ([], [60.0], [None, None]),
        ([50.0], [60.0], [10.0, 70.0]),  # not 60 and 120: the running call is 50 s old
        ([50.0, 30.0], [60.0], [10.0, 30.0]),  # two slots: the second waits for the other call
        ([90.0], [60.0], [90.0, 150.0]),  # the running call is longer than any before
        ([100.0], [10.0, 10.0, 10.0, 200.0, 300.0], [200.0, 210.0]),  # a long call tends to last longer still
    ],
)
def test_waits_s_from_ages_and_lengths(ages_s: list[float], lengths_s: list[float], waits: list[float | None]):
    assert waits_s(ages_s, lengths_s, 2) == waits


@pytest.mark.parametrize(
    "draw", [lambda r: r.uniform(30, 90), lambda r: r.expovariate(1 / 60)], ids=["uniform", "exponential"]
)
def test_median_error_of_the_estimated_wait_is_small(draw):
    """Against a thousand random queues of four behind three slots."""
    generator = random.Random(1)
    lengths = sorted(draw(generator) for _ in range(256))
    errors: list[float] = []
    for _ in range(1000):
        ages, ends = [], []
        while len(ages) < 3:  # a random moment meets long calls more often
            length, moment = draw(generator), generator.uniform(0, 400)
            if moment < length:
                ages.append(moment)
                ends.append(length - moment)
        estimate_s = waits_s(ages, lengths, 4)[3]
        for _ in range(3):
            first = min(ends)
            ends.remove(first)
            ends.append(first + draw(generator))
        assert estimate_s is not None
        errors.append(estimate_s - min(ends))
    assert abs(statistics.median(errors)) < 10, "seconds, of a wait of about a minute"
