"""How long something takes on its device."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

_WARM_UP_RUNS = 3


def time_runs(run: Callable[[], object], device: torch.device, times: int) -> list[float]:
    """Durations in seconds of `times` runs, after three warm-up runs."""
    wait = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    taken_s = []
    for _ in range(_WARM_UP_RUNS + times):
        wait()
        started_s = time.perf_counter()
        run()
        wait()
        taken_s.append(time.perf_counter() - started_s)
    return taken_s[_WARM_UP_RUNS:]


def as_graph(run: Callable[[], object], device: torch.device) -> Callable[[], object]:
    """On a GPU `run` as a captured CUDA graph; elsewhere `run` itself."""
    if device.type != "cuda":
        return run
    stream = torch.cuda.Stream(device)
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        run()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=stream):
        run()
    return graph.replay
