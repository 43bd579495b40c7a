"""Calls over bad networks: what is late is not kept waiting for ever, and what breaks is taken up again."""

from __future__ import annotations

import pytest

from server.metrics import Count
from tests.chaos.network import Weather, bad_network
from tests.chaos.traveller import travelling
from tests.server.chat_client import wait_until
from tests.server.conftest import Serve

OUTAGE_S = 2.0
STORMY = {
    "jitter": Weather(delay_s=0.05, jitter_s=0.03),
    "loss": Weather(delay_s=0.05, jitter_s=0.03, loss=0.02),
    "narrow": Weather(delay_s=0.05, bytes_per_s=16_000),  # twice what speech takes
}


@pytest.mark.parametrize("weather", STORMY)
async def test_an_outage_leaves_no_delay_behind(serve: Serve, weather: str):
    """A queue that keeps what came late would keep it for the rest of the call: as long as the outage was."""
    served = await serve()
    async with (
        bad_network(served.port, STORMY[weather]) as network,
        travelling(f"ws://127.0.0.1:{network.port}/api/chat") as traveller,
    ):
        before_s = await traveller.delay_s()
        await network.outage(OUTAGE_S)
        assert await traveller.delay_s() < before_s + OUTAGE_S / 2
        assert len(traveller.calls) == 1, "an outage is no end"


async def test_every_reset_within_the_window_is_resumed(serve: Serve):
    served = await serve(slots=1)
    async with (
        bad_network(served.port, STORMY["jitter"]) as network,
        travelling(f"ws://127.0.0.1:{network.port}/api/chat") as traveller,
    ):
        for cuts in range(5):
            await traveller.delay_s(clicks=1)
            network.cut()
            await wait_until(lambda cuts=cuts: len(traveller.calls) == cuts + 2)
        await traveller.delay_s(clicks=1)
        assert len(set(traveller.calls)) == 1, "one conversation"
        assert served.service.counts[Count.CALLS_RESUMED] == 5
        assert not traveller.ends
