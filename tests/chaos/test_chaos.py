"""The storm in short. `make chaos` is the same with 200 callers for ten minutes."""

from __future__ import annotations

import asyncio
import logging
import threading
from pathlib import Path

import pytest

from tests.chaos.crowd import settle_accounts, storm
from tests.chaos.witness import Witness
from tests.server.conftest import Serve


@pytest.mark.usefixtures("quick_watch")
async def test_nothing_is_left_of_a_storm_and_every_end_is_accounted_for(
    serve: Serve, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.WARNING, "server")
    served = await serve(slots=4, max_waiting=4, stalled_s=1.0, resume_s=1.0)
    tasks, threads = len(asyncio.all_tasks()), threading.active_count()
    ledger = await storm(served, callers=16, seconds=5, seed=1)
    await settle_accounts(served, ledger)
    assert ledger.told["full"] and ledger.told["parameter"] and ledger.asked > 16
    assert [record.message for record in caplog.records if record.name.startswith("server")] == []
    assert len(asyncio.all_tasks()) <= tasks and threading.active_count() <= threads


@pytest.mark.usefixtures("quick_watch", "patient_engine")
async def test_one_who_behaves_hears_token_for_token_what_they_hear_alone(serve: Serve, tmp_path: Path):
    pytest.importorskip("torch")
    witness = Witness(tmp_path, slots=4)
    served = await serve(make_runner=lambda: witness.runner, max_waiting=4, stalled_s=1.0, resume_s=1.0)
    alone = await witness.converse(served, frames=24)
    raging = asyncio.create_task(storm(served, callers=6, seconds=3, seed=2))
    in_company = await witness.converse(served, frames=24, while_running=raging)
    await settle_accounts(served, await raging, others=2)
    assert in_company[: len(alone)] == alone and len(alone) > 20
    assert witness.company > 1, "nobody else was stepped with it"
