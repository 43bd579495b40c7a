"""An echo instead of a model: a client hears its own voice, one frame after it was spoken.

It serves to check microphones and networks, and to measure everything that is not the model. No torch, no state, no
text.
"""

from __future__ import annotations

import numpy as np

from server.audio.framing import FRAME_SAMPLES
from server.engine.batch import Batch, StepResult
from server.engine.runner import DeviceMemory, ModelCard, Pending
from server.sessions.params import SessionParams


class EchoRunner:
    """A `Runner` that says what it hears."""

    card = ModelCard(
        name="echo", demo=True, notice="This is an echo test: you hear your own voice, no model is running."
    )

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self._said = np.zeros((2, slots, FRAME_SAMPLES), np.float32)  # alternating: one is sent while the next is made

    def warm_up(self) -> None: ...

    def start(self, slot: int, params: SessionParams) -> None: ...

    def stop(self, slot: int) -> None: ...

    def move(self, source: int, target: int) -> None: ...

    def submit(self, batch: Batch) -> Pending:
        rows, heard = len(batch.active), np.flatnonzero(batch.active)
        said = self._said[0, :rows]
        self._said = self._said[::-1]
        said[heard] = batch.pcm[heard]
        result = StepResult(said, batch.active.copy(), [""] * rows, np.ones(rows, np.bool_), len(heard))
        return lambda: result

    def device_memory(self) -> DeviceMemory | None:
        return None

    def close(self) -> None: ...
