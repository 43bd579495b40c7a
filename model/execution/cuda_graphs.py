"""The whole step as one CUDA graph for each batch size: what a GPU is asked for is one launch, not thousands.

All graphs work on views of one state, between the same input buffers and their own outputs, and share one pool of
scratch memory, since only one runs at a time. Nothing in a graph depends on what the host knows of the calls: how far
attention reads is told by each slot's length on the device, and what callers may choose comes in two plans, the usual
one and one for everything, so that no caller's wish makes the others' steps slow.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from model.audio import FRAME_SAMPLES
from model.modes.duplex import Duplex, DuplexState, Frame
from model.network.sampling import COMMON_PLAN, SamplingPlan
from model.state import rows

_EVERYTHING = SamplingPlan()


@dataclass(frozen=True, slots=True)
class _Graph:
    """One captured step, and where it leaves its frame."""

    graph: torch.cuda.CUDAGraph
    frame: Frame  # on the device


@dataclass(frozen=True, slots=True)
class _Exchange:
    """Pinned memory for one step's way in and out, and the event that says that it is out."""

    pcm: Tensor  # f32 [slots, FRAME_SAMPLES]
    active: Tensor  # bool [slots]
    frame: Frame
    done: torch.cuda.Event


class GraphedStepper:
    """A `Stepper` on a CUDA device."""

    def __init__(self, duplex: Duplex, state: DuplexState, buckets: Sequence[int]):
        """Capture a graph for each number of rows in `buckets`, on a state whose slots are all fresh, and stay so."""
        slots, device = len(state.delays.offset), state.delays.offset.device
        # On Hopper and Blackwell torch would take cuDNN's attention first. That plans anew for every number of rows and
        # of keys, some 25 ms each, and the depth transformer has seven a bucket.
        torch.backends.cuda.enable_cudnn_sdp(False)
        self._buckets = sorted(buckets)
        self._pcm = torch.zeros(slots, FRAME_SAMPLES, device=device)
        self._active = torch.zeros(slots, dtype=torch.bool, device=device)
        self._stream, self._pool = torch.cuda.Stream(device), torch.cuda.graph_pool_handle()
        self._graphs: dict[tuple[int, SamplingPlan], _Graph] = {}
        for count in reversed(self._buckets):  # largest first: the others find room in its memory
            view = rows(state, count)
            for plan in (COMMON_PLAN, _EVERYTHING):
                self._graphs[count, plan] = self._capture(duplex, view, plan)
        largest = self._graphs[self._buckets[-1], COMMON_PLAN].frame
        # Two, so that one frame may still be read while the next step writes its own.
        self._exchanges = itertools.cycle([_make_exchange(self._pcm, self._active, largest) for _ in range(2)])

    @torch.inference_mode()
    def _capture(self, duplex: Duplex, view: DuplexState, plan: SamplingPlan) -> _Graph:
        count = len(view.delays.offset)

        def step() -> Frame:
            return duplex.step(self._pcm[:count], view, self._active[:count], plan)

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

    def computes(self, active: Tensor) -> int:
        """As `Stepper.computes`: the bucket that was captured."""
        return len(active)

    @torch.inference_mode()
    def begin(self, pcm: Tensor, active: Tensor, plan: SamplingPlan, longest: int) -> Callable[[], Frame]:
        """As `Stepper.begin`; `longest` is not needed."""
        count = len(active)
        bucket = next(size for size in self._buckets if size >= count)
        captured = self._graphs[bucket, COMMON_PLAN if plan.is_common else _EVERYTHING]
        exchange = next(self._exchanges)
        exchange.pcm[:count], exchange.active[:count] = pcm, active
        exchange.active[count:] = False
        self._pcm[:bucket].copy_(exchange.pcm[:bucket], non_blocking=True)
        self._active[:bucket].copy_(exchange.active[:bucket], non_blocking=True)
        captured.graph.replay()
        for host, device in zip(_parts(exchange.frame), _parts(captured.frame), strict=True):
            host[:bucket].copy_(device, non_blocking=True)
        exchange.done.record()

        def frame() -> Frame:
            exchange.done.synchronize()
            return Frame(*(part[:count] for part in _parts(exchange.frame)))

        return frame


def _make_exchange(pcm: Tensor, active: Tensor, frame: Frame) -> _Exchange:
    out = Frame(*(_pinned(part) for part in _parts(frame)))
    # Waiting for it must leave the core to the event loop, which has everybody's Opus to do.
    return _Exchange(_pinned(pcm), _pinned(active), out, torch.cuda.Event(blocking=True))


def _pinned(like: Tensor) -> Tensor:
    return torch.zeros(like.shape, dtype=like.dtype, pin_memory=True)


def _parts(frame: Frame) -> list[Tensor]:
    return [getattr(frame, field.name) for field in fields(frame)]
