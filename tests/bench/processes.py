"""Measured processes: started, observed through Linux's /proc, and ended. Does not know what they do."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]

_START_TIMEOUT_S = 120.0  # torch.compile included
_STOP_TIMEOUT_S = 10.0
_POLL_S = 0.05
_SAMPLE_S = 0.002
_ADDRESS = re.compile(r"http://127\.0\.0\.1:[1-9]\d*")
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class BenchError(Exception):
    """A part could not be measured; the message says why."""


@dataclass(frozen=True, slots=True)
class BenchServer:
    """A server that answers at `url` and writes its output into `log`."""

    url: str
    process: subprocess.Popen[bytes]
    log: Path

    def cpu_s(self) -> float:
        """CPU time of all threads so far, in seconds."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S  # utime and stime: fields 14 and 15 of the line

    def resident_bytes(self) -> int:
        return status_bytes(self.process.pid, "VmRSS")


@contextmanager
def serving(command: Sequence[str], log: Path, is_ready: Callable[[str], bool] = bool) -> Iterator[BenchServer]:
    """Start a server that prints its address once it listens, and wait until `is_ready(address)`.

    It is stopped when the block is left. Raises BenchError.
    """
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=ROOT, env=_one_thread(), stdout=output, stderr=subprocess.STDOUT)
    try:
        yield BenchServer(_address(process, log, is_ready), process, log)
    finally:
        process.terminate()
        try:
            process.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _address(process: subprocess.Popen[bytes], log: Path, is_ready: Callable[[str], bool]) -> str:
    deadline = time.monotonic() + _START_TIMEOUT_S
    while process.poll() is None and time.monotonic() < deadline:
        found = _ADDRESS.search(log.read_text())
        if found and is_ready(found[0]):
            return found[0]
        time.sleep(_POLL_S)
    state = "ended" if process.poll() is not None else f"was not ready after {_START_TIMEOUT_S:.0f} s"
    raise BenchError(f"a server {state}; its output ended with:\n{log.read_text()[-1000:]}")


def run_alone(module: str, *arguments: str, within_s: float) -> tuple[dict[str, Any], int]:
    """Run a module of this package in its own process: the JSON it prints, and its peak of anonymous memory in bytes.

    The peak is sampled from outside, every 2 ms, so that a busy process cannot miss it. Raises BenchError.
    """
    command = [sys.executable, "-m", module, *arguments]
    peak_bytes, deadline = 0, time.monotonic() + within_s
    with subprocess.Popen(command, cwd=ROOT, env=_one_thread(), stdout=subprocess.PIPE) as process:
        try:
            while process.poll() is None:
                peak_bytes = max(peak_bytes, status_bytes(process.pid, "RssAnon"))
                if time.monotonic() > deadline:
                    raise BenchError(f"{module} took more than {within_s:.0f} s")
                time.sleep(_SAMPLE_S)
        finally:
            process.kill()
        assert process.stdout is not None
        output = process.stdout.read()
    if process.returncode:
        raise BenchError(f"{module} ended with status {process.returncode}")
    return json.loads(output), peak_bytes


def status_bytes(pid: int | str, field: str) -> int:
    """A size from /proc/PID/status: VmRSS (resident) or RssAnon (the part not backed by a file). 0 if it has ended."""
    found = re.search(rf"^{field}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return 1024 * int(found[1]) if found else 0


def _one_thread() -> dict[str, str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PARLEY_")}
    return environment | {"OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
