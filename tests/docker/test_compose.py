"""compose.yaml is consistent: each GPU has a server, and the balancer knows each server."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from server.settings import Settings

DOCKER = Path(__file__).parents[2] / "docker"
COMPOSE = yaml.safe_load((DOCKER / "compose.yaml").read_text())
PROMETHEUS = yaml.safe_load((DOCKER / "prometheus" / "prometheus.yml").read_text())
SERVERS: dict[str, Any] = {name: it for name, it in COMPOSE["services"].items() if name.startswith("gpu")}


def default(value: str) -> str:
    """The value of ${NAME:-default} if NAME is not set."""
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", value)


def test_each_gpu_has_a_server_with_its_name() -> None:
    assert list(SERVERS) == [f"gpu{k}" for k in range(8)]
    for number, (name, server) in enumerate(SERVERS.items()):
        [device] = server["deploy"]["resources"]["reservations"]["devices"]
        assert device["device_ids"] == [str(number)]
        assert server["environment"]["PARLEY_SERVER_ID"] == name
        profiles = [f"{n}-gpus" for n in (2, 4, 8) if number < n]
        assert server.get("profiles", []) == (profiles if number else [])


def test_the_balancer_lists_every_server() -> None:
    lines = re.findall(r"^    server (\S+) (\S+):(\d+)$", (DOCKER / "haproxy.cfg").read_text(), re.MULTILINE)
    assert lines == [(name, name, "8998") for name in SERVERS]


def test_environment_variables_are_server_settings() -> None:
    for name in SERVERS["gpu0"]["environment"]:
        if name.startswith("PARLEY_"):
            assert name.removeprefix("PARLEY_").lower() in Settings.model_fields, name


def test_calls_can_end_before_docker_kills_the_server() -> None:
    server = SERVERS["gpu0"]
    drain_s = float(default(server["environment"]["PARLEY_DRAIN_S"]))
    assert float(default(server["environment"]["PARLEY_MAX_CALL_S"])) <= drain_s
    assert drain_s < 60 * float(server["stop_grace_period"].removesuffix("m"))


def test_the_services_that_calls_pass_through_stop_after_the_servers() -> None:
    """Compose stops a service before those it depends on."""
    services = COMPOSE["services"]
    assert all(server["depends_on"] == ["balancer"] for server in SERVERS.values())
    assert services["balancer"]["depends_on"] == ["https"]
    assert services["balancer"]["stop_grace_period"] == SERVERS["gpu0"]["stop_grace_period"]


@pytest.mark.parametrize("name", COMPOSE["services"])
def test_every_service_is_restricted(name: str) -> None:
    service = COMPOSE["services"][name]
    assert service["read_only"] and service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service.get("cap_add", []) == (["NET_BIND_SERVICE"] if name == "https" else [])
    assert not service.get("privileged") and "/var/run/docker.sock" not in str(service.get("volumes"))
    # Compose copies secrets into the root filesystem, which fails if that is read-only, unless they come from a file.
    assert all("file" in COMPOSE["secrets"][secret] for secret in service.get("secrets", []))


def test_prometheus_reads_the_token_that_its_entry_point_writes(tmp_path: Path) -> None:
    """Run with a Prometheus that shows its arguments, in a directory that stands for /tmp."""
    shell, option, script = COMPOSE["services"]["prometheus"]["entrypoint"]
    [job] = [it for it in PROMETHEUS["scrape_configs"] if "authorization" in it]
    token = tmp_path / Path(job["authorization"]["credentials_file"]).name
    (tmp_path / "prometheus").write_text('#!/bin/sh\necho "$PARLEY_TOKEN" "$@"\n')
    (tmp_path / "prometheus").chmod(0o755)
    script = script.replace("$$", "$").replace("/tmp/", f"{tmp_path}/")
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "PARLEY_TOKEN": "it's $one %s"}
    done = subprocess.run([shell, option, script], env=environment, capture_output=True, text=True, check=True)
    assert token.read_text() == "it's $one %s"
    assert token.stat().st_mode & 0o077 == 0
    assert done.stdout.split() == ["--config.file=/etc/prometheus/prometheus.yml", "--storage.tsdb.path=/prometheus"]


def test_mounted_files_exist() -> None:
    for service in COMPOSE["services"].values():
        for source in (volume.split(":")[0] for volume in service.get("volumes", [])):
            assert source in COMPOSE["volumes"] or (DOCKER / source).exists(), source
