"""The reference server, on the same checkpoint and with the same torch settings as ours."""

from __future__ import annotations

import re
import statistics
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.bench.processes import ROOT, BenchError, BenchServer, serving

PYTHON = ROOT / ".venv-reference" / "bin" / "python"
_FRAME = re.compile(r"frame handled in ([\d.]+)ms")


def is_installed() -> bool:
    return (PYTHON.parents[1] / "installed").exists()


@contextmanager
def reference(checkpoint: Path, log: Path, dtype: str = "float32") -> Iterator[BenchServer]:
    launcher = Path(__file__).with_name("reference_server.py")
    with serving([str(PYTHON), str(launcher), str(checkpoint), dtype], log) as server:
        yield server


def frame_ms(server: BenchServer) -> float:
    """The median of the times it logged: encoding, model, decoding and Opus, from a complete frame to the socket."""
    handled_ms = [float(found) for found in _FRAME.findall(server.log.read_text())]
    if not handled_ms:
        raise BenchError("the reference did not log a single frame")
    return statistics.median(handled_ms)
