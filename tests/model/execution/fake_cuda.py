"""A fake of the `torch.cuda` functions that `cuda_graphs.py` calls.

It records every operation of a capture and repeats them at a replay, on the same memory. So a capture that wrongly
fixes a value of the host fails here as on a GPU. Whether CUDA can capture an operation is tested on a GPU only.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class FakeGraph(TorchDispatchMode):
    """A graph that records operations on a tape and repeats them."""

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
    """Counts how often it was recorded and waited for. Waiting before recording fails."""

    def __init__(self, blocking: bool) -> None:
        assert blocking
        self.recorded = self.waited = 0

    def record(self) -> None:
        self.recorded += 1

    def synchronize(self) -> None:
        assert self.recorded
        self.waited += 1


class FakeCuda:
    """The names of `torch.cuda` that `cuda_graphs.py` uses."""

    CUDAGraph = FakeGraph
    Stream = FakeStream
    Event = FakeEvent

    def __init__(self) -> None:
        self.pools: list[object] = []
        self.cudnn_sdp: list[bool] = []  # the arguments of enable_cudnn_sdp

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
