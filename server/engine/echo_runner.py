"""The telephone's echo test: a caller hears their own voice, one frame after it was spoken.

Serves to check microphones and networks, and to measure all that is not the model. No torch, no state, no
text.
"""

from __future__ import annotations

import numpy as np

from server.engine.batch import Batch, StepResult
from server.engine.runner import DeviceMemory, ModelCard, Pending
from server.session import SessionParams


class EchoRunner:
    """A `Runner` that says what it hears."""

    card = ModelCard(
        name="echo", demo=True, notice="This is an echo test: you hear your own voice, no model is running."
    )

    def __init__(self, slots: int) -> None:
        self.slots = slots

    def warm_up(self) -> None: ...

    def start(self, slot: int, params: SessionParams) -> None: ...

    def stop(self, slot: int) -> None: ...

    def move(self, source: int, target: int) -> None: ...

    def submit(self, batch: Batch) -> Pending:
        rows = len(batch.active)
        result = StepResult(batch.pcm.copy(), batch.active.copy(), [""] * rows, np.ones(rows, np.bool_))
        return lambda: result

    def device_memory(self) -> DeviceMemory | None:
        return None

    def close(self) -> None: ...
