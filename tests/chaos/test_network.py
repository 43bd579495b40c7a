"""Calls over bad networks: an outage leaves no lasting delay, and lost connections are resumed."""

from __future__ import annotations

import pytest

from server.metrics import Count
from tests.chaos.network import NetworkConditions, bad_network
from tests.chaos.roaming_caller import roaming_caller
from tests.server.chat_client import wait_until
from tests.server.conftest import Serve

OUTAGE_S = 2.0
CONDITIONS = {
    "jitter": NetworkConditions(delay_s=0.05, jitter_s=0.03),
    "loss": NetworkConditions(delay_s=0.05, jitter_s=0.03, loss=0.02),
    "narrow": NetworkConditions(delay_s=0.05, bytes_per_s=16_000),  # twice the rate of speech
}


@pytest.mark.parametrize("conditions", CONDITIONS)
async def test_an_outage_leaves_no_delay_behind(serve: Serve, conditions: str):
    """A queue that kept late frames would delay the rest of the call by the length of the outage."""
    served = await serve()
    async with (
        bad_network(served.port, CONDITIONS[conditions]) as network,
        roaming_caller(f"ws://127.0.0.1:{network.port}/api/chat") as caller,
    ):
        before_s = await caller.delay_s()
        await network.outage(OUTAGE_S)
        assert await caller.delay_s() < before_s + OUTAGE_S / 2
        assert len(caller.calls) == 1, "an outage does not end a call"


async def test_every_reset_is_resumed_within_the_resume_window(serve: Serve):
    served = await serve(slots=1)
    async with (
        bad_network(served.port, CONDITIONS["jitter"]) as network,
        roaming_caller(f"ws://127.0.0.1:{network.port}/api/chat") as caller,
    ):
        for resets in range(5):
            await caller.delay_s(clicks=1)
            network.reset()
            await wait_until(lambda resets=resets: len(caller.calls) == resets + 2)
        await caller.delay_s(clicks=1)
        assert len(set(caller.calls)) == 1, "all connections belong to one conversation"
        assert served.service.counts[Count.CALLS_RESUMED] == 5
        assert not caller.ends
