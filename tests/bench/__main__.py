"""`make bench`: the parts in turn, the table, and artifacts/bench.json."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import tests.bench
from tests.bench import (
    batching_wait,
    callers,
    echo,
    floods,
    frame,
    load_tester,
    loading,
    memory,
    metrics,
    page,
    reference,
    scaling,
)
from tests.bench.processes import ROOT, BenchError
from tests.bench.report import BenchPart, machine, table
from tests.bench.workbench import Workbench

PARTS: dict[str, Callable[[Workbench], BenchPart]] = {
    "frame": frame.measure,
    "callers": callers.measure,
    "scaling": scaling.measure,
    "memory": memory.measure,
    "echo": echo.measure,
    "loading": loading.measure,
    "metrics": metrics.measure,
    "load-tester": load_tester.measure,
    "batching-wait": batching_wait.measure,
    "page": page.measure,
    "floods": floods.measure,
}
ARTIFACTS = ROOT / "artifacts"


def main() -> int:
    """0 if every target that was measured is met."""
    parser = argparse.ArgumentParser(prog="make bench", description=tests.bench.__doc__)
    parser.add_argument(
        "--only",
        type=_names,
        default=list(PARTS),
        metavar="PARTS",
        help=f"run only these parts, separated by commas: {', '.join(PARTS)} (default: all)",
    )
    names = parser.parse_args().only
    if not Path("/proc/self/status").exists():
        print("make bench needs Linux: it reads memory and CPU time from /proc.", file=sys.stderr)
        return 2
    if not reference.is_installed():
        print(
            f"bench: the reference is not installed in {reference.PYTHON.parents[1].name}; measuring Parley alone",
            file=sys.stderr,
        )
    facts = machine()
    ARTIFACTS.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bench-", dir=ARTIFACTS) as directory:
        bench = Workbench(Path(directory))
        parts = {name: _measured(name, bench) for name in names}
    print(table(list(parts.values()), facts))
    file = ARTIFACTS / "bench.json"
    file.write_text(json.dumps({"machine": facts, "parts": {k: part.as_json() for k, part in parts.items()}}, indent=2))
    print(f"\nAll figures: {file.relative_to(ROOT)}")
    return 0 if all(part.is_met for part in parts.values()) else 1


def _measured(name: str, bench: Workbench) -> BenchPart:
    try:
        return PARTS[name](bench)
    except (BenchError, OSError) as error:
        return BenchPart(name, failure=str(error))


def _names(text: str) -> list[str]:
    names = text.split(",")
    if unknown := [name for name in names if name not in PARTS]:
        raise argparse.ArgumentTypeError(f"{unknown[0]!r} is not one of {', '.join(PARTS)}")
    return names


if __name__ == "__main__":
    sys.exit(main())
