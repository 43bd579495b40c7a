"""The graphs' host side, on a stand-in for the few calls of `torch.cuda` that it makes.

The stand-in writes down every operation of a capture and carries them out again at a replay, on the same memory: what
a capture took from the host as it was then, and should not have, shows here as on a GPU. Whether CUDA takes the
capture only a GPU can tell.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import fields
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from model import state
from model.audio import FRAME_SAMPLES
from model.execution import cuda_graphs
from model.execution.cuda_graphs import GraphedStepper
from model.modes.duplex import Duplex
from model.network.sampling import COMMON_PLAN, SamplingPlan
from model.state import clear_row_, copy_row_, rows, tensors

SLOTS = 4
EVERYTHING = SamplingPlan()


class FakeGraph(TorchDispatchMode):
    """A tape of operations."""

    def __init__(self) -> None:
        super().__init__()
        self.tape: list[tuple[Any, tuple[Any, ...], dict[str, Any], list[Tensor]]] = []
        self.replays = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        homes = {t.untyped_storage().data_ptr() for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)}
        made = [t if t.untyped_storage().data_ptr() not in homes else None for t in tree_leaves(out)]
        self.tape.append((func, args, kwargs or {}, made))  # type: ignore[arg-type]
        return out

    def replay(self) -> None:
        self.replays += 1
        for func, args, kwargs, made in self.tape:
            for old, new in zip(made, tree_leaves(func(*args, **kwargs)), strict=True):
                if old is not None:
                    old.copy_(new)


class FakeStream:
    def __init__(self, device: object = None) -> None: ...

    def wait_stream(self, other: FakeStream) -> None: ...


class FakeEvent:
    """Counts how often it was waited for; what was not recorded would be waited for in vain."""

    def __init__(self, blocking: bool) -> None:
        assert blocking
        self.recorded = self.waited = 0

    def record(self) -> None:
        self.recorded += 1

    def synchronize(self) -> None:
        assert self.recorded
        self.waited += 1


class FakeCuda:
    """What `graphs` uses of `torch.cuda`."""

    CUDAGraph = FakeGraph
    Stream = FakeStream
    Event = FakeEvent

    def __init__(self) -> None:
        self.pools: list[object] = []
        self.cudnn_sdp: list[bool] = []  # whether it was allowed

    def current_stream(self) -> FakeStream:
        return FakeStream()

    def stream(self, stream: FakeStream) -> Any:
        return nullcontext()

    def graph_pool_handle(self) -> str:
        return "pool"

    @contextmanager
    def graph(self, graph: FakeGraph, pool: object, stream: FakeStream) -> Iterator[None]:
        self.pools.append(pool)
        with graph:
            yield


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> FakeCuda:
    cuda = FakeCuda()
    for name in ("CUDAGraph", "Stream", "Event", "current_stream", "stream", "graph_pool_handle", "graph"):
        monkeypatch.setattr(torch.cuda, name, getattr(cuda, name))
    monkeypatch.setattr(torch.backends.cuda, "enable_cudnn_sdp", cuda.cudnn_sdp.append)
    monkeypatch.setattr(cuda_graphs, "_pinned", torch.zeros_like)
    monkeypatch.setattr(state, "may_look", lambda tensor: False)  # as on a GPU
    return cuda


def choose(duplex_state: Any) -> None:
    choices = duplex_state.sampling
    choices.text_temperature[1:], choices.audio_temperature[1:] = 0.7, 0.8
    choices.text_top_k[:], choices.audio_top_k[:] = 25, 250
    choices.penalty[:], choices.penalty_span[:] = 1.2, 20
    choices.text_seed[:] = choices.audio_seed[:] = torch.arange(SLOTS)


@torch.inference_mode()
def test_graphed_equals_eager(babble: Duplex, cuda: FakeCuda):
    """With callers who come, pause, move and leave, in batches of any size, whatever they choose."""
    eager, graphed = babble.make_state(SLOTS), babble.make_state(SLOTS)
    stepper = GraphedStepper(babble, graphed, [1, 2, SLOTS])
    for one in (eager, graphed):
        for slot in range(SLOTS):
            clear_row_(one, slot)
        choose(one)
    rng = torch.Generator().manual_seed(0)
    for tick, count in enumerate([1, 1, 2, 3, 4, 4, 4, 3, 2, 2, 1, 4]):
        plan = EVERYTHING if tick in (3, 4, 9) else COMMON_PLAN
        pcm = torch.randn(count, FRAME_SAMPLES, generator=rng) * 0.1
        active = torch.rand(count, generator=rng) < 0.7
        if tick == 7:
            for one in (eager, graphed):
                copy_row_(one, 3, 0)
                clear_row_(one, 3)
        frame = stepper.begin(pcm, active, plan, tick)()
        bucket = next(size for size in (1, 2, SLOTS) if size >= count)
        padded = torch.cat([pcm, torch.zeros(bucket - count, FRAME_SAMPLES)])
        awake = torch.cat([active, torch.zeros(bucket - count, dtype=torch.bool)])
        expected = babble.step(padded, rows(eager, bucket), awake, plan)
        assert len(frame.pcm) == count
        assert torch.equal(frame.spoken, expected.spoken[:count])
        for name in ("heard", "tokens", "pcm", "finite"):
            shown = active if name in ("heard", "finite") else frame.spoken
            assert torch.equal(getattr(frame, name)[shown], getattr(expected, name)[:count][shown]), name
    for here, there in zip(tensors(eager.delays), tensors(graphed.delays), strict=True):
        assert torch.equal(here, there)


@torch.inference_mode()
def test_a_graph_for_every_bucket_and_plan_in_one_pool(babble: Duplex, cuda: FakeCuda):
    stepper = GraphedStepper(babble, babble.make_state(SLOTS), [1, 2, SLOTS])
    assert cuda.pools == ["pool"] * 6
    assert cuda.cudnn_sdp == [False]
    assert list(stepper._graphs) == [(n, plan) for n in (SLOTS, 2, 1) for plan in (COMMON_PLAN, EVERYTHING)]
    graphs_made: Any = [captured.graph for captured in stepper._graphs.values()]
    assert [graph.replays for graph in graphs_made] == [1] * 6  # no caller waits for a first launch


@torch.inference_mode()
def test_capturing_leaves_slots_fresh(babble: Duplex, cuda: FakeCuda):
    """A caller who comes first hears what they would hear on a state that nobody touched."""
    touched, untouched = babble.make_state(SLOTS), babble.make_state(SLOTS)
    GraphedStepper(babble, touched, [SLOTS])
    rng = torch.Generator().manual_seed(0)
    for _ in range(6):
        pcm = torch.randn(SLOTS, FRAME_SAMPLES, generator=rng) * 0.1
        here, there = (babble.step(pcm, one, None, COMMON_PLAN) for one in (touched, untouched))
        assert torch.equal(here.tokens, there.tokens)
        assert torch.equal(here.pcm, there.pcm)


@torch.inference_mode()
def test_a_frame_can_be_read_while_the_next_step_runs(babble: Duplex, cuda: FakeCuda):
    stepper = GraphedStepper(babble, babble.make_state(SLOTS), [SLOTS])
    active = torch.ones(SLOTS, dtype=torch.bool)
    pcm = torch.randn(4, SLOTS, FRAME_SAMPLES) * 0.1
    stepper.begin(pcm[0], active, COMMON_PLAN, 0)()
    frame = stepper.begin(pcm[1], active, COMMON_PLAN, 1)()
    before = [getattr(frame, field.name).clone() for field in fields(frame)]
    pending = stepper.begin(pcm[2], active, COMMON_PLAN, 2)
    for field, was in zip(fields(frame), before, strict=True):
        assert torch.equal(getattr(frame, field.name), was)
    assert not torch.equal(pending().pcm, before[3])


def test_a_frame_is_waited_for_only_when_it_is_asked_for(babble: Duplex, cuda: FakeCuda):
    """And is begun by an engine that knows no inference mode."""
    with torch.inference_mode():
        stepper = GraphedStepper(babble, babble.make_state(1), [1])
    exchanges = [next(stepper._exchanges) for _ in range(2)]
    pending = stepper.begin(torch.zeros(1, FRAME_SAMPLES), torch.ones(1, dtype=torch.bool), COMMON_PLAN, 0)
    done: Any = exchanges[0].done
    assert (done.recorded, done.waited) == (1, 0)
    pending()
    assert (done.recorded, done.waited) == (1, 1)
