"""A server killed in mid-call, once in every way. `make chaos` does it two hundred times."""

from __future__ import annotations

import random
from pathlib import Path

from tests.chaos.kills import WAYS, kill_one, read_all


async def test_after_every_kill_callers_know_the_next_start_is_clean_and_recordings_are_whole(tmp_path: Path):
    chance, port = random.Random(3), 0
    for way in WAYS:
        port = await kill_one(way, port, tmp_path, chance)
    assert read_all(tmp_path) > 0
