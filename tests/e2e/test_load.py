"""`parley load` against `parley serve`, as an operator runs them."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import pytest

from tests.e2e.conftest import ROOT, StartServer


async def load(*args: str) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "server", "load", *args),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    said, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, said.decode()


@pytest.mark.asyncio(loop_scope="session")
@pytest.mark.parametrize("form", ["ogg", "raw"])
async def test_callers_are_served_and_one_above_the_slots_is_refused(
    serve: StartServer, tmp_path: Path, form: str
) -> None:
    served = await serve("--model", "echo", "--slots", "3", "--refuse-when-full")
    figures_file = tmp_path / "figures.json"
    status, said = await load(served.url, "-n", "4", "-s", "1.6", "--form", form, "--json", str(figures_file))
    figures = json.loads(figures_file.read_text())
    assert status == 1
    assert figures["admitted"] == 3
    assert list(figures["failures"].values()) == [1]
    assert "HTTP 503" in said
    assert figures["frames_sent"] == 60
    assert figures["frames_received"] > 30
    assert figures["turnaround_ms"]["p50"] > 0

    status, said = await load(served.url, "-n", "1", "-s", "0.8", "--form", form)
    assert status == 0, said


@pytest.mark.asyncio(loop_scope="session")
async def test_find_searches_for_the_most_callers(serve: StartServer, tmp_path: Path) -> None:
    served = await serve("--model", "echo", "--slots", "3", "--refuse-when-full")
    files = {name: tmp_path / f"run.{name}" for name in ("json", "csv", "html")}
    to_files = [word for name, path in files.items() for word in (f"--{name}", str(path))]
    generous = "p99=2000,late=100"  # so that only the slots limit it on a busy machine
    status, said = await load(
        served.url, "--find", generous, "--ramp", "1..16", "--hold", "2", "-s", "1..30", "--workers", "2", *to_files
    )
    figures = json.loads(files["json"].read_text())
    assert status == 0, said
    assert [step["callers"] for step in figures["steps"]] == [1, 2, 4, 3]
    assert [step["passed"] for step in figures["steps"]] == [True, True, False, True]
    assert figures["search"]["callers"] == 3
    assert figures["search"]["failed_at"] == 4
    assert figures["search"]["bottleneck"].startswith("the server's slots")
    assert figures["steps"][-1]["server"]["slots"] == 3
    assert "The server sustains 3 callers" in said
    assert sum(row["frames_sent"] for row in figures["over_time"]) > 50
    assert files["csv"].read_text().count("\n") == len(figures["over_time"]) + 1
    assert "Sustains 3 callers" in files["html"].read_text()

    again = tmp_path / "again.html"
    status, _ = await load(str(files["json"]), "--against", str(files["json"]), "--html", str(again))
    assert status == 0
    assert "Before: 3 callers." in again.read_text()
