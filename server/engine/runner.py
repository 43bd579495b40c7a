"""The one seam between the engine and a model: `Runner`.

A runner owns the state of a fixed number of slots and steps all of them at once. Everything here is called
from the engine thread only, one call at a time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from server.engine.batch import Batch, StepResult
from server.session import SessionParams


@dataclass(frozen=True, slots=True)
class ModelCard:
    """What people are told about the model that is being served."""

    name: str
    demo: bool  # True: not a real conversation partner; pages and logs say so with `notice`
    notice: str = ""  # one plain sentence, "" for none


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

    def step(self, batch: Batch) -> StepResult:
        """Run one frame for rows ``[:len(batch.active)]``, which hold every live slot."""
        ...

    def close(self) -> None:
        """Give back what the runner holds."""
        ...
