"""The only way between the event loop and the engine thread: small frozen messages, in both directions.

Commands go in at any time and are applied at the next tick boundary; all notices of a tick come back in one
`call_soon_threadsafe`. Nothing else in the engine touches the loop.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from server.engine.runner import ModelCard
from server.sessions.outbox import Reply
from server.sessions.session import Session

# ── Commands: event loop → engine


@dataclass(frozen=True, slots=True)
class OpenSession:
    """Give the session a slot and start the runner on it. Never more of these than there are free slots."""

    session: Session


@dataclass(frozen=True, slots=True)
class CloseSession:
    """Give back the slot of the session, which was opened before."""

    session: Session


@dataclass(frozen=True, slots=True)
class CheckIntegrity:
    """Check what must hold between ticks, and that these sessions and no others have slots. Tests ask for it."""

    holders: frozenset[Session]


@dataclass(frozen=True, slots=True)
class StopEngine:
    """End the engine thread."""


Command = OpenSession | CloseSession | CheckIntegrity | StopEngine

# ── Notices: engine → event loop


@dataclass(frozen=True, slots=True)
class EngineReady:
    """The runner is warm."""

    card: ModelCard
    slots: int  # how many sessions it takes at once


@dataclass(frozen=True, slots=True)
class SessionOpened:
    session: Session


@dataclass(frozen=True, slots=True)
class SessionClosed:
    session: Session


@dataclass(frozen=True, slots=True)
class Stepped:
    """One step's replies, and how many rows were computed for them."""

    replies: list[tuple[Session, Reply]]
    rows: int


@dataclass(frozen=True, slots=True)
class OutputNonFinite:
    """The model produced NaN or infinity for the session, which has to be closed."""

    session: Session


@dataclass(frozen=True, slots=True)
class IntegrityChecked:
    problem: str | None  # None: there is none


@dataclass(frozen=True, slots=True)
class EngineCrashed:
    """The runner could not be made, or a step raised. The engine thread has ended."""

    reason: str


Notice = EngineReady | SessionOpened | SessionClosed | Stepped | OutputNonFinite | IntegrityChecked | EngineCrashed


class Bridge:
    """Two queues, and a lock that the engine thread sleeps on."""

    def __init__(self, loop: asyncio.AbstractEventLoop, on_notices: Callable[[Sequence[Notice]], None]) -> None:
        self._loop = loop
        self._on_notices = on_notices
        self._commands: deque[Command] = deque()
        self._wakeup = threading.Lock()  # released to wake the engine: a threading.Event takes several times as long
        self._wakeup.acquire()
        self._is_waking = False  # `_signal` is scheduled

    def submit(self, command: Command) -> None:
        """Event loop: have `command` applied at the next tick boundary."""
        self._commands.append(command)
        self._signal()

    def notify(self) -> None:
        """Event loop: there is a frame to take. Wakes the engine once a turn of the loop, however many came in it.

        Waking a thread costs a good part of what an echo's step does, and a reply waits for the loop's next turn
        anyway.
        """
        if not self._is_waking:
            self._is_waking = True
            self._loop.call_soon(self._signal)

    def _signal(self) -> None:
        self._is_waking = False
        if self._wakeup.locked():  # only this side releases it
            self._wakeup.release()

    def commands(self) -> list[Command]:
        """Engine thread: take what was submitted. A signal after this one ends the next `wait` at once."""
        self._wakeup.acquire(blocking=False)
        return [self._commands.popleft() for _ in range(len(self._commands))]

    def wait(self, timeout_s: float | None) -> None:
        """Engine thread: sleep until it is signalled, or for `timeout_s`."""
        self._wakeup.acquire(timeout=-1 if timeout_s is None else timeout_s)

    def post(self, notices: Sequence[Notice]) -> None:
        """Engine thread: have `notices` handled on the event loop."""
        try:
            self._loop.call_soon_threadsafe(self._on_notices, notices)
        except RuntimeError:
            if not self._loop.is_closed():
                raise
