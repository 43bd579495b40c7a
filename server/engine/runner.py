"""The one seam between the engine and a model: `Runner`.

A runner owns the state of a fixed number of slots and steps all of them at once. Everything here except
`device_memory` is called from the engine thread, one call at a time. Between a `submit` and its result nothing is
called, so a slot is never started, stopped or moved during a step.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from server.engine.batch import Batch, StepResult
from server.sessions.params import SessionParams


@dataclass(frozen=True, slots=True)
class ModelCard:
    """What clients are told about the model that is served; and, in `advice`, the operator alone."""

    name: str
    demo: bool  # True: not a real conversation partner; the page and the log say so with `notice`
    notice: str = ""  # one plain sentence, "" for none
    params: Mapping[str, float] = field(default_factory=dict)  # the checkpoint's sampling defaults
    examples: Sequence[str] = ()  # what one can say to it
    advice: str = ""  # one sentence for the operator alone, "" for none
    delay_frames: int = 0  # how many frames its voice lags behind what it hears, by design


@dataclass(frozen=True, slots=True)
class DeviceMemory:
    """Of a device that has its own memory."""

    used_bytes: int  # by this process
    total_bytes: int


# Waits for the step's result, or computes it where no device runs by itself.
Pending: TypeAlias = Callable[[], StepResult]


class Runner(Protocol):
    """A model that steps `slots` sessions."""

    @property
    def card(self) -> ModelCard: ...

    @property
    def slots(self) -> int: ...

    def warm_up(self) -> None:
        """Step every batch size, so that the first session waits for nothing. Leaves all slots cleared."""
        ...

    def start(self, slot: int, params: SessionParams) -> None:
        """Clear `slot` and take a new session's parameters. Other slots are not affected."""
        ...

    def stop(self, slot: int) -> None:
        """The session in `slot` is over: keep nothing of it, and drop its parameters from the sampling plan."""
        ...

    def move(self, source: int, target: int) -> None:
        """Move the session in `source` to `target`, a free slot, unchanged; `source` is free then."""
        ...

    def submit(self, batch: Batch) -> Pending:
        """Begin one frame for rows ``[:len(batch.active)]``, which hold every live slot.

        The batch's arrays are reused once the result is there. The result may lie in the runner's own buffers, which
        stay as they are until the step after the next begins.
        """
        ...

    def device_memory(self) -> DeviceMemory | None:
        """How full the device is; None where the model is in the machine's own memory.

        Called from the event loop, unlike everything else, and so without waiting for the device.
        """
        ...

    def close(self) -> None:
        """Release what the runner holds."""
        ...
