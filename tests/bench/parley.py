"""Our server, as an operator starts it."""

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
from tests.bench.processes import Server, serving


@contextmanager
def parley(model: Path | str, log: Path, slots: int = 8) -> Iterator[Server]:
    """`parley serve`, warm, on a free port; in float32, which is the default on a CPU."""
    flags = {"model": str(model), "slots": str(slots), "port": "0", "device": "cpu", "dtype": "float32"}
    arguments = [argument for name, value in flags.items() for argument in (f"--{name}", value)]
    with serving([sys.executable, "-m", "server", "serve", *arguments], log, _is_ready) as server:
        yield server


def timings_ms(server: Server) -> dict[str, dict[str, float]]:
    """What the server itself measured: p50, p95 and p99 of the last few thousand frames."""
    return _get(server.url + "/api/info")["timings"]


def stepped_s(server: Server) -> float:
    """How long its steps took, all together."""
    with urllib.request.urlopen(server.url + "/metrics", timeout=10) as answer:
        return parse(answer.read().decode(), at=0).values["parley_step_seconds_sum"]


def _is_ready(url: str) -> bool:
    try:
        return _get(url + "/readyz")["status"] == "ready"
    except urllib.error.URLError:  # 503 while the model loads; no answer from one that has ended
        return False


def _get(url: str) -> dict[str, Any]:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return json.load(answer)
