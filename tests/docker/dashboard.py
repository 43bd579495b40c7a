"""The dashboard and the alert rules, as tests read them: their expressions and the metrics in these."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import yaml

DOCKER = Path(__file__).resolve().parents[2] / "docker"
DASHBOARD = DOCKER / "grafana" / "dashboards" / "parley.json"
PROMETHEUS = DOCKER / "prometheus"

_METRIC = re.compile(r"\b(?:parley|process)_\w+")


def dashboard() -> dict[str, Any]:
    return json.loads(DASHBOARD.read_text(encoding="utf-8"))


def queries() -> list[tuple[str, str]]:
    """Each panel's title and expression, one for every curve that it draws."""
    return [(panel["title"], target["expr"]) for panel in dashboard()["panels"] for target in panel["targets"]]


def alerts() -> list[tuple[str, str]]:
    """Each alert's name and expression."""
    groups = yaml.safe_load((PROMETHEUS / "alerts.yaml").read_text(encoding="utf-8"))["groups"]
    return [(rule["alert"], rule["expr"]) for group in groups for rule in group["rules"]]


def metrics(expression: str) -> set[str]:
    """The names of the metrics in a PromQL expression."""
    return set(_METRIC.findall(expression))
