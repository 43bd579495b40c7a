"""The bottleneck of a load step that missed its target: one sentence, from the server's own figures and from ours.

Tried in order of certainty: what the server told each caller, what we measured of ourselves, what the server counts.
"""

from __future__ import annotations

from typing import Any

from server.load.figures import LATE_MS

MAX_CLIENT_LATENESS_MS = 10.0  # at p99; beyond it, the load tester distorts what it measures
_CLIENT_SHARE = 0.2  # of the turnaround at p99: a smaller lateness of our own does not explain it
_FULL_STEP_SHARE = 0.8  # of a frame's time: the rest goes to waiting for the previous step, and to Opus
_NO_SLOT = ("HTTP 503", "All slots are in use", "no handshake within")  # refused, refused from the queue, held in it
_MAX_LOOP_LAG_MS = 20.0  # at p99
_BUSY_SHARE = 0.9  # of a core, or of the GPU's memory
_IDLE_SHARE = 0.7  # of a core: a process that is late although it uses less than this is held up by something else


def bottleneck(figures: dict[str, Any], server: dict[str, Any] | None) -> str:
    """The likeliest reason why this load step missed the target. `server`: its own figures of that time, if any."""
    refusals = [reason for reason in figures["failures"] if reason.startswith(_NO_SLOT)]
    if refusals:
        return f"the server's slots, because callers were refused ({refusals[0]}){_step_at_full_slots(server)}"
    client_ms, p99_ms = figures["client_lateness_ms"]["p99"] or 0.0, figures["turnaround_ms"]["p99"] or 0.0
    if client_ms > max(MAX_CLIENT_LATENESS_MS, _CLIENT_SHARE * p99_ms):
        return (
            f"the load tester, because its own packets were {client_ms:.0f} ms late at p99. The server may sustain "
            "more; call from another machine, or with more processes (--workers)"
        )
    if server is None:
        return "unknown: the server has no /metrics to read it from"
    return _server_bottleneck(figures, server)


def _server_bottleneck(figures: dict[str, Any], server: dict[str, Any]) -> str:
    step_ms, lag_ms = server["step_ms"]["p50"] or 0.0, server["loop_lag_ms"]["p99"] or 0.0
    if step_ms >= _FULL_STEP_SHARE * LATE_MS:
        slow = (
            f"the model, because half of its steps take {step_ms:.0f} ms or longer, and a frame lasts {LATE_MS:.0f} ms"
        )
        has_gpu = server["gpu_memory_share"] is not None
        return slow if has_gpu else slow + _held_up(server["cpu_share"])
    if lag_ms > _MAX_LOOP_LAG_MS:
        late = f"the server's event loop, because it is {lag_ms:.0f} ms late at p99"
        core = f" (sockets and Opus share one core; the process uses {server['cpu_share']:.0%} of a core)"
        return late + (_held_up(server["cpu_share"]) or core)
    if figures["failed"]:
        return f"failed calls ({next(iter(figures['failures']))})"
    slow_ms = server["step_ms"]["p99"] or 0.0
    if slow_ms >= _FULL_STEP_SHARE * LATE_MS:
        return f"occasional slow steps of the model ({step_ms:.0f} ms at p50, but {slow_ms:.0f} ms at p99)"
    if server["cpu_share"] > _BUSY_SHARE:
        return f"the server's CPU, because its process uses {server['cpu_share']:.0%} of a core"
    return (
        "not visible in the server's metrics: its steps, event loop and CPU had headroom. "
        "Check the network, and what else runs on the server's machine"
    )


def _held_up(cpu_share: float) -> str:
    """What to add about a process that is late without being busy; empty for a busy one."""
    if cpu_share >= _IDLE_SHARE:
        return ""
    return f", but its process uses only {cpu_share:.0%} of a core, so another process is competing for the CPU"


def _step_at_full_slots(server: dict[str, Any] | None) -> str:
    """Whether there was room for more slots."""
    if server is None or server["step_ms"]["p50"] is None:
        return ""
    memory = server["gpu_memory_share"]
    full = f", and {memory:.0%} of the GPU's memory was in use" if memory and memory > _BUSY_SHARE else ""
    return f"; with {server['slots']} calls a step took {server['step_ms']['p50']:.0f} of {LATE_MS:.0f} ms{full}"
