"""The dashboard and the alert rules, against the server's metrics and Grafana's own schema."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path

import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard
from prometheus_client.parser import text_string_to_metric_families

from server.calls.service import Service
from server.engine.runner import DeviceMemory
from server.http.prometheus import PrometheusExporter
from server.settings import Settings
from tests.docker.dashboard import DOCKER, alerts, dashboard, metrics, queries
from tests.fakes import TalkingRunner

LOAD_TESTER = DOCKER.parent / "server" / "load" / "server_metrics.py"
JSON = dict | list | str | int | float | bool | None


@pytest.fixture(scope="module")
def exported() -> set[str]:
    """The name of every sample that a server with a GPU exports."""
    service = Service(Settings(model="echo"), lambda: TalkingRunner(1))
    service.metrics.add_step(1, 1, 0.01)
    service.device_memory = lambda: DeviceMemory(1, 2)
    page, _ = PrometheusExporter(service).render("")
    return {sample.name for family in text_string_to_metric_families(page.decode()) for sample in family.samples}


@pytest.mark.parametrize(("title", "expression"), [*queries(), *alerts()])
def test_every_queried_metric_is_exported(exported: set[str], title: str, expression: str):
    queried = metrics(expression)
    assert queried or "up{" in expression
    assert queried <= exported, f"{title} queries a metric that the server does not export"


@pytest.mark.parametrize(
    "file", [*DOCKER.glob("kubernetes/*"), DOCKER / "README.md", LOAD_TESTER], ids=lambda f: f.name
)
def test_metric_names_in_other_files_exist(exported: set[str], file: Path):
    named = set(re.findall(r"\bparley_\w+", file.read_text(encoding="utf-8"))) - {"parley_token"}
    families = {name.removesuffix("_count") for name in exported}
    assert named <= exported | families


def test_every_metric_is_on_the_dashboard_or_in_an_alert(exported: set[str]):
    """Except for the sums of histograms whose buckets are shown, and details of the process."""
    shown = {name.removesuffix("_bucket") for _, expression in [*queries(), *alerts()] for name in metrics(expression)}
    shown |= {name.removesuffix(suffix) for name in shown for suffix in ("_sum", "_count")}
    families = {name.removesuffix("_bucket").removesuffix("_sum").removesuffix("_count") for name in exported}
    unshown = {family for family in families if family.startswith("parley") and family not in shown}
    assert unshown == {
        "parley_info",
        "parley_calls_started_total",
        "parley_queue_left_total",
        "parley_sessions_ended_total",
        "parley_calls_non_finite_total",
        "parley_frames_silence_total",
        "parley_messages_invalid_total",
        "parley_server_seconds",
    }, "put it on the dashboard or into this list"


def test_the_dashboard_fits_grafanas_schema():
    register_default_plugins()
    ours = dashboard()
    parsed = json.loads(JSONEncoder().encode(Dashboard.from_json(ours)))
    # The fields of an annotation belong to its data source, which the schema does not describe.
    assert set(unlike(ours, parsed)) <= {"annotations.list.0.titleFormat", "annotations.list.0.textFormat"}


def unlike(ours: JSON, theirs: JSON, path: str = "") -> list[str]:
    """The paths at which `theirs` lacks something of `ours`."""
    match ours, theirs:
        case dict(), dict():
            return [p for key in ours for p in unlike(ours[key], theirs.get(key), f"{path}.{key}".strip("."))]
        case list(), list() if len(ours) == len(theirs):
            return [p for i, pair in enumerate(zip(ours, theirs, strict=True)) for p in unlike(*pair, f"{path}.{i}")]
    return [] if ours == theirs else [path]


def test_panels_fill_the_grid_without_overlap():
    panels = dashboard()["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    cells = [
        (x, y)
        for place in (panel["gridPos"] for panel in panels)
        for x, y in itertools.product(
            range(place["x"], place["x"] + place["w"]), range(place["y"], place["y"] + place["h"])
        )
    ]
    assert len(cells) == len(set(cells)), "two panels overlap"
    height = max(y for _, y in cells) + 1
    assert len(cells) == 24 * height, "there is a hole"
