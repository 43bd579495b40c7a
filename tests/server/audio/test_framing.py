from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from server.audio.framing import FRAME_SAMPLES, FrameAssembler


@settings(deadline=None)
@given(st.lists(st.integers(0, 5_000), max_size=12))
def test_frames_do_not_depend_on_where_the_input_is_cut(lengths: list[int]) -> None:
    pcm = np.arange(sum(lengths), dtype=np.float32)
    assembler, frames = FrameAssembler(), []
    for piece in np.split(pcm, np.cumsum(lengths)[:-1] if lengths else []):
        frames += assembler.push(piece)
        assert assembler.pending_samples < FRAME_SAMPLES
    assert all(frame.shape == (FRAME_SAMPLES,) and frame.dtype == np.float32 for frame in frames)
    whole = len(pcm) // FRAME_SAMPLES * FRAME_SAMPLES
    np.testing.assert_array_equal(np.concatenate([pcm[:0], *frames]), pcm[:whole])
    assert assembler.pending_samples == len(pcm) - whole


def test_frames_share_no_memory_with_the_input_or_each_other() -> None:
    assembler = FrameAssembler()
    buffer = np.ones(2 * FRAME_SAMPLES, np.float32)
    first, second = assembler.push(buffer)
    buffer[:] = 7
    first[:] = 5
    (third,) = assembler.push(np.zeros(FRAME_SAMPLES, np.float32))
    assert (second == 1).all()
    assert (third == 0).all()
    assert (first == 5).all()
