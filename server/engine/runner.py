"""The one seam between the engine and a model: `Runner`.

A runner owns the state of a fixed number of slots and steps all of them at once. Everything here but
`device_memory` is called from the engine thread only, one call at a time, and between a `submit` and its result
nothing but the telling of the result before: so a slot is never started, stopped or moved under a step.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from server.engine.batch import Batch, StepResult
from server.sessions.params import SessionParams


@dataclass(frozen=True, slots=True)
class ModelCard:
    """What people are told about the model that is being served."""

    name: str
    demo: bool  # True: not a real conversation partner; pages and logs say so with `notice`
    notice: str = ""  # one plain sentence, "" for none
    params: Mapping[str, float] = field(default_factory=dict)  # its makers' choices, for callers who make none


@dataclass(frozen=True, slots=True)
class DeviceMemory:
    """Of a device with a memory of its own."""

    used_bytes: int  # by this process
    total_bytes: int


# Waits for a step to end, or computes it where no device does so by itself.
Pending: TypeAlias = Callable[[], StepResult]


class Runner(Protocol):
    """A model over `slots` conversations."""

    @property
    def card(self) -> ModelCard: ...

    @property
    def slots(self) -> int: ...

    def warm_up(self) -> None:
        """Step every batch size once, so that the first caller waits for nothing. Leaves all slots fresh."""
        ...

    def start(self, slot: int, params: SessionParams) -> None:
        """Forget what `slot` heard and said, and take a new caller's parameters. Other slots do not notice."""
        ...

    def stop(self, slot: int) -> None:
        """The caller in `slot` is gone: keep nothing of theirs, and do nothing more for what they asked for."""
        ...

    def move(self, source: int, target: int) -> None:
        """Let the caller in `source` go on in `target`, a free slot, unchanged; `source` is free then."""
        ...

    def submit(self, batch: Batch) -> Pending:
        """Begin one frame for rows ``[:len(batch.active)]``, which hold every live slot.

        The batch is used again once the result is there. The result may lie in the runner's own buffers, and stays as
        it is until the step after the next begins.
        """
        ...

    def device_memory(self) -> DeviceMemory | None:
        """How full the device is; None where the model lives in the machine's own memory.

        Called from the event loop, unlike all the rest, and so without waiting for the device.
        """
        ...

    def close(self) -> None:
        """Give back what the runner holds."""
        ...
