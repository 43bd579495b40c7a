"""What crosses the seam between the engine and a runner: one frame for every slot, in and out.

Owner: the engine thread. Numpy only, so that everything but the model's runner works without torch.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Batch:
    """One frame per row. Row ``i`` is slot ``i``; the state of rows that are not active does not change."""

    pcm: NDArray[np.float32]  # [rows, FRAME_SAMPLES], -1…1
    active: NDArray[np.bool_]  # [rows]


@dataclass(frozen=True, slots=True)
class StepResult:
    """What the model said in answer to a `Batch`."""

    pcm: NDArray[np.float32]  # [rows, FRAME_SAMPLES], -1…1
    spoken: NDArray[np.bool_]  # [rows]; False where nothing was emitted: idle, or the delays still filling
    pieces: list[str]  # [rows]; the text piece of this frame, "" for none, always whole characters
    finite: NDArray[np.bool_]  # [rows]; False where an active row's output has NaN or infinity: it cannot go on
    computed: int  # how many rows were computed: some runners leave out those that are not active


_BUCKET_STEP = 4  # so that a large batch has few empty rows


def buckets(slots: int) -> list[int]:
    """The batch sizes that a step may have with so many slots: 1, 2, 4, 8, 12, 16 …, and all."""
    return [rows for rows in (1, 2, *range(_BUCKET_STEP, slots, _BUCKET_STEP)) if rows < slots] + [slots]
