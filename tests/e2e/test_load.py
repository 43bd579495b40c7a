"""`parley load` against `parley serve`, as an operator runs them."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import pytest

from tests.e2e.conftest import ROOT, Serve


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
async def test_callers_are_served_and_the_one_too_many_is_refused(serve: Serve, tmp_path: Path, form: str) -> None:
    served = await serve("--model", "echo", "--slots", "3")
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
