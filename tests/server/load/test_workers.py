"""The processes that call: what they report, and what happens when they or their parent go."""

from __future__ import annotations

import os
import signal
import time
from multiprocessing import get_context

import pytest

from server.load.crowd import Habits, Mix
from server.load.ledger import Ledger
from server.load.workers import WorkerLost, Workers, call_as_ordered

NOBODY = Habits("ws://127.0.0.1:9/api/chat", Mix(((1, 1),)), [[[b"\x68"] * 4]], is_once=True)


def test_callers_are_shared_out_and_all_is_told_of_them() -> None:
    ledger = Ledger()
    with Workers(NOBODY, 2) as workers:
        workers.wait_until_ready()
        assert workers.callers == 0
        workers.resize(5)
        assert workers.callers is None  # until they have followed
        while not workers.are_done:
            ledger.add(workers.receive(0.1))
        assert workers.cpu_s > 0
    assert sorted(call.caller for call in ledger.calls) == [0, 1, 2, 3, 4]
    assert all(call.failure and call.failure.startswith("cannot connect") for call in ledger.calls)


def test_a_process_that_is_gone_is_noticed() -> None:
    with Workers(NOBODY, 1) as workers:
        workers.wait_until_ready()
        workers._processes[0].kill()
        with pytest.raises(WorkerLost, match="was it killed"):
            workers.receive(30)


def test_a_process_ends_with_its_parent_and_not_with_the_terminals_interrupt() -> None:
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=call_as_ordered, args=(NOBODY, theirs), daemon=True)
    process.start()
    theirs.close()
    assert ours.poll(60)
    assert process.pid
    os.kill(process.pid, signal.SIGINT)
    ours.recv()
    time.sleep(0.2)
    assert process.is_alive()
    ours.close()
    process.join(30)
    assert process.exitcode == 0
