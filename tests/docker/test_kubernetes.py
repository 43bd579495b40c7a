"""The manifests are consistent. `make check` validates each against Kubernetes' own schemas."""

from __future__ import annotations

import re
import shutil
import subprocess
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

KUBERNETES = Path(__file__).parents[2] / "docker" / "kubernetes"


def manifests() -> list[dict[str, Any]]:
    kustomization = yaml.safe_load((KUBERNETES / "kustomization.yaml").read_text())
    files = [KUBERNETES / name for name in kustomization["resources"]]
    return [manifest for file in files for manifest in yaml.safe_load_all(file.read_text())]


MANIFESTS = manifests()


def named(kind: str, name: str) -> dict[str, Any]:
    [found] = [m for m in MANIFESTS if m["kind"] == kind and m["metadata"]["name"] == name]
    return found["spec"]


def pods() -> list[dict[str, Any]]:
    of_deployments = [m["spec"]["template"] for m in MANIFESTS if m["kind"] == "Deployment"]
    return of_deployments + [m["spec"]["jobTemplate"]["spec"]["template"] for m in MANIFESTS if m["kind"] == "CronJob"]


def test_all_files_are_in_the_kustomization() -> None:
    kustomization = yaml.safe_load((KUBERNETES / "kustomization.yaml").read_text())
    generated = [file for maker in kustomization["configMapGenerator"] for file in maker["files"]]
    there = {path.name for path in KUBERNETES.iterdir()} - {"kustomization.yaml"}
    assert there == {*kustomization["resources"], *generated}


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="needs kubectl to render the kustomization")
def test_the_kustomization_renders_valid_manifests_with_matching_names() -> None:
    done = subprocess.run(["kubectl", "kustomize", KUBERNETES], capture_output=True, text=True, check=True)
    rendered = list(yaml.safe_load_all(done.stdout))
    for manifest in rendered:
        kubernetes_validate.validate(manifest, kubernetes_validate.latest_version(), strict=True)
    made = {m["metadata"]["name"] for m in rendered if m["kind"] in ("ConfigMap", "Secret")}
    assert len(made) == 2
    wanted = re.findall(r"name: (parley-(?:balancer|scripts)-\w{10})\n", done.stdout)
    assert set(wanted) == made


def test_only_the_operator_creates_the_token() -> None:
    """Pods wait for a secret that no manifest creates: a published token would not protect anything."""
    assert "secretGenerator" not in (KUBERNETES / "kustomization.yaml").read_text()
    assert not [m for m in MANIFESTS if m["kind"] == "Secret"]
    volumes = named("Deployment", "parley")["template"]["spec"]["volumes"]
    assert {"name": "secrets", "secret": {"secretName": "parley-secrets"}} in volumes
    assert "create secret generic parley-secrets" in (KUBERNETES.parent / "README.md").read_text()


@pytest.mark.parametrize("pod", pods(), ids=lambda pod: pod["metadata"]["labels"]["app.kubernetes.io/component"])
def test_pods_meet_the_restricted_standard(pod: dict[str, Any]) -> None:
    """The standard that the namespace enforces."""
    spec = pod["spec"]
    assert spec["securityContext"]["runAsNonRoot"] and spec["securityContext"]["runAsUser"] > 0
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in spec["containers"]:
        security = container["securityContext"]
        assert not security["allowPrivilegeEscalation"] and security["readOnlyRootFilesystem"]
        assert security["capabilities"] == {"drop": ["ALL"]}
        assert re.fullmatch(
            r"parley|docker\.io/library/[a-z]+:\d+\.\d+\.\d+[0-9a-z.-]*(@sha256:[0-9a-f]{64})?", container["image"]
        )


def egress(component: str) -> list[dict[str, Any]]:
    """What NetworkPolicies allow a component to connect to."""
    policies = [m["spec"] for m in MANIFESTS if m["kind"] == "NetworkPolicy"]
    own = [p for p in policies if p["podSelector"].get("matchLabels") == {"app.kubernetes.io/component": component}]
    assert own and all("Egress" in policy["policyTypes"] for policy in own)
    return [rule for policy in own for rule in policy["egress"]]


def test_a_pod_connects_only_to_what_a_policy_allows() -> None:
    denied = named("NetworkPolicy", "parley-default-deny")
    assert denied["podSelector"] == {} and denied["policyTypes"] == ["Ingress", "Egress"] and "egress" not in denied
    for pod in pods():
        for rule in egress(pod["metadata"]["labels"]["app.kubernetes.io/component"]):
            assert rule["ports"]
            assert "to" in rule or {port["port"] for port in rule["ports"]} == {53}


def test_the_deletion_cost_job_connects_to_the_servers_and_to_private_addresses_only() -> None:
    peers = [peer for rule in egress("deletion-cost") for peer in rule["to"]]
    blocks = [peer["ipBlock"]["cidr"] for peer in peers if "ipBlock" in peer]
    assert blocks and all(ip_network(block).is_private and ip_network(block).prefixlen >= 8 for block in blocks)
    servers = {"podSelector": {"matchLabels": {"app.kubernetes.io/component": "server"}}}
    assert [peer for peer in peers if "ipBlock" not in peer] == [servers]


def test_a_pod_waits_for_its_longest_call() -> None:
    spec = named("Deployment", "parley")["template"]["spec"]
    environment = {entry["name"]: entry.get("value") for entry in spec["containers"][0]["env"]}
    drain_s = float(environment["PARLEY_DRAIN_S"])
    assert float(environment["PARLEY_MAX_CALL_S"]) <= drain_s < spec["terminationGracePeriodSeconds"]
    balancer = named("Deployment", "parley-balancer")["template"]["spec"]
    assert balancer["terminationGracePeriodSeconds"] >= spec["terminationGracePeriodSeconds"]
    for stopping in (spec, balancer):  # no new calls arrive by the time of the signal
        [container] = stopping["containers"]
        assert container["lifecycle"]["preStop"]["exec"]["command"][0] == "sleep"


def test_the_balancer_has_a_server_slot_for_every_pod() -> None:
    haproxy = (KUBERNETES / "haproxy.cfg").read_text()
    [slots] = re.findall(r"server-template pod 1-(\d+) ", haproxy)
    assert int(slots) == named("HorizontalPodAutoscaler", "parley")["maxReplicas"]
    [namespace] = [m["metadata"]["name"] for m in MANIFESTS if m["kind"] == "Namespace"]
    assert haproxy.count(f"parley-servers.{namespace}.svc.cluster.local") == 2
    service = named("Service", "parley-servers")
    assert service["clusterIP"] == "None" and service["publishNotReadyAddresses"]
