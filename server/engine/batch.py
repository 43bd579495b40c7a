"""What crosses the seam between the engine and a runner: one frame for every slot, in and out.

Owner: engine thread. Numpy only, so that everything but the Moshi runner works without torch.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Batch:
    """One frame per row. Row ``i`` is slot ``i``; rows that are not active keep their state unmoved."""

    pcm: NDArray[np.float32]  # [rows, FRAME_SAMPLES], -1…1
    active: NDArray[np.bool_]  # [rows]


@dataclass(frozen=True, slots=True)
class StepResult:
    """What the model said in answer to a `Batch`."""

    pcm: NDArray[np.float32]  # [rows, FRAME_SAMPLES], -1…1
    spoken: NDArray[np.bool_]  # [rows]; False where nothing was emitted: idle, or the delays still filling
    pieces: list[str]  # [rows]; the text spoken with this frame, "" for none, always whole characters
    finite: NDArray[np.bool_]  # [rows]; False where an active row's numbers are no numbers any more: it can't go on
    computed: int  # rows, as not every runner computes those that are not active


_ROWS_APART = 4  # so that few of a large batch's rows are stepped for nobody


def buckets(slots: int) -> list[int]:
    """How many rows a step may have, of so many slots: 1, 2, 4, 8, 12, 16 …, and all."""
    return [rows for rows in (1, 2, *range(_ROWS_APART, slots, _ROWS_APART)) if rows < slots] + [slots]
