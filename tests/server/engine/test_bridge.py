from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from types import SimpleNamespace

from server.engine.bridge import Bridge, Command, EngineCrashed, Notice, StopEngine
from tests.server.chat_client import TIMEOUT_S


async def test_notices_arrive_on_the_event_loop_and_commands_on_the_engine_thread():
    arrived: asyncio.Queue[tuple[int, Sequence[Notice]]] = asyncio.Queue()
    bridge = Bridge(asyncio.get_running_loop(), lambda notices: arrived.put_nowait((threading.get_ident(), notices)))
    taken: list[Command] = []

    def engine() -> None:
        while not (commands := bridge.commands()):
            bridge.wait(TIMEOUT_S)
        taken.extend(commands)
        bridge.post([EngineCrashed("done")])

    thread = threading.Thread(target=engine)
    thread.start()
    bridge.submit(StopEngine())
    async with asyncio.timeout(TIMEOUT_S):
        thread_id, notices = await arrived.get()
    bridge.notify()
    await asyncio.to_thread(thread.join, TIMEOUT_S)
    assert (taken, notices, thread_id) == ([StopEngine()], [EngineCrashed("done")], threading.get_ident())


def test_notify_wakes_the_engine_once_per_turn_of_the_event_loop():
    scheduled: list[Callable[[], None]] = []  # callbacks of the event loop's next turn
    bridge = Bridge(SimpleNamespace(call_soon=scheduled.append), lambda _: None)  # type: ignore[arg-type]
    for _ in range(2):
        for _ in range(5):
            bridge.notify()
        [wake] = scheduled
        scheduled.clear()
        wake()
        bridge.wait(None)  # returns at once, or the test hangs


def test_notify_between_commands_and_wait_ends_the_wait():
    loop = asyncio.new_event_loop()
    bridge = Bridge(loop, lambda _: None)
    bridge.commands()
    bridge.submit(StopEngine())
    bridge.wait(None)  # returns at once, or the test hangs
    assert bridge.commands() == [StopEngine()]
    loop.close()
    bridge.post([])  # the loop is closed, which is no error
