"""The limit on requests of one address."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from server.access import request_limits
from server.access.request_limits import AT_ONCE, BURST, REQUESTS_PER_S, RequestLimiter
from server.errors import TooManyRequests
from tests.fakes import FakeClock


def spend(limiter: RequestLimiter, address: str, cost: int = 1) -> bool:
    try:
        with limiter.acquire(address, cost):
            return True
    except TooManyRequests:
        return False


def test_burst_is_spent_by_cost_and_refilled_over_time():
    clock = FakeClock()
    limiter = RequestLimiter(clock)
    assert [spend(limiter, "a", 100) for _ in range(11)] == [True] * int(BURST / 100) + [False]
    assert spend(limiter, "b", 100)
    clock.advance(100 / REQUESTS_PER_S)
    assert [spend(limiter, "a", 100) for _ in range(2)] == [True, False]


def test_requests_at_once_are_limited_until_one_is_answered():
    limiter = RequestLimiter(FakeClock())
    with ExitStack() as others:
        for _ in range(AT_ONCE - 1):
            others.enter_context(limiter.acquire("a", 1))
        with limiter.acquire("a", 1), pytest.raises(TooManyRequests), limiter.acquire("a", 1):
            pass
        assert spend(limiter, "a")


def test_addresses_are_forgotten_beyond_a_number():
    limiter = RequestLimiter(FakeClock())
    for number in range(2 * request_limits._MAX_ADDRESSES):
        spend(limiter, str(number))
    assert len(limiter._usage) == request_limits._MAX_ADDRESSES
