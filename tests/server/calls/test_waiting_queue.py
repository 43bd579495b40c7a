"""The waiting line: who is told what, and whether the estimate is a fair one."""

from __future__ import annotations

import random
import statistics

import pytest

from server.calls.waiting_queue import WaitingQueue, waits_s
from server.events import Queued
from server.sessions.params import SessionParams
from server.sessions.session import Session
from tests.fakes import FakeClock


async def told(session: Session) -> tuple[int, int | None] | None:
    """Place and wait in the last event that has not been sent."""
    if session.outbox.is_empty:
        return None
    event = await session.outbox.next()
    assert isinstance(event, Queued)
    return event.position, event.wait_s


def line_of(count: int) -> tuple[WaitingQueue, list[Session]]:
    line, sessions = WaitingQueue(), [Session(SessionParams(), FakeClock()) for _ in range(count)]
    for session in sessions:
        line.append(session)
    return line, sessions


async def test_places_are_told_again_only_when_something_changes():
    line, (first, second, third) = line_of(3)
    line.send_positions([0.0])
    assert [await told(session) for session in (first, second, third)] == [(1, None), (2, None), (3, None)]
    line.send_positions([5.0])
    assert [await told(session) for session in (first, second, third)] == [None, None, None]
    line.remove(second)
    line.send_positions([6.0])
    assert [await told(session) for session in (first, third)] == [None, (2, None)]
    line.note_length(60.0)
    line.send_positions([20.0])
    assert [await told(session) for session in (first, third)] == [(1, 40), (2, 100)]
    line.send_positions([21.0])  # a second is no news to who waits for a minute
    assert [await told(session) for session in (first, third)] == [None, None]
    line.send_positions([52.0])
    assert await told(first) == (1, 8)
    assert line.pop_first() is first and list(line) == [third]


@pytest.mark.parametrize(
    ("ages_s", "lengths_s", "waits"),
    [
        ([0.0], [], [None, None]),  # nothing to go by
        ([], [60.0], [None, None]),
        ([50.0], [60.0], [10.0, 70.0]),  # not 60 and 120: the call before has gone on for a while
        ([50.0, 30.0], [60.0], [10.0, 30.0]),  # two slots, so the second need not wait for the first
        ([90.0], [60.0], [90.0, 150.0]),  # longer than any before
        ([100.0], [10.0, 10.0, 10.0, 200.0, 300.0], [200.0, 210.0]),  # who has talked for so long talks on
    ],
)
def test_the_wait_follows_from_the_calls_that_run(
    ages_s: list[float], lengths_s: list[float], waits: list[float | None]
):
    assert waits_s(ages_s, lengths_s, 2) == waits


@pytest.mark.parametrize("draw", [lambda r: r.uniform(30, 90), lambda r: r.expovariate(1 / 60)], ids=["alike", "mixed"])
def test_the_estimate_is_right_as_a_rule(draw):
    """Against a thousand lines of four behind three slots: neither a promise that is broken nor a deterrent."""
    generator = random.Random(1)
    lengths = sorted(draw(generator) for _ in range(256))
    errors: list[float] = []
    for _ in range(1000):
        ages, ends = [], []
        while len(ages) < 3:  # calls as they are met at some moment: long ones more often
            length, moment = draw(generator), generator.uniform(0, 400)
            if moment < length:
                ages.append(moment)
                ends.append(length - moment)
        said = waits_s(ages, lengths, 4)[3]
        for _ in range(3):
            first = min(ends)
            ends.remove(first)
            ends.append(first + draw(generator))
        assert said is not None
        errors.append(said - min(ends))
    assert abs(statistics.median(errors)) < 10, "of a minute's wait, more or less"
