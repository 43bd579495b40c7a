"""A server killed during calls, once in every way. `make chaos` does it two hundred times."""

from __future__ import annotations

import random
from pathlib import Path

from tests.chaos.kills import WAYS, kill_server, read_recordings


async def test_after_a_kill_callers_get_a_reason_and_recordings_are_intact(tmp_path: Path):
    rng, port = random.Random(3), 0
    for way in WAYS:
        port = await kill_server(way, port, tmp_path, rng)
    assert read_recordings(tmp_path) > 0
