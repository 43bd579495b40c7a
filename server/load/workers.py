"""The processes that call, so that one that shows figures, or one core, is not the limit of what is measured.

Caller k lives in process k modulo their number. Each reports often, and each time on a part of its calls, since all at
once would take the loop milliseconds; from a thread, so that nobody's pace waits for a pipe. Knows processes and pipes;
knows not what callers do.
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

from server.load.crowd import Crowd, Habits
from server.load.record import CallRecord

REPORTS_EVERY_S = 0.05
_PARTS = 10  # so each call is reported on twice a second
_ENDS_WITHIN_S = 5.0


class WorkerLost(Exception):
    """A process of callers has ended by itself."""

    def __init__(self) -> None:
        super().__init__("a process of callers ended by itself; was it killed?")


@dataclass(frozen=True, slots=True)
class Report:
    """What one process tells."""

    orders: int  # how many orders it has followed
    callers: int  # that are there still
    calls: int  # that are under way, or not told of to the end
    cpu_s: float  # that it has used so far
    news: Sequence[tuple[int, CallRecord]]


class Workers:
    """Some processes of callers. Use as a context; on leaving it, they are gone."""

    def __init__(self, habits: Habits, processes: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._orders = 0
        self._pipes = []
        self._processes = []
        self._reports: dict[int, Report] = {}  # the last one of each
        for _ in range(processes):
            ours, theirs = context.Pipe()
            process = context.Process(target=call_as_ordered, args=(habits, theirs), daemon=True)
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
            process.join(_ENDS_WITHIN_S)
            process.kill()

    @property
    def callers(self) -> int | None:
        """How many callers there are, or have not quite left; None until the last order was followed."""
        reports = self._reports.values()
        if len(reports) < len(self._pipes) or any(report.orders < self._orders for report in reports):
            return None
        return sum(report.callers for report in reports)

    @property
    def are_done(self) -> bool:
        """Whether all callers have left, and all was told of them."""
        return self.callers == 0 and not any(report.calls for report in self._reports.values())

    @property
    def cpu_s(self) -> float:
        """Processor time that they have used so far."""
        return sum(report.cpu_s for report in self._reports.values())

    def wait_until_ready(self) -> None:
        """Return when all of them have begun. Raises WorkerLost."""
        while len(self._reports) < len(self._pipes):
            self.receive(0.05)

    def resize(self, callers: int) -> None:
        """Let there be so many callers, numbered from 0. Raises WorkerLost."""
        self._orders += 1
        try:
            for number, pipe in enumerate(self._pipes):
                pipe.send(range(number, callers, len(self._pipes)))
        except OSError as error:
            raise WorkerLost from error

    def receive(self, timeout_s: float) -> list[tuple[tuple[int, int], CallRecord]]:
        """What is new of each call, by its process and number, within a time. Raises WorkerLost."""
        deadline = time.monotonic() + timeout_s
        news: list[tuple[tuple[int, int], CallRecord]] = []
        while True:
            ready = wait(self._pipes, max(0.0, deadline - time.monotonic()))
            for number in [number for number, pipe in enumerate(self._pipes) if pipe in ready]:
                try:
                    report: Report = self._pipes[number].recv()
                except (EOFError, OSError) as error:
                    raise WorkerLost from error
                self._reports[number] = report
                news += [((number, call), record) for call, record in report.news]
            if time.monotonic() >= deadline:
                return news


def call_as_ordered(habits: Habits, pipe: Connection) -> None:
    """One process of callers: follow the orders that come, until the pipe is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal sends it to us too, but our parent decides
    gc.freeze()  # what was imported is looked through no more: that took 20 ms now and then
    with suppress(EOFError, OSError):
        asyncio.run(_call_as_ordered(habits, pipe))


async def _call_as_ordered(habits: Habits, pipe: Connection) -> None:
    crowd, orders, followed = Crowd(habits), asyncio.Queue[range | None](), 0
    loop = asyncio.get_running_loop()
    Thread(target=_listen, args=(pipe, loop, orders), daemon=True).start()
    for number in itertools.count():
        try:
            order = await asyncio.wait_for(orders.get(), REPORTS_EVERY_S)
        except TimeoutError:
            news = crowd.take(number % _PARTS, _PARTS)
            report = Report(followed, crowd.callers, crowd.calls, time.process_time(), news)
            await asyncio.to_thread(pipe.send, report)
            continue
        if order is None:
            return
        crowd.resize(order)
        followed += 1


def _listen(pipe: Connection, loop: asyncio.AbstractEventLoop, orders: asyncio.Queue[range | None]) -> None:
    with suppress(RuntimeError):  # the loop may be closed already
        with suppress(EOFError, OSError):
            while True:
                loop.call_soon_threadsafe(orders.put_nowait, pipe.recv())
        loop.call_soon_threadsafe(orders.put_nowait, None)
