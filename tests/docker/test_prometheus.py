"""The alert rules and the dashboard's queries, by Prometheus itself. `make ops-check` fetches it."""

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

pytestmark = pytest.mark.skipif(not shutil.which("promtool"), reason="promtool is not here; make ops-check fetches it")

SCRAPES_EVERY_S = 1
SILENT = {"GPU memory", "Turned away, by why"}  # an echo has no GPU, and here nobody is turned away


def promtool(*arguments: str) -> None:
    done = subprocess.run(["promtool", *arguments], check=False, cwd=PROMETHEUS, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_configuration_and_the_rules_are_valid():
    promtool("check", "rules", "--lint=all", "--lint-fatal", "alerts.yaml")
    promtool("check", "config", "--syntax-only", "prometheus.yml")


def test_the_configuration_for_kubernetes_is_valid(tmp_path: Path) -> None:
    """But for how it finds pods: Debian's Prometheus is built without that."""
    config = yaml.safe_load((PROMETHEUS / "kubernetes.yml").read_text(encoding="utf-8"))
    for job in config["scrape_configs"]:
        assert job.pop("kubernetes_sd_configs") == [{"role": "pod", "namespaces": {"names": ["parley"]}}]
    (tmp_path / "kubernetes.yml").write_text(yaml.safe_dump(config), encoding="utf-8")
    promtool("check", "config", "--syntax-only", str(tmp_path / "kubernetes.yml"))


def test_each_alert_fires_when_it_should_and_only_then():
    promtool("test", "rules", "alerts_test.yaml")
    tested = (PROMETHEUS / "alerts_test.yaml").read_text(encoding="utf-8")
    assert [name for name, _ in alerts() if name not in tested] == []


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return taken.getsockname()[1]


@asynccontextmanager
async def prometheus(directory: Path, server_port: int) -> AsyncIterator[str]:
    """Prometheus, which scrapes the server; its address."""
    config = directory / "prometheus.yml"
    config.write_text(
        f"global: {{scrape_interval: {SCRAPES_EVERY_S}s}}\n"
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
    """The values that an expression has now. Raises if Prometheus does not understand it."""

    def fetch() -> list[float]:
        query = urllib.parse.urlencode({"query": expression})
        with urllib.request.urlopen(f"{address}/api/v1/query?{query}", timeout=TIMEOUT_S) as response:
            return [float(sample["value"][1]) for sample in json.load(response)["data"]["result"]]

    return await asyncio.to_thread(fetch)


async def scraped(address: str, calls_ended: int) -> None:
    """Wait until Prometheus knows of so many calls."""
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


async def test_every_panel_shows_something(serve: Serve, tmp_path: Path):  # noqa: F811
    served = await serve(slots=2)
    async with prometheus(tmp_path, served.port) as address:
        for calls in range(3):  # a rate needs to know what was before
            await scraped(address, calls)
            await talk(served.chat)
        await scraped(address, 3)
        for title, expression in queries():
            asked = expression.replace("$__rate_interval", "1m").replace("$instance", ".*")
            values = await ask(address, asked)
            assert title in SILENT or (values and not any(map(math.isnan, values))), title
