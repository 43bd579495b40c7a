"""Parley, as an operator starts it."""

from __future__ import annotations

import json
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from server.load.server_metrics import parse
from tests.bench.processes import BenchServer, serving


@contextmanager
def parley(model: Path | str, log: Path, slots: int = 8) -> Iterator[BenchServer]:
    """`parley serve`, ready, on a free port; in float32, which is the default on a CPU."""
    flags = {"model": str(model), "slots": str(slots), "port": "0", "device": "cpu", "dtype": "float32"}
    arguments = [argument for name, value in flags.items() for argument in (f"--{name}", value)]
    with serving([sys.executable, "-m", "server", "serve", *arguments], log, _is_ready) as server:
        yield server


def timings_ms(server: BenchServer) -> dict[str, dict[str, float]]:
    """The server's own timings: p50, p95 and p99 of the last few thousand frames."""
    return _get(server.url + "/api/info")["timings"]


def total_step_s(server: BenchServer) -> float:
    """The total duration of its steps."""
    with urllib.request.urlopen(server.url + "/metrics", timeout=10) as answer:
        return parse(answer.read().decode(), at=0).values["parley_step_seconds_sum"]


def _is_ready(url: str) -> bool:
    try:
        return _get(url + "/readyz")["status"] == "ready"
    except urllib.error.URLError:  # 503 while the model loads; no answer from a process that has ended
        return False


def _get(url: str) -> dict[str, Any]:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return json.load(answer)
