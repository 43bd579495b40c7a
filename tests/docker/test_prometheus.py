"""The alert rules and the dashboard's queries, run by Prometheus itself. `make ops-check` fetches it."""

from __future__ import annotations

import asyncio
import json
import math
import shutil
import socket
import subprocess
import urllib.parse
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import yaml

from tests.docker.dashboard import PROMETHEUS, alerts, queries
from tests.server.chat_client import TIMEOUT_S, open_chat, speech
from tests.server.conftest import Serve, serve  # noqa: F401, a fixture

pytestmark = pytest.mark.skipif(not shutil.which("promtool"), reason="needs promtool, which make ops-check fetches")

SCRAPE_INTERVAL_S = 1
EMPTY = {"GPU memory", "Refused, by reason"}  # an echo has no GPU, and no call is refused here


def promtool(*arguments: str) -> None:
    done = subprocess.run(["promtool", *arguments], check=False, cwd=PROMETHEUS, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_configuration_and_the_rules_are_valid():
    promtool("check", "rules", "--lint=all", "--lint-fatal", "alerts.yaml")
    promtool("check", "config", "--syntax-only", "prometheus.yml")


def test_the_configuration_for_kubernetes_is_valid(tmp_path: Path) -> None:
    """Except for the discovery of pods: Debian's Prometheus is built without it."""
    config = yaml.safe_load((PROMETHEUS / "kubernetes.yml").read_text(encoding="utf-8"))
    for job in config["scrape_configs"]:
        assert job.pop("kubernetes_sd_configs") == [{"role": "pod", "namespaces": {"names": ["parley"]}}]
    (tmp_path / "kubernetes.yml").write_text(yaml.safe_dump(config), encoding="utf-8")
    promtool("check", "config", "--syntax-only", str(tmp_path / "kubernetes.yml"))


def test_each_alert_fires_on_its_series_only():
    promtool("test", "rules", "alerts_test.yaml")
    tested = (PROMETHEUS / "alerts_test.yaml").read_text(encoding="utf-8")
    assert [name for name, _ in alerts() if name not in tested] == []


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return taken.getsockname()[1]


@asynccontextmanager
async def prometheus(directory: Path, server_port: int) -> AsyncIterator[str]:
    """A Prometheus that scrapes the server; yields its address."""
    config = directory / "prometheus.yml"
    config.write_text(
        f"global: {{scrape_interval: {SCRAPE_INTERVAL_S}s}}\n"
        f"scrape_configs: [{{job_name: parley, static_configs: [{{targets: ['127.0.0.1:{server_port}']}}]}}]\n",
        encoding="utf-8",
    )
    address = f"127.0.0.1:{free_port()}"
    running = await asyncio.create_subprocess_exec(
        *("prometheus", f"--config.file={config}", f"--storage.tsdb.path={directory}/data"),
        *(f"--web.listen-address={address}", "--log.level=error"),
    )
    try:
        yield f"http://{address}"
    finally:
        running.terminate()
        await running.wait()


async def ask(address: str, expression: str) -> list[float]:
    """The current values of an expression. Raises if Prometheus rejects it."""

    def fetch() -> list[float]:
        query = urllib.parse.urlencode({"query": expression})
        with urllib.request.urlopen(f"{address}/api/v1/query?{query}", timeout=TIMEOUT_S) as response:
            return [float(sample["value"][1]) for sample in json.load(response)["data"]["result"]]

    return await asyncio.to_thread(fetch)


async def scraped(address: str, calls_ended: int) -> None:
    """Wait until Prometheus has scraped this number of ended calls."""
    async with asyncio.timeout(TIMEOUT_S):
        while True:
            try:
                if await ask(address, "sum(parley_calls_ended_total)") == [calls_ended]:
                    return
            except OSError:  # it does not answer yet
                pass
            await asyncio.sleep(0.2)


async def talk(url: str) -> None:
    """A call of less than a second."""
    async with open_chat(url) as client:
        await client.handshake()
        for frame in speech(10):
            await client.send_frame(frame)
            await client.receive_frame()


async def test_every_panel_has_values(serve: Serve, tmp_path: Path):  # noqa: F811
    served = await serve(slots=2)
    async with prometheus(tmp_path, served.port) as address:
        for calls in range(3):  # a rate needs earlier samples
            await scraped(address, calls)
            await talk(served.chat)
        await scraped(address, 3)
        for title, expression in queries():
            filled = expression.replace("$__rate_interval", "1m").replace("$instance", ".*")
            values = await ask(address, filled)
            assert title in EMPTY or (values and not any(map(math.isnan, values))), title
