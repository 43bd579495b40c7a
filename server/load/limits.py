"""Which resource ended it: a sentence on a step that the server did not hold, from its own figures and from ours.

The order is that of certainty: what the server told each caller, what we measured of ourselves, what it counts.
"""

from __future__ import annotations

from typing import Any

from server.load.figures import LATE_MS

OWN_LATENESS_MS = 10.0  # at p99; beyond this the machine that measures is part of what is measured
_OWN_SHARE = 0.2  # of the turnaround, at p99: less of it does not explain it
_FULL_STEP = 0.8  # of a frame's time: the rest goes to waiting for the step before, and to Opus
_LAG_MS = 20.0  # of the event loop, at p99
_BUSY = 0.9  # of a core, or of the GPU's memory


def what_ended(figures: dict[str, Any], server: dict[str, Any] | None) -> str:
    """The likeliest reason why this step broke the bar. `server`: its own figures of that time, if it has any."""
    refusals = [reason for reason in figures["failures"] if reason.startswith("HTTP 503")]
    if refusals:
        return f"its slots: callers were refused ({refusals[0]}){_room(server)}"
    own_ms, p99_ms = figures["own_lateness_ms"]["p99"] or 0.0, figures["turnaround_ms"]["p99"] or 0.0
    if own_ms > max(OWN_LATENESS_MS, _OWN_SHARE * p99_ms):
        return (
            f"this machine, which calls: it was itself {own_ms:.0f} ms late at p99. The server may hold more; "
            "call from another machine, or with more processes (--workers)"
        )
    if server is None:
        return "unknown: the server has no /metrics to say what it is short of"
    return _of_server(figures, server)


def _of_server(figures: dict[str, Any], server: dict[str, Any]) -> str:
    step_ms, lag_ms = server["step_ms"]["p50"] or 0.0, server["loop_lag_ms"]["p99"] or 0.0
    if step_ms >= _FULL_STEP * LATE_MS:
        slow = f"the model: half of its steps take {step_ms:.0f} ms or more, of the {LATE_MS:.0f} that a frame lasts"
        has_gpu = server["gpu_memory_share"] is not None
        return slow if has_gpu else slow + _elsewhere(server["cpu_share"])
    if lag_ms > _LAG_MS:
        late = f"the server's event loop, which is {lag_ms:.0f} ms late at p99"
        core = f" (one core for sockets and Opus; its process takes {server['cpu_share']:.0%} of a core)"
        return late + (_elsewhere(server["cpu_share"]) or core)
    if figures["failed"]:
        return f"failed calls: {next(iter(figures['failures']))}"
    slow_ms = server["step_ms"]["p99"] or 0.0
    if slow_ms >= _FULL_STEP * LATE_MS:
        return f"the model, now and then: a step takes {step_ms:.0f} ms at p50, but {slow_ms:.0f} at p99"
    if server["cpu_share"] > _BUSY:
        return f"the server's processor: its process takes {server['cpu_share']:.0%} of a core"
    return (
        "nothing that the server counts: its steps, event loop and processor had room. "
        "Look at the network, and at what else runs on its machine"
    )


def _elsewhere(cpu_share: float) -> str:
    """What is said of a process that is late without being busy."""
    if cpu_share >= _BUSY - 0.2:
        return ""
    return f", but its process takes {cpu_share:.0%} of a core only: something else runs on its machine"


def _room(server: dict[str, Any] | None) -> str:
    """Whether there was anything left for more slots."""
    if server is None or server["step_ms"]["p50"] is None:
        return ""
    memory = server["gpu_memory_share"]
    full = f" and {memory:.0%} of its GPU's memory is taken" if memory and memory > _BUSY else ""
    return f"; at {server['slots']} calls a step took {server['step_ms']['p50']:.0f} of {LATE_MS:.0f} ms{full}"
