"""The storm in short. `make chaos` is the same with 200 callers for ten minutes."""

from __future__ import annotations

import asyncio
import logging
import random
import threading
from functools import partial
from pathlib import Path

import pytest

from tests.chaos import returning
from tests.chaos.caller import Caller, Ledger
from tests.chaos.crowd import settle_accounts, storm
from tests.chaos.returning import RESUME_S, WAYS, lose_and, restless
from tests.chaos.witness import Witness
from tests.server.conftest import Serve


@pytest.mark.usefixtures("short_watch_interval")
async def test_nothing_is_left_of_a_storm_and_every_end_is_accounted_for(
    serve: Serve, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.WARNING, "server")
    served = await serve(slots=4, max_waiting=4, stalled_s=1.0, resume_s=RESUME_S)
    tasks, threads = len(asyncio.all_tasks()), threading.active_count()
    ledger = await storm(served, callers=16, seconds=5, seed=1)
    await settle_accounts(served, ledger)
    assert ledger.told["full"] and ledger.told["parameter"] and ledger.asked > 16
    assert [record.message for record in caplog.records if record.name.startswith("server")] == []
    assert len(asyncio.all_tasks()) <= tasks and threading.active_count() <= threads


@pytest.mark.usefixtures("short_watch_interval")
async def test_who_comes_back_finds_their_own_call_or_hears_that_there_is_none(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(returning, "RESUME_S", 0.2)
    served = await serve(slots=2, resume_s=0.2)
    caller = Caller(served.chat, random.Random(1), Ledger())
    await caller.dial("", lambda client: restless(client, caller))
    for way in WAYS:
        await caller.dial("", partial(lose_and, way, caller=caller))
    await settle_accounts(served, caller.ledger)
    assert caller.ledger.resumed >= 1 and caller.ledger.told["taken_over"] == 1 and caller.ledger.told["resume"] >= 2


@pytest.mark.usefixtures("short_watch_interval", "unpaced_engine")
async def test_one_who_behaves_hears_token_for_token_what_they_hear_alone(serve: Serve, tmp_path: Path):
    pytest.importorskip("torch")
    witness = Witness(tmp_path, slots=4)
    served = await serve(make_runner=lambda: witness.runner, max_waiting=4, stalled_s=1.0, resume_s=RESUME_S)
    alone = await witness.converse(served, frames=24)

    async def rage() -> Ledger:
        ledger = Ledger()
        for seed in range(2, 8):
            await storm(served, 6, 3, seed, ledger)
            if witness.company > 1:  # who is stepped with whom is chance, and steps are short where nothing else runs
                break
        return ledger

    raging = asyncio.create_task(rage())
    in_company = await witness.converse(served, frames=24, while_running=raging)
    await settle_accounts(served, await raging, others=2, others_resumed=witness.moved)
    assert in_company[: len(alone)] == alone and len(alone) > 20 and witness.moved >= 4
    assert witness.company > 1, "nobody else was stepped with it"
