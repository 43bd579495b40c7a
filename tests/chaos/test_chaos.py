"""Short runs with random callers. `make chaos` runs 200 callers for ten minutes."""

from __future__ import annotations

import asyncio
import logging
import random
import threading
from functools import partial
from pathlib import Path

import pytest

from tests.chaos import resuming
from tests.chaos.caller import CallTally, ChaosCaller
from tests.chaos.control_caller import ControlCaller
from tests.chaos.random_callers import assert_counts_agree, run_callers
from tests.chaos.resuming import RESUME_S, WAYS, lose_then, taking_over
from tests.server.conftest import Serve


@pytest.mark.usefixtures("short_watch_interval")
async def test_random_callers_leave_nothing_behind_and_all_ends_are_counted(
    serve: Serve, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.WARNING, "server")
    served = await serve(slots=4, max_waiting=4, stalled_s=1.0, resume_s=RESUME_S)
    tasks, threads = len(asyncio.all_tasks()), threading.active_count()
    tally = await run_callers(served, callers=16, seconds=5, seed=1)
    await assert_counts_agree(served, tally)
    assert tally.end_reasons["full"] and tally.end_reasons["parameter"] and tally.answered > 16
    assert [record.message for record in caplog.records if record.name.startswith("server")] == []
    assert len(asyncio.all_tasks()) <= tasks and threading.active_count() <= threads


@pytest.mark.usefixtures("short_watch_interval")
async def test_a_resuming_caller_finds_its_own_call_or_gets_a_reason(serve: Serve, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(resuming, "RESUME_S", 0.2)
    served = await serve(slots=2, resume_s=0.2)
    caller = ChaosCaller(served.chat, random.Random(1), CallTally())
    await caller.dial("", lambda client: taking_over(client, caller))
    for way in WAYS:
        await caller.dial("", partial(lose_then, way, caller=caller))
    await assert_counts_agree(served, caller.tally)
    assert (
        caller.tally.resumed >= 1
        and caller.tally.end_reasons["taken_over"] == 1
        and caller.tally.end_reasons["resume"] >= 2
    )


@pytest.mark.usefixtures("short_watch_interval", "unpaced_engine")
async def test_a_caller_gets_the_same_tokens_among_others_as_alone(serve: Serve, tmp_path: Path):
    pytest.importorskip("torch")
    control = ControlCaller(tmp_path, slots=4)
    served = await serve(make_runner=lambda: control.runner, max_waiting=4, stalled_s=1.0, resume_s=RESUME_S)
    alone = await control.converse(served, frames=24)

    async def run_others() -> CallTally:
        tally = CallTally()
        for seed in range(2, 8):
            await run_callers(served, 6, 3, seed, tally)
            if control.company > 1:  # which callers share a step is random, and steps are short on an idle machine
                break
        return tally

    others = asyncio.create_task(run_others())
    in_company = await control.converse(served, frames=24, while_running=others)
    await assert_counts_agree(served, await others, others=2, others_resumed=control.moves)
    assert in_company[: len(alone)] == alone and len(alone) > 20 and control.moves >= 4
    assert control.company > 1, "no other caller shared a step with it"
