"""The whole step as one CUDA graph for each batch size: the host launches once, not thousands of times.

All graphs work on views of one state, between the same input buffers and their own outputs, and share one pool of
scratch memory, since only one runs at a time. Nothing in a graph depends on what the host knows of the calls: each
slot's length on the device says how far attention reads. Each size is captured under two sampling plans, the common one
and a general one, so that one call's options do not slow the others.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic

import torch
from torch import Tensor

from model.modes.mode import FrameT, InputsT, Mode
from model.network.sampling import COMMON_PLAN, SamplingPlan
from model.state import row_count, rows, tensors, with_tensors

_EVERYTHING = SamplingPlan()


@dataclass(frozen=True, slots=True)
class _Graph(Generic[FrameT]):
    """One captured step, and where it leaves its frame."""

    graph: torch.cuda.CUDAGraph
    frame: FrameT  # on the device


@dataclass(frozen=True, slots=True)
class _Exchange(Generic[InputsT, FrameT]):
    """Pinned memory for one step's inputs and frame, and the event that marks the frame as copied out."""

    inputs: InputsT  # [slots, …]
    active: Tensor  # bool [slots]
    frame: FrameT  # [slots, …]
    done: torch.cuda.Event


class CudaGraphStepper(Generic[InputsT, FrameT]):
    """A `Stepper` on a CUDA device."""

    def __init__(self, mode: Mode[InputsT, FrameT], state: Any, buckets: Sequence[int]):
        """Capture a graph for each number of rows in `buckets`. All slots of `state` are fresh, and stay fresh."""
        slots, device = row_count(state), next(tensors(state)).device
        # On Hopper and Blackwell torch would take cuDNN's attention first. That plans anew for every number of rows and
        # of keys, some 25 ms each, and the depth transformer has seven a bucket.
        torch.backends.cuda.enable_cudnn_sdp(False)
        self._buckets = sorted(buckets)
        self._inputs = mode.make_inputs(slots)
        self._active = torch.zeros(slots, dtype=torch.bool, device=device)
        self._stream, self._pool = torch.cuda.Stream(device), torch.cuda.graph_pool_handle()
        self._graphs: dict[tuple[int, SamplingPlan], _Graph[FrameT]] = {}
        for count in reversed(self._buckets):  # largest first: the others find room in its memory
            view = rows(state, count)
            for plan in (COMMON_PLAN, _EVERYTHING):
                self._graphs[count, plan] = self._capture(mode, view, count, plan)
        largest = self._graphs[self._buckets[-1], COMMON_PLAN].frame
        # Two, so that one frame may still be read while the next step writes its own.
        self._exchanges = itertools.cycle([self._make_exchange(largest) for _ in range(2)])

    @torch.inference_mode()
    def _capture(self, mode: Mode[InputsT, FrameT], view: Any, count: int, plan: SamplingPlan) -> _Graph[FrameT]:
        inputs, active = rows(self._inputs, count), self._active[:count]

        def step() -> FrameT:
            return mode.step(inputs, view, active, plan)

        # What is made at a first step, kernels to be compiled among it, must be there before the capture. No row is
        # active, so no slot moves.
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):
            step()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool, stream=self._stream):
            frame = step()
        graph.replay()  # the first launch takes it to the device
        return _Graph(graph, frame)

    def _make_exchange(self, frame: FrameT) -> _Exchange[InputsT, FrameT]:
        # Waiting for the event must leave the core to the event loop, which encodes Opus for every call.
        done = torch.cuda.Event(blocking=True)
        return _Exchange(_all_pinned(self._inputs), _pinned(self._active), _all_pinned(frame), done)

    def computes(self, active: Tensor) -> int:
        """As `Stepper.computes`: the bucket that was captured."""
        return len(active)

    @torch.inference_mode()
    def begin(self, inputs: InputsT, active: Tensor, plan: SamplingPlan, longest: int) -> Callable[[], FrameT]:
        """As `Stepper.begin`; `longest` is not needed."""
        count = len(active)
        bucket = next(size for size in self._buckets if size >= count)
        captured = self._graphs[bucket, COMMON_PLAN if plan.is_common else _EVERYTHING]
        exchange = next(self._exchanges)
        for given, host, device in zip(tensors(inputs), tensors(exchange.inputs), tensors(self._inputs), strict=True):
            host[:count] = given
            device[:bucket].copy_(host[:bucket], non_blocking=True)
        exchange.active[:count] = active
        exchange.active[count:] = False
        self._active[:bucket].copy_(exchange.active[:bucket], non_blocking=True)
        captured.graph.replay()
        for host, device in zip(tensors(exchange.frame), tensors(captured.frame), strict=True):
            host[:bucket].copy_(device, non_blocking=True)
        exchange.done.record()

        def frame() -> FrameT:
            exchange.done.synchronize()
            return rows(exchange.frame, count)

        return frame


def _all_pinned(parts: Any) -> Any:
    """Inputs or a frame like these in pinned memory."""
    return with_tensors(parts, (_pinned(part) for part in tensors(parts)))


def _pinned(like: Tensor) -> Tensor:
    return torch.zeros(like.shape, dtype=like.dtype, pin_memory=True)
