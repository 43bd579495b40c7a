"""How long something takes on its device."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

_WARM_UP_RUNS = 3


def clocked(run: Callable[[], object], device: torch.device, times: int) -> list[float]:
    """Seconds of each of so many runs, after a few that do not count."""
    wait = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    taken_s = []
    for _ in range(_WARM_UP_RUNS + times):
        wait()
        started_s = time.perf_counter()
        run()
        wait()
        taken_s.append(time.perf_counter() - started_s)
    return taken_s[_WARM_UP_RUNS:]


def without_host(run: Callable[[], object], device: torch.device) -> Callable[[], object]:
    """What does the same as `run` without the host's part in it: on a GPU, a graph."""
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
