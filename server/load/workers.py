"""The worker processes that make the calls, so that neither the display nor a single core limits what is measured.

Caller k runs in process k modulo their number. Each process reports often, and each time on a part of its calls,
because all of them at once would block its event loop for milliseconds; it reports from a thread, so that no call waits
for a pipe. Knows processes and pipes; does not know what callers do.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import multiprocessing
import signal
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from threading import Thread

from server.load.call_record import CallRecord
from server.load.caller_pool import CallerPool
from server.load.workload import Workload

REPORT_INTERVAL_S = 0.05
_PARTS = 10  # so each call is reported on twice a second
_JOIN_TIMEOUT_S = 5.0


class WorkerLost(Exception):
    """A worker process ended unexpectedly."""

    def __init__(self) -> None:
        super().__init__("a worker process ended unexpectedly; was it killed?")


@dataclass(frozen=True, slots=True)
class WorkerReport:
    """The state of one worker process, and what is new of its calls."""

    orders: int  # that it has carried out
    callers: int  # active, or not quite gone
    calls: int  # running, or not yet reported to the end
    cpu_s: float  # used so far
    parts: Sequence[tuple[int, CallRecord]]


class Workers:
    """Worker processes. Use as a context manager; on exit, they are gone."""

    def __init__(self, workload: Workload, processes: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._orders = 0
        self._pipes = []
        self._processes = []
        self._reports: dict[int, WorkerReport] = {}  # the last one of each process
        for _ in range(processes):
            ours, theirs = context.Pipe()
            process = context.Process(target=run_worker, args=(workload, theirs), daemon=True)
            process.start()
            theirs.close()
            self._pipes.append(ours)
            self._processes.append(process)

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *_: object) -> None:
        for pipe in self._pipes:
            pipe.close()  # which ends them
        for process in self._processes:
            process.join(_JOIN_TIMEOUT_S)
            process.kill()

    @property
    def callers(self) -> int | None:
        """Callers that are active or not quite gone; None until every process has carried out the last order."""
        reports = self._reports.values()
        if len(reports) < len(self._pipes) or any(report.orders < self._orders for report in reports):
            return None
        return sum(report.callers for report in reports)

    @property
    def are_done(self) -> bool:
        """Whether all callers have left and all of their calls were reported."""
        return self.callers == 0 and not any(report.calls for report in self._reports.values())

    @property
    def cpu_s(self) -> float:
        """CPU time that the processes have used so far."""
        return sum(report.cpu_s for report in self._reports.values())

    def wait_until_ready(self) -> None:
        """Return when all processes have started. Raises WorkerLost."""
        while len(self._reports) < len(self._pipes):
            self.receive(0.05)

    def resize(self, callers: int) -> None:
        """Have this many callers active, numbered from 0. Raises WorkerLost."""
        self._orders += 1
        try:
            for number, pipe in enumerate(self._pipes):
                pipe.send(range(number, callers, len(self._pipes)))
        except OSError as error:
            raise WorkerLost from error

    def receive(self, timeout_s: float) -> list[tuple[tuple[int, int], CallRecord]]:
        """What is new of each call, by process and number, after collecting for `timeout_s`. Raises WorkerLost."""
        deadline = time.monotonic() + timeout_s
        parts: list[tuple[tuple[int, int], CallRecord]] = []
        while True:
            ready = wait(self._pipes, max(0.0, deadline - time.monotonic()))
            for number in [number for number, pipe in enumerate(self._pipes) if pipe in ready]:
                try:
                    report: WorkerReport = self._pipes[number].recv()
                except (EOFError, OSError) as error:
                    raise WorkerLost from error
                self._reports[number] = report
                parts += [((number, call), record) for call, record in report.parts]
            if time.monotonic() >= deadline:
                return parts


def run_worker(workload: Workload, pipe: Connection) -> None:
    """One worker process: carry out orders until the pipe is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal sends it to us too, but the parent decides
    gc.freeze()  # collections then skip what was imported; scanning it took 20 ms now and then
    with suppress(EOFError, OSError):
        asyncio.run(_run_worker(workload, pipe))


async def _run_worker(workload: Workload, pipe: Connection) -> None:
    pool, orders, carried_out = CallerPool(workload), asyncio.Queue[range | None](), 0
    loop = asyncio.get_running_loop()
    Thread(target=_receive_orders, args=(pipe, loop, orders), daemon=True).start()
    for number in itertools.count():
        try:
            order = await asyncio.wait_for(orders.get(), REPORT_INTERVAL_S)
        except TimeoutError:
            parts = pool.take(number % _PARTS, _PARTS)
            report = WorkerReport(carried_out, pool.callers, pool.calls, time.process_time(), parts)
            await asyncio.to_thread(pipe.send, report)
            continue
        if order is None:
            return
        pool.resize(order)
        carried_out += 1


def _receive_orders(pipe: Connection, loop: asyncio.AbstractEventLoop, orders: asyncio.Queue[range | None]) -> None:
    """Pass each order to the event loop; None when the pipe is closed."""
    with suppress(RuntimeError):  # the loop may be closed already
        with suppress(EOFError, OSError):
            while True:
                loop.call_soon_threadsafe(orders.put_nowait, pipe.recv())
        loop.call_soon_threadsafe(orders.put_nowait, None)
