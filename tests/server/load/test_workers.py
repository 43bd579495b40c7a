"""The worker processes: what they report, and what happens when they or their parent end."""

from __future__ import annotations

import os
import signal
import time
from multiprocessing import get_context

import pytest

from server.load.call_log import CallLog
from server.load.workers import WorkerLost, Workers, run_worker
from server.load.workload import DurationMix, Workload

UNREACHABLE = Workload("ws://127.0.0.1:9/api/chat", DurationMix(((1, 1),)), [[[b"\x68"] * 4]], is_single=True)


def test_callers_are_distributed_and_all_calls_reported() -> None:
    log = CallLog()
    with Workers(UNREACHABLE, 2) as workers:
        workers.wait_until_ready()
        assert workers.callers == 0
        workers.resize(5)
        assert workers.callers is None  # until they have carried out the order
        while not workers.are_done:
            log.add(workers.receive(0.1))
        assert workers.cpu_s > 0
    assert sorted(call.caller for call in log.calls) == [0, 1, 2, 3, 4]
    assert all(call.failure and call.failure.startswith("cannot connect") for call in log.calls)


def test_a_killed_worker_raises_worker_lost() -> None:
    with Workers(UNREACHABLE, 1) as workers:
        workers.wait_until_ready()
        workers._processes[0].kill()
        with pytest.raises(WorkerLost, match="was it killed"):
            workers.receive(30)


def test_a_worker_ends_with_its_parent_and_ignores_sigint() -> None:
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=run_worker, args=(UNREACHABLE, theirs), daemon=True)
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
